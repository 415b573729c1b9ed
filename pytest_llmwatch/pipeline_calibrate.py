"""Calibrate a judge: read labels, ask or take its scores, compare, and keep what came out in ``judge.json``."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_llmwatch.budget_calibration import FILE, SCHEMA_VERSION
from pytest_llmwatch.budget_types import Calibration, JudgeOptions
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.model import Case, Output, Score
from pytest_llmwatch.records import Record, read_records
from pytest_llmwatch.scorers.asking import VERSION
from pytest_llmwatch.scorers.judge import grade_of

MAX_LEVELS = 10
_FEW = (0.0, 0.25, 0.5, 0.75, 1.0)

Label = bool | float | str


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled answer. ``stored`` is the judge's score or class of it in the file, None where it has none."""

    id: str
    line: int
    cluster: str
    label: Label
    case: Case
    output: Output
    stored: Score | str | None


@dataclass(frozen=True, slots=True)
class Judged:
    """A labelled answer and what the judge said, once or several times."""

    row: Row
    scores: tuple[Score, ...]

    @property
    def score(self) -> Score:
        """The first score, which is the one that is compared."""
        return self.scores[0]


def rows(path: Path, name: str, *, rename: Mapping[str, str], limit: int | None = None) -> list[Row]:
    """Read labels.

    Args:
        path: JSON lines: the fields of RECORDS and ``label``.
        name: Score of the judge where it is stored, in ``scores``.
        rename: Key of the file -> one of our names.
        limit: Rows that are read.

    Raises:
        RecordsError: The file cannot be read.
        UsageError: A line has no label, or one of another kind than the first.
    """
    found = []
    kind = None
    for record in list(read_records(path, rename=rename, need_id=False))[:limit]:
        label = _label(record, str(path))
        kind = kind or _kind(label)
        if _kind(label) != kind:
            raise UsageError(
                f"label must be {kind} as in the first line (got {label!r})", slug="judge-labels",
                file=str(path), line=record.line,
            )  # fmt: skip
        found.append(
            Row(
                record.id, record.line, record.case().cluster or record.case().id or record.id, label,
                record.case(), record.output(), _stored(record, name),
            )
        )  # fmt: skip
    if len({r.label for r in found}) < 2:
        raise UsageError(
            f"all {len(found):,} labels are the same, which says nothing of agreement; label good and bad answers",
            slug="judge-labels", file=str(path),
        )  # fmt: skip
    return found


def _label(record: Record, file: str) -> Label:
    given = record.extra.get("label")
    if isinstance(given, bool):
        return given
    if isinstance(given, int | float) and 0 <= given <= 1:
        return float(given)
    if isinstance(given, str) and given.strip():
        return given.strip()
    shown = "no label" if given is None else f"label {given!r:.40}"
    message = f"{shown}: each line needs `label`, true or false, a number from 0 to 1, or a class"
    raise UsageError(message, slug="judge-labels", file=file, line=record.line)


def _kind(label: Label) -> str:
    return "true or false" if isinstance(label, bool) else "a class" if isinstance(label, str) else "a number"


def _stored(record: Record, name: str) -> Score | str | None:
    given = record.extra.get("judge")
    if isinstance(given, str):
        return given
    if isinstance(given, bool | int | float):
        return Score(name, float(given), version="")
    found = record.result.score(name) if record.result is not None else None
    return None if found is None or (found.value is None and found.label is None) else found


@dataclass(frozen=True, slots=True)
class Report:
    """What a calibration says. ``data`` is what ``--json`` prints and ``judge.json`` keeps for the judge."""

    version: str | None
    data: Mapping[str, Any]
    objection: str | None


def compare(judged: Sequence[Judged], *, name: str, model: str | None, version: str | None, options: JudgeOptions,
            threshold: float = 0.5) -> Report:  # fmt: skip
    """Return how well a judge agrees with the labels.

    Args:
        judged: The labelled answers with the judge's scores.
        name: The judge's scorer or label.
        model: Its model, where known.
        version: Its version, where known.
        options: ``[judge]`` of the budget: what it takes to gate.
        threshold: Score and numeric label from which on an answer counts as good.

    Raises:
        UsageError: The judge gave no usable score, or no class where the labels are classes.
    """
    from pytest_llmwatch.stats import agreement as stats

    missing = Counter(j.score.label or "unscored" for j in judged if j.score.value is None)
    usable = [j for j in judged if j.score.value is not None]
    if not usable:
        raise UsageError(
            f"the judge gave no usable score of {len(judged):,} answers: {judged[0].score.explanation[:200]}",
            slug="judge-labels",
        )
    classes, people, given, costs = _classes(usable, threshold)
    found = stats.agreement(people, given, [j.row.cluster for j in usable], costs)
    nominal = isinstance(usable[0].row.label, str)
    good = [] if nominal else [float(j.row.label) >= threshold for j in usable]
    values = [j.score.value or 0.0 for j in usable]
    bins = () if nominal else stats.reliability(good, values)
    data: dict[str, Any] = {
        "name": name,
        "model": model,
        "n": len(usable),
        "missing": dict(sorted(missing.items())),
        "kappa": found.kappa,
        "kappa_ci": list(found.kappa_ci) if found.kappa_ci else [None, None],
        "weighted": not nominal and len(classes) > 2,
        "accuracy": found.accuracy,
        "accuracy_ci": list(found.accuracy_ci),
        "majority_baseline": found.majority,
        "confusion": {"classes": classes, "people_by_judge": [list(r) for r in found.table]},
        "auroc": None if nominal else stats.auroc(good, values),
        "ece": stats.calibration_error(bins),
        "reliability": [dataclasses.asdict(b) for b in bins],
        "position_bias": _position_bias(usable),
        "self_consistency": _self_consistency(judged),
    }
    low, high = data["kappa_ci"]
    known = Calibration(version or "unknown", name, model, len(usable), found.kappa, low, high)
    why = dataclasses.replace(options, known={known.version: known}).objection(known.version)
    return Report(version, data, why)


def _classes(
    judged: Sequence[Judged], threshold: float
) -> tuple[list[Any], list[int], list[int], list[list[float]]]:
    """Return the classes, people's and the judge's class of each answer, and what a confusion costs."""
    labels = [j.row.label for j in judged]
    if isinstance(labels[0], str):
        grades = [_class_of(j) for j in judged]
        names = sorted({*map(str, labels), *grades})
        where = {name: i for i, name in enumerate(names)}
        costs = [[float(i != k) for k in range(len(names))] for i in range(len(names))]
        return names, [where[str(x)] for x in labels], [where[g] for g in grades], costs
    scores = [j.score.value or 0.0 for j in judged]
    if isinstance(labels[0], bool):
        said = [int(v >= threshold) for v in scores]
        return [False, True], [int(bool(x)) for x in labels], said, [[0.0, 1.0], [1.0, 0.0]]
    values = [float(x) for x in labels]
    levels = sorted(set(values))
    if len(levels) > MAX_LEVELS:
        levels = list(_FEW)
    costs = [[(a - b) ** 2 for b in levels] for a in levels]
    return list(levels), [_nearest(v, levels) for v in values], [_nearest(v, levels) for v in scores], costs


def _nearest(value: float, levels: Sequence[float]) -> int:
    return min(range(len(levels)), key=lambda i: abs(levels[i] - value))


def _class_of(judged: Judged) -> str:
    stored = judged.row.stored
    found = stored if isinstance(stored, str) else grade_of(judged.score)
    if found is None:
        raise UsageError(
            "the labels are classes and the judge's scores are numbers: store its class as `judge`, or ask it",
            slug="judge-labels", line=judged.row.line,
        )  # fmt: skip
    return found


def _position_bias(judged: Sequence[Judged]) -> dict[str, Any] | None:
    pairs = [j for j in judged if any(e.kind == "order" for e in j.score.evidence)]
    if not pairs:
        return None
    return {"rate": sum(j.score.label == "position_bias" for j in pairs) / len(pairs), "n": len(pairs)}


def _self_consistency(judged: Sequence[Judged]) -> dict[str, Any] | None:
    """Return how often the judge says the same of the same answer: the share of equal pairs of repeats."""
    equal = pairs = n = 0
    for item in judged:
        values = [s.value for s in item.scores if s.value is not None]
        k = len(values)
        if k < 2:
            continue
        n += 1
        pairs += k * (k - 1) // 2
        equal += sum(c * (c - 1) // 2 for c in Counter(values).values())
    return {"rate": equal / pairs, "n": n} if pairs else None


def version_in(found: Sequence[Row]) -> str | None:
    """Return the version of the judge that made the stored scores, None where they do not agree on one."""
    versions = {r.stored.version for r in found if isinstance(r.stored, Score)}
    version = versions.pop() if len(versions) == 1 else ""
    return version if VERSION.fullmatch(version) else None


def keep(path: Path, report: Report, made: str) -> None:
    """Write a judge's entry into ``judge.json``; other judges' entries stay.

    Raises:
        BudgetError: The file is there and is no calibration.
    """
    from pytest_llmwatch import atomic, budget_calibration

    whole: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "judges": {}}
    if path.exists():
        budget_calibration.read(path, path.name or FILE)
        whole = json.loads(path.read_text("utf-8"))
    whole["judges"][report.version] = {**report.data, "made": made}
    whole["judges"] = dict(sorted(whole["judges"].items()))
    atomic.write_text(path, json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
