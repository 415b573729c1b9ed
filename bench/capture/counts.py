"""Operations per call, counted and not timed: what a loaded machine cannot blur.

How often a body is parsed, a canonical form is made and hashed, and a text is searched for secrets, per call that
is recorded and per call that is replayed from the end of cassettes of growing size.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import subjects as s

LIMITS = {
    "recorded": {"bodies parsed": 2, "canonical forms": 1, "hashes": 1, "texts searched": 5, "calls built": 1},
    "saved": {"bodies parsed": 5, "canonical forms": 0, "hashes": 0, "texts searched": 3, "calls built": 0},
    "replayed": {"bodies parsed": 2, "canonical forms": 1, "hashes": 1, "texts searched": 4, "calls built": 1},
}
"""At most so many per call; one more is a saving that was lost."""


@contextlib.contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count what capture does inside."""
    from pytest_llmwatch.capture import exchange, fingerprint, logical, session, values
    from pytest_llmwatch.redact import Redactor

    counts: Counter[str] = Counter()
    places: list[tuple[Any, str, str]] = [
        (fingerprint, "canonical", "canonical forms"),
        (fingerprint, "fingerprint", "hashes"),
        (exchange, "fingerprint", "hashes"),
        (session.fp, "canonical", "canonical forms"),
        (Redactor, "_text", "texts searched"),
        (logical.CallBuilder, "build", "calls built"),
        (values.json, "loads", "bodies parsed"),
    ]
    real = []
    for holder, name, what in dict.fromkeys(places):
        function = getattr(holder, name, None)
        if function is None or hasattr(function, "counts_for_bench"):
            continue
        real.append((holder, name, function))
        setattr(holder, name, _counting(function, counts, what))
    try:
        yield counts
    finally:
        for holder, name, function in real:
            setattr(holder, name, function)


def _counting(function: Any, counts: Counter[str], what: str) -> Any:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        # the SDK parses JSON too: only what we parse counts
        if what != "bodies parsed" or _is_ours():
            counts[what] += 1
        return function(*args, **kwargs)

    call.counts_for_bench = True  # type: ignore[attr-defined]
    return call


def _is_ours() -> bool:
    return str(sys._getframe(2).f_globals.get("__name__", "")).startswith("pytest_llmwatch.")


def operations(server: s.Server, folder: Path, *, sizes: Sequence[int], ends: int = 5) -> list[dict[str, Any]]:
    """Count per call; rows that break `LIMITS`, or are not the same at every size, say so under ``broken``."""
    rows: list[dict[str, Any]] = []
    client = s.client(server.url)
    for size in sizes:
        path = folder / f"counts{size}.yaml"
        kind = s.Ours("all")
        with counted() as counts:
            with kind.recording(path) as watch:
                s.sync_calls(client, range(size))()
                rows.append(_row("recorded", size, counts, size))
                counts.clear()
            rows.append(_row("saved", size, counts, size))
            if len(watch.calls) != size or kind.load(path) != size:
                rows[-1]["broken"] = f"{len(watch.calls)} records, {kind.load(path)} recordings of {size} calls"
        gc.collect()
        with kind.replaying(path) as watch:
            s.sync_calls(client, range(1))()
            with counted() as counts:
                s.sync_calls(client, range(size - ends, size))()
            rows.append(_row("replayed", size, counts, ends))
        if sum(c.capture_mode == "replayed" for c in watch.calls) != ends + 1:
            rows[-1]["broken"] = "not all of them were replayed"
    client.close()
    for row in rows:
        first = next(r for r in rows if r["what"] == row["what"])
        for name, limit in LIMITS[row["what"]].items():
            if row[name] > limit:
                row.setdefault("broken", f"{name}: {row[name]} per call, at most {limit}")
            elif row[name] > first[name] + 0.2:  # what is done once weighs more among few calls
                row.setdefault("broken", f"{name}: {first[name]} with {first['size']} calls, {row[name]} here")
    return rows


def _row(what: str, size: int, counts: Counter[str], calls: int) -> dict[str, Any]:
    per_call = {name: round(counts[name] / calls, 2) for name in LIMITS[what]}
    return {"case": f"{what}, {size}", "what": what, "size": size, **per_call}
