"""Calls of stored runs and RECORDS as new cases of a golden set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_llmwatch import atomic, pipeline
from pytest_llmwatch import golden_promote as promote
from pytest_llmwatch.errors import GoldenError, UsageError
from pytest_llmwatch.golden import GoldenSet
from pytest_llmwatch.golden_files import read_text, read_yaml
from pytest_llmwatch.model import CaseResult, Run
from pytest_llmwatch.redact import Redactor


@dataclass(frozen=True, slots=True)
class Added:
    """What became of the calls: the file that holds the cases, those that are new, those that were known."""

    file: Path
    cases: tuple[Mapping[str, Any], ...]
    known: tuple[tuple[str, str], ...]
    """(call, case that asks the same)."""
    hidden: int = 0
    """Cases in which something was redacted."""


def find_set(root: Path, name: str | None) -> GoldenSet:
    """Return the set called ``name``, or at that path, or the only one below ``root``.

    Raises:
        GoldenError: There is none, or several and no name.
    """
    if name is not None:
        for folder in (root / name, Path(name)):
            if (folder / "set.yaml").is_file():
                return pipeline.load_golden(folder / "set.yaml")
    known = sorted(p.parent.name for p in root.glob("*/set.yaml"))
    if name is None and len(known) == 1:
        return pipeline.load_golden(root / known[0] / "set.yaml")
    rule = (
        f"has no set {name!r}" if name else "holds several sets; name one with --set" if known else "holds no set"
    )
    raise GoldenError(
        f"{rule}; known: {', '.join(known) or 'none (`llmwatch init` writes one)'}",
        slug="golden-unknown-set",
        file=str(root),
    )


def named(run: Run, call: str) -> promote.Source:
    """Return the call of ``run`` whose id begins with ``call``, or the last call of the case or test so called.

    Raises:
        UsageError: There is none, or the beginning fits several.
    """
    ids = [c for c in run.calls if c.id.startswith(call.removeprefix("c-")) and not c.judging]
    exact = [c for c in ids if c.id == call] or ids
    if not exact:
        exact = [c for c in run.calls if not c.judging and call in (c.case, c.nodeid)][-1:]
    if len(exact) != 1:
        what = f"fits {len(exact)} calls" if exact else "is no call, case or test of it"
        some = ", ".join(c.id for c in (exact or run.calls)[:5])
        raise UsageError(f"run {run.run_id}: {call!r} {what}; calls: {some or 'none'}", slug="golden-add")
    return promote.Source(exact[0], _results(run).get(exact[0].id), run.run_id)


def worst(run: Run, metric: str | None) -> list[promote.Source]:
    """Return the calls that were scored or failed their test, worst first: failed tests, then by score.

    Args:
        run: Where to look.
        metric: The score to go by; by default composite, else the mean of all.

    Raises:
        UsageError: Nothing in the run says which call is bad.
    """
    results = _results(run)
    ranked = []
    for call in run.calls:
        result = results.get(call.id)
        # a call that did not get through tells nothing about quality
        if call.judging or call.failed or result is None or not (call.input or result.input):
            continue
        name, value = _figure(result, metric)
        if value is None and (result.outcome != "failed" or metric is not None):
            continue
        failed = metric is None and result.outcome == "failed"
        why = f"{name} {value:.3g}" if value is not None else (result.reason or "its test failed")[:200]
        key = (not failed, 1.0 if value is None else value, call.nodeid or "", call.id)
        ranked.append((key, promote.Source(call, result, run.run_id, why)))
    if not ranked:
        said = f"a score {metric!r}" if metric else "a score or a failed test"
        raise UsageError(
            f"run {run.run_id}: no call has {said}, so none is worst; `llmwatch score` scores RECORDS",
            slug="golden-add",
        )
    return [source for _, source in sorted(ranked, key=lambda pair: pair[0])]


def _results(run: Run) -> dict[str, CaseResult]:
    return {call: r for r in run.results for call in r.call_ids}


def _figure(result: CaseResult, metric: str | None) -> tuple[str, float | None]:
    known = {s.name: s.value for s in result.scores if s.value is not None and not s.informational}
    name = metric or "composite"
    if metric is not None or name in known:
        return name, known.get(name)
    return "mean score", sum(known.values()) / len(known) if known else None


def add(
    golden: GoldenSet,
    sources: Sequence[promote.Source],
    redactor: Redactor,
    *,
    most: int,
    case_id: str | None = None,
    tags: Sequence[str] = (),
    dry: bool = False,
) -> Added:
    """Write up to ``most`` of ``sources`` as cases of ``golden``, redacted, each question once; all or nothing.

    Raises:
        GoldenError: A case does not fit, an id is taken, or the set's file cannot be extended.
    """
    taken, keys = {c.id for c in golden.cases}, promote.keys_of(golden.cases)
    cases: list[dict[str, Any]] = []
    known: list[tuple[str, str]] = []
    hidden = 0
    for source in sources:
        if len(cases) == most:
            break
        plain = promote.case_of(source, messages=not (golden.prompt or golden.target), tags=tags)
        case = redactor.value(plain)
        case["metadata"] = plain["metadata"] | {"promoted": redactor.value(plain["metadata"]["promoted"])}
        if not case["input"]:
            raise GoldenError(
                f"call {source.call.id} has no input that was kept, so it makes no case", slug="golden-add"
            )
        same = keys.get(promote.key_of(case))
        if same is not None:
            known.append((source.call.id, same))
            continue
        name = redactor.text(case_id) if case_id else promote.new_id(case, taken)
        if name in taken:
            raise GoldenError(
                f"case id {name!r} is taken; give another one with --id",
                slug="golden-duplicate-id",
                file=golden.file,
            )
        taken.add(name)
        keys[promote.key_of(case)] = name
        cases.append({"id": name, **case})
        hidden += case != plain
    file, text = _extended(golden, cases)
    if cases and not dry:
        _write(golden, file, text)
    return Added(file, tuple(cases), tuple(known), hidden)


def _extended(golden: GoldenSet, cases: Sequence[Mapping[str, Any]]) -> tuple[Path, str]:
    set_file = golden.folder / "set.yaml"
    text = read_text(set_file, golden.file)
    given = read_yaml(text, golden.file).value.get("cases", "cases.jsonl")
    if not isinstance(given, str):
        return set_file, promote.appended_yaml(_raw(set_file), cases, golden.file) if cases else text
    file = golden.folder / given
    return file, promote.appended_lines(_raw(file), cases, file.as_posix())


def _raw(file: Path) -> str:
    return file.read_bytes().decode("utf-8")


def _write(golden: GoldenSet, file: Path, text: str) -> None:
    before = file.read_bytes()
    atomic.write_bytes(file, text.encode("utf-8"))
    try:
        pipeline.load_golden(golden.folder / "set.yaml")
    except GoldenError:
        atomic.write_bytes(file, before)
        raise
