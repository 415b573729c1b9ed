"""``baseline.json``: small, sorted, one case a line, so that a review shows what moved."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_llmwatch import atomic
from pytest_llmwatch.codec import decode, encode
from pytest_llmwatch.compare_samples import metric_named
from pytest_llmwatch.errors import BaselineError
from pytest_llmwatch.model import SCHEMA_VERSION, Baseline, BaselineCase

NAME = "baseline.json"


def dumps(base: Baseline) -> str:
    """Return the file's text: the same baseline gives the same bytes."""
    head: dict[str, Any] = encode(base)
    cases = head.pop("cases", {})
    head.pop("anchor", None)
    lines = [f"  {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}," for k, v in head.items()]
    if base.anchor is not None:
        lines.append(f'  "anchor": {_nested(dumps(base.anchor))},')
    # what there is none of is left out: files from before there were categories stay as they are
    kept = {name: {k: v for k, v in case.items() if k != "labels" or v} for name, case in cases.items()}
    rows = [f"    {_line(name)}: {_line(kept[name])}" for name in sorted(kept)]
    body = ",\n".join(rows)
    return "{\n" + "\n".join(lines) + '\n  "cases": {\n' + body + "\n  }\n}\n"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _nested(text: str) -> str:
    return text.rstrip().replace("\n", "\n  ")


def save(base: Baseline, path: Path) -> None:
    """Write the file atomically."""
    atomic.write_text(path, dumps(base))


def load(path: Path, *, display: str | None = None) -> Baseline:
    """Read a baseline.

    Raises:
        BaselineError: It is missing, corrupt, of a newer version, or holds a value that cannot be.
    """
    shown = display or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BaselineError(f"cannot be read ({error.strerror})", slug="baseline-missing", file=shown) from error
    except ValueError as error:
        raise BaselineError(
            f"is not UTF-8 ({error}); restore it from version control", slug="baseline-corrupt", file=shown
        ) from error
    return loads(text, shown)


def loads(text: str, shown: str) -> Baseline:
    """Read a baseline from the text of a file that a user knows as ``shown``; see `load`."""
    try:
        data = json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, shown))
    except (ValueError, RecursionError) as error:
        raise BaselineError(
            f"is not valid JSON ({error}); restore it from version control, or record it again",
            slug="baseline-corrupt",
            file=shown,
            line=getattr(error, "lineno", None),
        ) from error
    return _checked(data, shown)


def _once(pairs: list[tuple[str, Any]], shown: str) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) < len(pairs):
        seen: set[str] = set()
        twice = next(k for k, _ in pairs if k in seen or seen.add(k))  # type: ignore[func-returns-value]
        raise BaselineError(
            f"gives {twice!r} twice; keep one, or record it again", slug="baseline-corrupt", file=shown
        )
    return out


def _checked(data: Any, shown: str) -> Baseline:
    if not isinstance(data, dict) or not isinstance(data.get("cases"), dict):
        raise BaselineError(
            'is not a baseline (no "cases"); `llmwatch baseline record` writes one',
            slug="baseline-corrupt",
            file=shown,
        )
    version = data.get("schema_version", SCHEMA_VERSION)
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise BaselineError(
            f"was written by a newer version (schema {version}, this one reads up to {SCHEMA_VERSION}); upgrade "
            "pytest-llmwatch",
            slug="baseline-version",
            file=shown,
        )
    try:
        anchor = data.pop("anchor", None)
        cases = {str(k): _case(str(k), v, shown) for k, v in data.pop("cases").items()}
        base = decode(Baseline, data)
        found = _checked(anchor, shown) if anchor is not None else None
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise BaselineError(
            f"is not a baseline as we write it ({error}); record it again", slug="baseline-corrupt", file=shown
        ) from error
    return replace(base, cases=cases, anchor=found)


def _case(name: str, data: Mapping[str, Any], shown: str) -> BaselineCase:
    values = {str(m): tuple(_value(name, str(m), v, shown) for v in row) for m, row in data["values"].items()}
    longest = max(map(len, values.values()), default=0)
    sessions = tuple(int(s) for s in data.get("sessions") or [0] * longest)
    labels = {
        str(m): tuple(None if v is None else str(v) for v in row) for m, row in data.get("labels", {}).items()
    }
    return BaselineCase(
        str(data.get("print", "")), values, sessions, data.get("cluster"), float(data.get("weight", 1.0)), labels
    )


def _value(case: str, metric: str, value: Any, shown: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise BaselineError(
            f"case {case!r}: {metric} must be a number >= 0 or null (got {value!r}); record it again",
            slug="baseline-value",
            file=shown,
        )
    if value > 1 and metric_named(metric).shape != "ratio":
        raise BaselineError(
            f"case {case!r}: {metric} must be in [0, 1] (got {value!r}); record it again",
            slug="baseline-value",
            file=shown,
        )
    return float(value)
