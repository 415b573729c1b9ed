"""``llmwatch compare`` on files as a team has them: the right verdict, the documented JSON, the exit code."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch import format as fmt
from pytest_llmwatch.cli import main

Rows = list[dict[str, Any]]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Rows], str]:
    def write_rows(name: str, rows: Rows) -> str:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    return write_rows


def side(
    seed: int, *, drop: float = 0.0, slower: float = 1.0, cases: int = 80, repeats: int = 1, tag: str = ""
) -> Rows:
    """Records of one build: scores around .8, skewed latencies, costs; every call passes with chance .9 - drop."""
    hard = random.Random(1)
    levels = [(hard.uniform(0.6, 1.0), hard.lognormvariate(0, 0.8)) for _ in range(cases)]
    rng = random.Random(seed)
    return [
        {
            "case": f"{tag}case-{i}",
            "output": "an answer",
            "scores": {"relevance": min(1.0, max(0.0, level - drop + rng.gauss(0, 0.08)))},
            "passed": rng.random() < 0.9 - drop,
            "latency": pace * slower * rng.lognormvariate(0, 0.2),
            "cost_usd": 0.001 * rng.lognormvariate(0, 0.05),
            "input_tokens": 100,
            "output_tokens": rng.randint(40, 60),
        }
        for i, (level, pace) in enumerate(levels)
        for _ in range(repeats)
    ]


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, dict[str, Any]]:
    code = main(["compare", *args, "--json"])
    return code, json.loads(capsys.readouterr().out)


def by_metric(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {v["metric"]: v for v in found["verdicts"]}


def test_a_drop_fails_and_the_rest_passes(write: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = run(capsys, write("a.jsonl", side(1, repeats=5)), write("b.jsonl", side(2, drop=0.1)))
    assert (code, found["verdict"]) == (1, "fail")
    assert set(found["alpha_by_family"]) == {"quality", "latency", "cost", "errors"}
    assert sum(found["alpha_by_family"].values()) == pytest.approx(0.01)
    verdicts = by_metric(found)
    relevance = verdicts["relevance"]
    assert relevance["verdict"] == "fail"
    assert relevance["delta"] == pytest.approx(relevance["candidate"] - relevance["baseline"])
    assert relevance["ci"][0] < relevance["delta"] < relevance["ci"][1] < 0
    assert relevance["p"] <= relevance["p_adjusted"] <= 0.005
    assert (relevance["n_cases"], relevance["paired"]) == (80, True)
    assert "80 paired cases, 5+1 repeats" in relevance["because"]
    assert verdicts["input_tokens"]["verdict"] == "pass"
    assert verdicts["input_tokens"]["delta"] == 0
    assert verdicts["latency"]["verdict"] != "fail"


def test_slower_fails_on_latency_alone_and_the_delta_is_relative(
    write: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = run(capsys, write("a.jsonl", side(1, repeats=5)), write("b.jsonl", side(2, slower=1.35)))
    assert code == 1
    verdicts = by_metric(found)
    assert [m for m, v in verdicts.items() if v["verdict"] == "fail"] == ["latency"]
    assert verdicts["latency"]["delta"] == pytest.approx(0.35, abs=0.1)
    assert 0 < verdicts["latency"]["ci"][0] < 0.35 < verdicts["latency"]["ci"][1]


def test_nothing_changed_and_better_never_fail(write: Any, capsys: pytest.CaptureFixture[str]) -> None:
    base = write("a.jsonl", side(1, repeats=5))
    for seed in range(3, 9):
        assert run(capsys, base, write("b.jsonl", side(seed)))[0] == 0
    code, found = run(capsys, base, write("b.jsonl", side(9, drop=-0.15, slower=0.5)))
    assert (code, found["verdict"]) == (0, "pass")
    assert by_metric(found)["relevance"]["delta"] > 0
    same, found = run(capsys, base, base)
    assert (same, found["verdict"]) == (0, "pass")


def test_the_answer_does_not_depend_on_when_or_in_what_order(
    write: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = side(1, repeats=3), side(2, drop=0.05)
    first = run(capsys, write("a.jsonl", a), write("b.jsonl", b))
    again = run(capsys, write("other.jsonl", a), write("b.jsonl", b[::-1]))
    assert first == again


def test_one_metric_alone_gets_all_of_alpha(write: Any, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = write("a.jsonl", side(1)), write("b.jsonl", side(2, drop=0.1))
    _, found = run(capsys, a, b, "--metric", "relevance", "--alpha", "0.02")
    assert found["alpha_by_family"] == {"quality": 0.02}
    assert [v["metric"] for v in found["verdicts"]] == ["relevance"]
    _, found = run(capsys, a, b, "--metric", "latency", "--metric", "passed")
    assert [v["metric"] for v in found["verdicts"]] == ["latency", "passed"]


def test_no_common_case_is_compared_unpaired_and_says_so(write: Any, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = write("a.jsonl", side(1, cases=150)), write("b.jsonl", side(2, cases=150, drop=0.2, tag="new-"))
    code, found = run(capsys, a, b, "--metric", "relevance", "--metric", "passed")
    assert code == 1
    for v in found["verdicts"]:
        assert v["paired"] is False
        assert "unpaired" in v["because"]
    assert any("no case is common" in note for note in found["notes"])
    code, found = run(capsys, a, write("c.jsonl", side(3, cases=150, tag="new-")))
    assert code == 0


def test_inputs_that_shifted_are_named(write: Any, capsys: pytest.CaptureFixture[str]) -> None:
    short = [{**row, "input": "word " * (5 + i % 7)} for i, row in enumerate(side(1, cases=40))]
    long = [{**row, "input": "word " * (50 + i % 7)} for i, row in enumerate(side(2, cases=40, tag="new-"))]
    _, found = run(capsys, write("a.jsonl", short), write("b.jsonl", long))
    assert any("inputs themselves shifted" in note and "longer" in note for note in found["notes"])
    _, found = run(
        capsys, write("a.jsonl", short), write("c.jsonl", [{**r, "case": f"x{i}"} for i, r in enumerate(short)])
    )
    assert not any("shifted" in note for note in found["notes"])


def test_missing_cases_errors_and_scorers_are_told(write: Any, capsys: pytest.CaptureFixture[str]) -> None:
    a = side(1, cases=30)
    b = side(2, cases=30)[:24]
    for row in b[:6]:
        row.update(status="error", error="503", output=None)
        del row["scores"], row["passed"], row["cost_usd"]
    _, found = run(capsys, write("a.jsonl", a), write("b.jsonl", b))
    assert found["missing"] == [f"case-{i}" for i in range(24, 30)]
    verdicts = by_metric(found)
    assert verdicts["relevance"]["verdict"] == "inconclusive", "a quarter of the answers never came"
    assert "never came" in verdicts["relevance"]["because"]
    assert verdicts["error"]["delta"] == pytest.approx(0.25)
    assert verdicts["error"]["verdict"] == "warn"


def test_a_set_too_small_for_alpha_says_so_and_stands_aside(
    write: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = write("a.jsonl", side(1, cases=4)), write("b.jsonl", side(2, cases=4, drop=0.5))
    code, found = run(capsys, a, b, "--metric", "relevance")
    assert code == 0
    assert found["verdicts"][0]["verdict"] in ("warn", "inconclusive")
    one = write("one.jsonl", side(1, cases=1))
    code, found = run(capsys, one, write("two.jsonl", side(2, cases=1)), "--metric", "relevance")
    assert code == 0
    assert "cannot reach" in found["verdicts"][0]["because"]


def test_values_out_of_range_do_not_break_it(write: Any, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = side(1, cases=20), side(2, cases=20)
    a[0]["scores"]["relevance"] = 7.5
    b[1]["latency"] = 0
    b[2]["cost_usd"] = 0
    a += a[:3]  # a case measured more often than others
    code, found = run(capsys, write("a.jsonl", a), write("b.jsonl", b))
    assert code == 0
    assert len(found["verdicts"]) == 7


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["missing.jsonl"], "missing.jsonl"),
        (["{b}", "--alpha", "2"], "--alpha must be in (0, 0.5] (got 2)"),
        (["{b}", "--metric", "relevence"], "no metric 'relevence'"),
        (["{b}", "--map", "x"], "--map must read OLD=NEW"),
    ],
)
def test_unusable_input_is_one_clear_line(
    write: Any, capsys: pytest.CaptureFixture[str], args: list[str], says: str
) -> None:
    a, b = write("a.jsonl", side(1)), write("b.jsonl", side(2))
    code = main(["compare", a, *(x.format(b=b) for x in args)])
    out = capsys.readouterr()
    assert code == 4
    assert out.out == ""
    assert says in out.err
    assert len(out.err.splitlines()) == 1


def test_for_people_the_worst_comes_first(write: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["compare", write("a.jsonl", side(1, repeats=5)), write("b.jsonl", side(2, drop=0.15))])
    lines = capsys.readouterr().out.splitlines()
    assert code == 1
    assert lines[0] == "FAIL"
    table = lines[2 : lines.index("")]
    assert lines[1].split() == ["metric", "baseline", "now", "change", "95", "%", "interval", "p", "cases"]
    assert re.match(
        r"  ✗ +fail +relevance +0\.\d{3} +0\.\d{3} +−0\.1\d\d +−0\.\d+ … −0\.\d+ +<?0\.\d+ +80$", table[0]
    )
    grades = [line.split()[1] for line in table]
    order = ["fail", "warn", "inconclusive", "pass"]
    assert grades == sorted(grades, key=order.index)
    assert len(grades) == 7
    reasons = lines[lines.index("") + 1 :]
    assert reasons[0].startswith("  relevance dropped -0.1")
    assert "case-" in " ".join(reasons[:4])
    assert all(len(line) <= 140 for line in lines)


def test_without_unicode_it_is_told_in_ascii(
    write: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_llmwatch.cli_compare._can_print", lambda _: False)
    main(["compare", write("a.jsonl", side(1, repeats=5)), write("b.jsonl", side(2, drop=0.15))])
    out = capsys.readouterr().out
    assert out.isascii()
    assert "  x " in out
    assert "  ok " in out


def test_the_report_shows_the_candidate_against_the_baseline(
    write: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, worse = write("a.jsonl", side(1, repeats=5, cases=40)), write("b.jsonl", side(2, drop=0.15, cases=40))
    out = tmp_path / "out"
    assert main(["compare", base, worse, "--metric", "relevance", "--report", str(out)]) == 1
    assert f"report: {out / 'report.html'}" in capsys.readouterr().out
    data = json.loads((out / "run.json").read_text())
    assert (data["verdict"], data["exit_code"], data["aggregates"]["calls"]) == ("fail", 1, 40)
    (verdict,) = data["verdicts"]
    assert verdict["baseline"] > verdict["candidate"]
    assert data["sentence"] == f"compared with {base}: relevance fail"
    page = (out / "report.html").read_text()
    assert 'data-verdict="fail"' in page
    assert fmt.value(verdict["baseline"], "ratio") in page
    assert main(["compare", base, base, "--metric", "relevance", "--report", str(out), "--json"]) == 0
    assert json.loads((out / "run.json").read_text())["verdicts"][0]["verdict"] == "pass"
