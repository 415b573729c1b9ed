"""``llmwatch gate RECORDS``: what became of answers, and guardrails, from the logs in use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch.call import UserOutcome
from pytest_llmwatch.cli import main
from pytest_llmwatch.errors import RecordsError
from pytest_llmwatch.records import Reader
from pytest_llmwatch.records_outcome import thumb

Gate = Callable[[list[dict[str, Any]], str], dict[str, dict[str, Any]]]


@pytest.fixture
def gate(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Gate rows by a budget through the command line; returns the verdicts by rule."""
    monkeypatch.chdir(tmp_path)

    def run(rows: list[dict[str, Any]], budget: str) -> dict[str, dict[str, Any]]:
        (tmp_path / "budget.toml").write_text(budget, encoding="utf-8")
        lines = [json.dumps({"id": str(i), **row}) + "\n" for i, row in enumerate(rows)]
        (tmp_path / "log.jsonl").write_text("".join(lines), encoding="utf-8")
        main(["gate", "log.jsonl", "--budget", "budget.toml", "--json"])
        return {v["rule"]: v for v in json.loads(capsys.readouterr().out)["verdicts"]}

    return run


def told(row: dict[str, Any]) -> UserOutcome:
    reader = Reader("log")
    outcome = reader.parse(json.dumps({"id": "a", **row}), 1).call.outcome
    assert reader.notes == []
    return outcome


UP, DOWN = UserOutcome(feedback="thumbs_up"), UserOutcome(feedback="thumbs_down")
SHAPES: list[tuple[dict[str, Any], UserOutcome]] = [
    ({"outcome": {"success": True, "reask": False}}, UserOutcome(success=True, reask=False)),
    ({"outcome": {"wasEscalated": 1, "isResolved": "no"}}, UserOutcome(success=False, escalated=True)),
    ({"outcome": "resolved"}, UserOutcome(success=True)),
    ({"outcome": "failed"}, UserOutcome(success=False)),
    ({"outcome": "escalated"}, UserOutcome(escalated=True)),
    ({"outcome": {"feedback": "so-so"}}, UserOutcome(feedback="so-so")),
    ({"resolved": True, "handed_off": False}, UserOutcome(success=True, escalated=False)),
    ({"taskSuccess": False, "userEdited": True}, UserOutcome(success=False, corrected=True)),
    ({"regenerated": True}, UserOutcome(reask=True)),
    ({"feedback": "thumbs_down"}, DOWN),
    ({"feedback": "👎"}, DOWN),
    ({"userFeedback": "Thumbs up"}, UP),
    ({"feedback": -1}, DOWN),
    ({"feedback_score": 0}, DOWN),
    ({"user_score": 1.0}, UP),
    ({"feedback": {"rating": "negative", "comment": "wrong price"}}, DOWN),
    ({"feedback": {"thumbsUp": True}}, UP),
    ({"feedback": [{"key": "user_score", "score": 0}]}, DOWN),
    ({"feedback": {"type": "thumb_down"}}, DOWN),
    ({"thumbs_down": True}, DOWN),
    ({"thumbs_up": 2}, UP),
    ({"thumbs_up": False, "thumbs_down": False}, UserOutcome()),
    ({"stars": 1}, DOWN),
    ({"csat": 5}, UP),
    ({"star_rating": 3}, UserOutcome(feedback="neutral")),
    ({"feedback": "The price was wrong, please check."}, UserOutcome()),
    ({"feedback": 37}, UserOutcome()),
    ({"correction": "it is 49 euros"}, UserOutcome()),
    ({"success": None, "feedback": None}, UserOutcome()),
    ({"outcome": {"success": True}, "success": False}, UserOutcome(success=True)),
]


@pytest.mark.parametrize(("row", "outcome"), SHAPES, ids=[json.dumps(r)[:50] for r, _ in SHAPES])
def test_an_outcome_is_understood(row: dict[str, Any], outcome: UserOutcome) -> None:
    assert told(row) == outcome


@pytest.mark.parametrize("outcome", [{"success": "perhaps"}, "odd", 5, ["x"]])
def test_an_outcome_that_says_nothing_clear_is_an_error(outcome: Any) -> None:
    with pytest.raises(RecordsError, match="outcome"):
        told({"outcome": outcome})


def test_a_thumb_of_an_endless_object() -> None:
    deep: Any = "down"
    for _ in range(50):
        deep = {"value": deep}
    assert thumb(deep) == "thumbs_down"


BUDGET = """
[outcome]
success_rate = 0.75
reask_rate = 0.5
correction_rate = 0.2
escalation_rate = 0.2
thumbs_down_rate = 0.4
"""


def test_the_rates_are_shares_of_the_answers_that_tell(gate: Gate) -> None:
    rows: list[dict[str, Any]] = [
        {"outcome": {"success": True, "feedback": "up"}, "output": "x"},
        {"resolved": False, "feedback": {"score": -1}, "output": "x"},
        {"resolved": True, "userEdited": False, "reask": True, "thumbs_down": True},
        {"resolved": True, "userEdited": True, "reask": False},
        {"output": "nobody said a word"},
    ]
    found = gate(rows, BUDGET)
    measured = {rule: v["observed"] for rule, v in found.items()}
    assert measured == {
        "outcome.success_rate": 0.75,
        "outcome.reask_rate": 0.5,
        "outcome.correction_rate": 0.5,
        "outcome.escalation_rate": None,
        "outcome.thumbs_down_rate": pytest.approx(2 / 3),
    }
    failed = {rule for rule, v in found.items() if v["verdict"] == "fail"}
    assert failed == {"outcome.correction_rate", "outcome.thumbs_down_rate"}
    assert found["outcome.escalation_rate"]["reason"] == "not_measured"


FILTERED: list[dict[str, Any]] = [
    {"finish_reason": "content_filter"},
    {"stop_reason": "refusal"},
    {"finishReason": "SAFETY"},
    {"response": {"promptFeedback": {"blockReason": "SAFETY"}}},
    {"error": {"code": "content_filter", "message": "The response was filtered"}, "status": "error"},
    {"error": "400: ... 'code': 'content_filter' ...", "status": "error"},
]


def test_guardrails_of_the_provider_are_a_rate(gate: Gate) -> None:
    fine: list[dict[str, Any]] = [
        {"output": "x", "finish_reason": reason} for reason in ("stop", "length", "end_turn")
    ]
    budget = "[safety]\nguardrails = 0.5\n"
    found = gate([*fine, *fine, *FILTERED], budget)["safety.guardrails"]
    assert (found["observed"], found["verdict"]) == (0.5, "pass")
    found = gate([*fine, *FILTERED], budget)["safety.guardrails"]
    assert (found["observed"], found["verdict"]) == (pytest.approx(2 / 3), "fail")
    assert gate([{"output": "x"}, {"error": "boom"}], budget)["safety.guardrails"]["reason"] == "not_measured"


def test_scores_made_from_a_log_are_records_that_can_be_gated(gate: Gate, tmp_path: Path) -> None:
    rows = [{"id": "a", "output": "I'm sorry, I can't help with that."}, {"id": "b", "output": "Ada made it."}]
    (tmp_path / "raw.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    assert main(["score", "raw.jsonl", "-o", "scored.jsonl", "--scorers", "refusal,groundedness"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "scored.jsonl").read_text(encoding="utf-8").splitlines()]
    found = gate(lines, "[safety]\nrefusals = 0.4\n[quality]\nrefusal = 0.4\n")
    assert (found["safety.refusals"]["observed"], found["safety.refusals"]["verdict"]) == (0.5, "fail")
    assert (found["quality.refusal"]["observed"], found["quality.refusal"]["verdict"]) == (0.5, "pass")
