"""Every category of incident has a recorded one that goes through the whole chain."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_llmwatch import cli, pipeline_drill
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.incidents_catalog import categories


@pytest.mark.parametrize("name", [c.id for c in categories()])
def test_a_recorded_incident_goes_through_the_whole_chain(name: str, tmp_path: Path) -> None:
    done = pipeline_drill.drill(name, tmp_path / "kept")
    assert done.passed, done.text
    during = tmp_path / "kept" / "during"
    (row,) = json.loads((during / "incidents" / "index.json").read_text())["incidents"]
    told = json.loads((during / "incidents" / f"{row['id']}.json").read_text())
    assert (told["category"], told["run_id"]) == (name, "drill-1-during")
    page = (during / "report.html").read_text()
    assert f'id="{row["id"]}"' in page
    # links lead to calls that the page shows
    for worst in told["worst"][:3]:
        assert f'href="#c-{worst["call_id"]}"' in page
    summary = (during / "summary.md").read_text()
    assert f"`{row['id']}`" in summary
    after = tmp_path / "kept" / "after" / "incidents"
    assert json.loads((after / f"{row['id']}.json").read_text())["state"] == "resolved"
    review = (after / f"{row['id']}.md").read_text()
    assert "## What prevents it from coming back?" in review
    # the build before has none, and says none
    assert not (tmp_path / "kept" / "before" / "incidents").exists()
    assert "Incidents" not in (tmp_path / "kept" / "before" / "summary.md").read_text()


def test_the_command_runs_one_and_names_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["incidents", "drill", "rate limits"]) == 0
    out = capsys.readouterr().out
    assert "drill rate_limits: passed" in out
    assert "time to acknowledge  4.0 min" in out
    assert cli.main(["incidents", "drill", "flood"]) == 4
    assert "known are outage, rate_limits" in capsys.readouterr().err


def test_a_drill_that_nobody_recorded_is_one_line() -> None:
    with pytest.raises(UsageError, match="no recorded incident of category 'flood'"):
        pipeline_drill.drill("flood")
