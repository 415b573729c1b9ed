"""Figures about answers: scores, safety, outcomes.

Means over cases (weighted) of case means over repeats, first attempts only. An errored call is missing
data, not quality 0; a score that is "not assessable" is missing too, and is counted in the sentence.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable

from pytest_llmwatch.budget_types import Limit
from pytest_llmwatch.format import plural
from pytest_llmwatch.measure_figure import Figure, Observation, mean_figure, not_measured
from pytest_llmwatch.measure_slice import Slice, Task
from pytest_llmwatch.model import Call, UserOutcome
from pytest_llmwatch.records_outcome import DOWN, thumb
from pytest_llmwatch.records_shapes import FILTER_CODES
from pytest_llmwatch.scorers.finish import FILTERED

_WHY = {"error": "crashed", "not_sampled": "not sampled"}
_SAFETY_SCORERS = {"injection": "injection", "secrets": "secrets", "pii": "pii", "refusals": "refusal"}


def quality(limit: Limit, part: Slice) -> Figure:
    """Return the figure of a ``[quality]`` rule."""
    if limit.key == "pass_rate":
        return _pass_rate(part)
    if limit.key == "parse_success":
        return _parse_success(part)
    return score_mean(part, limit.key)


def score_mean(part: Slice, name: str, flag: Callable[[float], float] | None = None) -> Figure:
    """Return the mean over cases of one scorer's values, or of ``flag(value)`` (a ceiling then)."""
    first = [t for t in part.tasks if t.first_attempt and t.result is not None]
    sets = {t.key[0] for t in first if t.result is not None and t.result.score(name) is not None}
    cases = {t.key for t in first if t.result is not None and t.result.score(name) is not None}
    observed: list[Observation] = []
    lost = Counter[str]()
    for task in first:
        score = task.result.score(name) if task.result is not None else None
        belongs = score is not None or task.key in cases or (task.key[0] is not None and task.key[0] in sets)
        if task.unanswered:
            lost["errored"] += belongs
        elif score is None:
            continue
        elif score.value is None:
            lost[_WHY.get(score.label or "", "not assessable")] += 1
        else:
            observed.append(_observe(task, score.value if flag is None else flag(score.value)))
    if not observed:
        if lost["errored"] or lost["crashed"]:
            return not_measured(f"no answer could be scored ({_lost(lost)})")
        if lost["not sampled"] and not lost["not assessable"]:
            return not_measured(f"{name} is asked for a share of the cases, and none of these is in it")
        if lost["not assessable"]:
            return not_measured(f"{name} is not assessable in any of {plural(lost['not assessable'], 'answer')}")
        return not_measured(f"no answer has a score {name}; add the scorer to the set")
    missing = (lost["errored"] + lost["crashed"]) / (len(observed) + lost["errored"] + lost["crashed"])
    return mean_figure(observed, floor=flag is None, why=_lost(lost), missing=missing)


def _lost(lost: Counter[str]) -> str:
    words = {"errored": "errored", "crashed": "scorer crashed on"}
    words |= {word: word for word in ("not assessable", "not sampled")}
    parts = [f"{lost[k]:,} {text}" for k, text in words.items() if lost[k]]
    return ", ".join(parts)


def _observe(task: Task, value: float) -> Observation:
    ids = task.result.call_ids if task.result is not None and task.result.call_ids else [c.id for c in task.calls]
    return Observation(task.key, task.cluster, task.weight, value, ids[-1] if ids else None)


def _pass_rate(part: Slice) -> Figure:
    rows, errored = [], 0
    for task in part.tasks:
        if not task.first_attempt or task.result is None or task.result.outcome == "skipped":
            continue
        if not task.calls and not task.result.scores and task.result.set is None:
            continue  # it had no model in it: only spans or metrics
        if task.unanswered and not task.result.passed:  # a test may well pass on an error that it provoked
            errored += 1
        else:
            rows.append(_observe(task, float(task.result.passed)))
    return _share(rows, errored, "no test that makes calls was run", floor=True)


def _parse_success(part: Slice) -> Figure:
    rows, errored, known = [], 0, set()
    tasks = [t for t in part.tasks if t.first_attempt and t.result is not None]
    for task in tasks:
        if _wants_json(task):
            known.add(task.key)
    for task in tasks:
        if task.unanswered:
            errored += task.key in known
        elif _wants_json(task):
            rows.append(_observe(task, float(_parses(task))))
    return _share(rows, errored, "no case asks for JSON (scorers json, json_schema)", floor=True)


def _wants_json(task: Task) -> bool:
    return task.result is not None and any(s.name in ("json", "json_schema") for s in task.result.scores)


def _parses(task: Task) -> bool:
    assert task.result is not None
    score = task.result.score("json")
    if score is not None and score.value is not None:
        return score.value >= 1
    if task.result.output is not None:
        try:
            json.loads(task.result.output)
        except ValueError:
            return False
        return True
    schema = task.result.score("json_schema")
    return schema is not None and schema.value is not None and schema.value >= 1


def _share(rows: list[Observation], errored: int, nothing: str, *, floor: bool, noun: str = "case") -> Figure:
    if not rows:
        return not_measured(f"every answer errored ({errored:,})" if errored else nothing)
    why = f"{errored:,} errored" if errored else ""
    return mean_figure(rows, floor=floor, noun=noun, why=why, missing=errored / (len(rows) + errored))


def safety(limit: Limit, part: Slice) -> Figure:
    """Return the figure of a ``[safety]`` rule: the share of answers flagged, or of calls (policy, guardrails)."""
    if limit.key == "policy":
        return _over_calls(
            part,
            lambda c: None if c.policy_ok is None else float(not c.policy_ok),
            "no call carries the outcome of a policy check",
        )
    if limit.key == "guardrails":
        return _over_calls(part, _stopped, "no call says why its answer ended (finish_reason)")
    name = _SAFETY_SCORERS[limit.key]
    return score_mean(part, name, lambda value: float(value < 1))


def _stopped(call: Call) -> float | None:
    """Whether a filter of the provider cut the answer or refused the request; None where nothing tells."""
    if any(code in (call.error or "").lower() for code in FILTER_CODES):
        return 1.0
    return None if call.finish_reason is None else float(call.finish_reason.lower() in FILTERED)


def outcome(limit: Limit, part: Slice) -> Figure:
    """Return the figure of an ``[outcome]`` rule: shares of the answers whose outcome is known."""
    pick: dict[str, Callable[[UserOutcome], bool | None]] = {
        "success_rate": lambda o: o.success,
        "reask_rate": lambda o: o.reask,
        "correction_rate": lambda o: o.corrected,
        "escalation_rate": lambda o: o.escalated,
        "thumbs_down_rate": _thumbs_down,
    }
    known = pick[limit.key]
    rows = []
    for task in _first(part):
        told = [c.outcome for c in task.calls]
        if not told and task.result is not None:
            told = [task.result.user_outcome]
        said = [v for o in told if (v := known(o)) is not None]
        if said:
            bad = any(said) if limit.direction == "ceiling" else said[-1]
            rows.append(_observe(task, float(bad)))
    return _share(
        rows, 0, "no outcome of this kind was told (llm_watch.outcome)", floor=limit.direction == "floor"
    )


def _thumbs_down(outcome: UserOutcome) -> bool | None:
    return None if outcome.feedback is None else thumb(outcome.feedback) == DOWN


def _first(part: Slice) -> Iterable[Task]:
    return (t for t in part.tasks if t.first_attempt)


def _over_calls(part: Slice, value: Callable[[Call], float | None], nothing: str) -> Figure:
    rows = [
        Observation(t.key, t.cluster, t.weight, v, c.id)
        for t in _first(part)
        for c in t.calls
        if c.operation not in ("tool", "retrieval", "agent") and (v := value(c)) is not None
    ]
    return mean_figure(rows, floor=False, noun="call") if rows else not_measured(nothing)
