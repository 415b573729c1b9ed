"""``[report]``: the title, and of how many calls the texts are on the page."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch import pipeline
from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.model import Call, Presentation, Report, Run
from pytest_llmwatch.report import html, markdown


def report(**asked: Any) -> Report:
    texts = [{"input": f"question {i}!", "output": f"answer {i}!", "latency": 1.0 + i} for i in range(8)]
    calls = tuple(
        Call(f"call{i:04}", time=f"2026-01-01T00:00:0{i}Z", **text)  # type: ignore[arg-type]
        for i, text in enumerate(texts)
    )
    lines = "\n".join(f"{k} = {json.dumps(v)}" for k, v in asked.items())
    budget = parse_budget(f"[latency]\nmax = 5\n[report]\n{lines}")
    return pipeline.judge(Run("r", "2026-01-01T00:00:00Z", calls=calls), budget)


def told(page: str) -> set[int]:
    """Numbers of the calls of which a text is on the page, packed or plain."""
    packed = re.findall(r'<script type="application/json"[^>]*>"([^"]+)"</script>', page)
    texts = [page, *(gzip.decompress(base64.b64decode(p)).decode("latin-1") for p in packed)]
    return {int(n) for text in texts for n in re.findall(r"(?:question|answer) (\d)!", text)}


@pytest.mark.parametrize(
    ("asked", "which"),
    [
        ({}, set(range(8))),
        ({"max_bodies": 100}, set(range(8))),
        ({"max_bodies": 0}, set()),
        ({"body_share": 0}, set()),
        ({"max_bodies": 1}, {7}),
        ({"max_bodies": 3}, {7, 6, 5}),  # worst first: they break the limit
        ({"body_share": 0.2}, {7, 6}),
        ({"body_share": 0.5, "max_bodies": 3}, {7, 6, 5}),
    ],
)
def test_texts_of_so_many_calls_are_on_the_page(asked: dict[str, Any], which: set[int]) -> None:
    found = report(**asked)
    assert told(html.render(found)) == which
    assert f"{len(which)} are kept" in html.render(found) or len(which) in (0, 8)


def test_the_title_names_page_and_summary() -> None:
    titled = report(title="Nightly <support> bot")
    page = html.render(titled)
    assert re.search(r"<title>[^<]*Nightly &lt;support&gt; bot, run", page)
    assert "<strong>Nightly &lt;support&gt; bot</strong>" in page
    assert "<support>" not in page
    assert markdown.render(titled).splitlines()[1].startswith("### Nightly &lt;support&gt; bot: ")
    assert "Nightly" not in html.render(report()) + markdown.render(report())


def test_a_stored_run_is_rendered_alike_again(tmp_path: Path) -> None:
    first = report(title="Nightly", max_bodies=2)
    pipeline.write_outputs(first, tmp_path)
    run, _ = pipeline.load_any(str(tmp_path), tmp_path)
    again = pipeline.stored_report(run, str(tmp_path), tmp_path)
    assert again.presentation == first.presentation == Presentation("Nightly", None, 2)
    assert told(html.render(again)) == {7, 6}
