"""Runs as folders: ``run.json`` (the verdict), ``calls.jsonl.gz`` (a call a line, with bodies), and where there
are spans ``spans.jsonl.gz`` (a span a line).

The same run gives the same bytes. ``run.json`` is written last: where it stands, the folder is whole.
A store is a folder of such folders, ``<root>/runs/<run id>``, with ``<root>/latest`` naming the newest.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import re
import secrets
import shutil
import zlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_llmwatch import atomic
from pytest_llmwatch.codec import decode, encode
from pytest_llmwatch.errors import RecordsError
from pytest_llmwatch.model import JSON, SCHEMA_VERSION, Baseline, Call, CaseResult, Problem, Run, Span
from pytest_llmwatch.records import Record, Records, dump_line, read_records
from pytest_llmwatch.store import merge
from pytest_llmwatch.store.expense import Expense, Facets

RUN = "run.json"
CALLS = "calls.jsonl.gz"
SPANS = "spans.jsonl.gz"
RUNS = "runs"
LATEST = "latest"
SPENT = "spent.jsonl"
NO_BODIES = "bodies-removed"
"""Stands beside a run whose texts were removed."""


def write_run(
    folder: Path,
    run_json: Mapping[str, JSON],
    calls: Iterable[Mapping[str, JSON]],
    spans: Iterable[Span] = (),
) -> None:
    """Write a run into ``folder``: atomically, and with the same bytes for the same run.

    Args:
        folder: Made where it is missing.
        run_json: What ``report.run_json.render`` returns.
        calls: RECORDS lines, as ``records.to_records`` yields them.
        spans: The run's spans; without any, no file is written, and an older one is removed.

    Raises:
        OSError: The folder cannot be written.
    """
    atomic.write_bytes(folder / CALLS, pack("".join(map(dump_line, calls))))
    lines = [span_line(span) for span in spans]
    if lines:
        atomic.write_bytes(folder / SPANS, pack("".join(lines)))
    else:
        (folder / SPANS).unlink(missing_ok=True)
    atomic.write_text(folder / RUN, run_text(run_json))


def run_text(run_json: Mapping[str, JSON]) -> str:
    """Return the text of run.json."""
    return json.dumps(run_json, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def pack(text: str) -> bytes:
    """Return ``text`` as gzip without a time stamp or a file name, so that equal text gives equal bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as file:
        file.write(text.encode("utf-8"))
    return buffer.getvalue()


def store_run(
    root: Path,
    run_json: Mapping[str, JSON],
    calls: Iterable[Mapping[str, JSON]],
    spans: Iterable[Span] = (),
) -> Path:
    """Keep a run under its id in the store ``root``, name it the latest, and return its folder.

    The folder appears whole or not at all. The same run a second time changes nothing.

    Raises:
        RecordsError: The store holds another run of this id.
    """
    run_id = str(run_json["run_id"])
    folder = root / RUNS / folder_name(run_id)
    draft = folder.with_name(f".{folder.name[:80]}-{secrets.token_hex(6)}")
    try:
        write_run(draft, run_json, calls, spans)
        _place(draft, folder, run_id)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    if not (root / LATEST).exists() or not merge.is_part(run_json.get("environment") or {}):
        atomic.write_text(root / LATEST, folder.name + "\n")
    return folder


def folder_name(run_id: str) -> str:
    """Return the name of a run's folder in a store."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", run_id).lstrip(".") or "-"


def _place(draft: Path, folder: Path, run_id: str) -> None:
    if (folder / RUN).is_file():
        known = not (folder / NO_BODIES).exists()  # what was removed cannot be compared
        if known and any(_bytes(draft / name) != _bytes(folder / name) for name in (RUN, CALLS, SPANS)):
            raise RecordsError(
                f"the store holds another run {run_id}: one id names one run",
                slug="store-conflict",
                file=str(folder),
            )
        return
    shutil.rmtree(folder, ignore_errors=True)  # what a killed job left
    try:
        draft.rename(folder)
    except OSError:
        if not (folder / RUN).is_file():
            raise
        _place(draft, folder, run_id)  # another job was faster


def _bytes(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def add_spent(root: Path, time: str, usd: float, run_id: str | None = None, by: Facets | None = None) -> None:
    """Note in the store that ``usd`` US dollars were spent at ``time`` (ISO 8601); nothing for 0.

    Appended, so that jobs that write at once lose nothing, and kept apart from runs, since a run that was cut
    off has spent its money as well. A run that is noted twice counts once.
    """
    if usd > 0:
        root.mkdir(parents=True, exist_ok=True)
        entry: dict[str, Any] = {"time": time, "usd": usd} | ({"run": run_id} if run_id else {})
        if by is not None:
            entry["by"] = by
        with (root / SPENT).open("a", encoding="utf-8") as out:
            out.write(json.dumps(entry) + "\n")


def spent(root: Path, day: str, without: Container[str] = ()) -> dict[str, float]:
    """Return US dollars spent on ``day`` (``2026-01-31``) and in its month, as ``day`` and ``month``.

    Args:
        root: The store.
        day: ISO 8601 date, UTC.
        without: Ids of runs to leave out.

    Raises:
        RecordsError: The file is damaged; a sum that leaves money out would pass a limit in silence.
    """
    out = {"day": 0.0, "month": 0.0}
    for entry in _entries(root / SPENT):
        if entry.get("run") in without:
            continue
        time, usd = str(entry["time"]), float(entry["usd"])
        if time[:7] == day[:7]:
            out["month"] += usd
        if time[:10] == day:
            out["day"] += usd
    return out


def expenses(root: Path, month: str) -> list[Expense]:
    """Return what each run of a month (``2026-01``) noted.

    Raises:
        RecordsError: The file is damaged.
    """
    return [
        Expense(e.get("run"), str(e["time"])[:10], float(e["usd"]), e.get("by"))
        for e in _entries(root / SPENT)
        if str(e["time"])[:7] == month
    ]


def noted(root: Path, run_ids: Container[str]) -> float:
    """Return US dollars that the store notes for these runs."""
    return math.fsum(float(e["usd"]) for e in _entries(root / SPENT) if e.get("run") in run_ids)


def _entries(file: Path) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for number, line in enumerate(file.read_text("utf-8").splitlines() if file.exists() else (), start=1):
        try:
            entry = json.loads(line)
            str(entry["time"]), float(entry["usd"]), entry.get("run")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RecordsError(
                "is not an entry of ours; correct or remove the line",
                slug="run-corrupt",
                file=str(file),
                line=number,
            ) from error
        run = entry.get("run")
        if run is None or run not in seen:
            seen.add(str(run))
            yield entry


def stored(root: Path) -> list[Path]:
    """Return the folders of all whole runs in the store, by name."""
    runs = root / RUNS
    found = (path.parent for path in runs.glob(f"*/{RUN}")) if runs.is_dir() else ()
    return sorted(folder for folder in found if not folder.name.startswith("."))


def resolve(ref: str, root: Path) -> Path:
    """Return the folder of a run: ``latest``, a folder, a run.json, a run id of the store ``root``, its start.

    Raises:
        RecordsError: There is no such run, or several begin so.
    """
    for path in (Path(ref), root / RUNS / ref):
        if path.name == RUN and path.is_file():
            return path.parent
        if (path / RUN).is_file():
            return path
    if ref != LATEST and Path(ref).is_dir():
        raise RecordsError(
            f"the folder holds no {RUN}; name a folder that a run wrote", slug="run-missing", file=ref
        )
    return by_id(ref, root)


def by_id(ref: str, root: Path) -> Path:
    """Return the folder of a run of the store: ``latest``, an id, its start.

    Raises:
        RecordsError: There is no such run, or several begin so.
    """
    if ref == LATEST:
        return _latest(root)
    return root / RUNS / chosen(ref, [folder.name for folder in stored(root)], str(root))


def chosen(ref: str, ids: Sequence[str], shown: str) -> str:
    """Return the run that ``ref`` is, or is the beginning of.

    Args:
        ref: What the user gave.
        ids: Runs of the store, newest last.
        shown: The store as the user would name it.

    Raises:
        RecordsError: There is none, or several begin so.
    """
    begin = [i for i in ids if i == ref] or [i for i in ids if ref and i.startswith(ref)]
    if len(begin) == 1:
        return begin[0]
    if begin:
        raise RecordsError(
            f"{len(begin)} runs of {shown} begin so: {', '.join(begin[-3:])}; give more of the id",
            slug="run-ambiguous",
            file=ref,
        )
    known = ", ".join(ids[-3:])
    hint = f"newest in {shown}: {known}" if known else f"{shown} holds no runs yet"
    raise RecordsError(f"no run of this name ({hint})", slug="run-missing", file=ref)


def _latest(root: Path) -> Path:
    try:
        named = root / RUNS / (root / LATEST).read_text(encoding="utf-8").strip()
        if (named / RUN).is_file():
            return named
    except OSError:
        # an older store, or one put together from shards
        pass
    runs = stored(root)
    if not runs:
        raise RecordsError(f"{root} holds no runs yet; run pytest with --llm-budget first", slug="run-missing")
    return max(runs, key=lambda folder: ((folder / RUN).stat().st_mtime, folder.name))


def load_run(path: Path, *, display: str | None = None) -> Run:
    """Read a stored run: its folder, or the run.json in it.

    Cases come from run.json, in its order; what they were asked and what they answered from the calls. A run
    without calls.jsonl.gz that names calls is an error: its figures could not be judged again.

    Raises:
        RecordsError: A file is missing, corrupt, or of a newer version; one line.
    """
    folder = path.parent if path.name == RUN else path
    shown = display or str(folder / RUN)
    data = _read_json(folder / RUN, shown)
    return run_of(data, _read_calls(folder, data, shown), _read_spans(folder, data, shown), shown)


def lines(folder: Path, part: str) -> Iterator[str]:
    """Yield the lines of a run's ``calls`` or ``spans`` as they are, one in memory at a time.

    Raises:
        RecordsError: The file is damaged.
    """
    file = folder / (CALLS if part == "calls" else SPANS)
    if not file.exists():
        return
    try:
        with gzip.open(file, "rt", encoding="utf-8", newline="\n") as opened:
            yield from opened
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise RecordsError(
            f"cannot be unpacked ({error}); the file is damaged, write the run again",
            slug="run-corrupt",
            file=str(file),
        ) from error


def run_of(data: Mapping[str, Any], found: Sequence[Record], spans: tuple[Span, ...], shown: str) -> Run:
    """Return the run of a run.json and what lies beside it.

    Raises:
        RecordsError: It does not read as a run of ours.
    """
    with_result = {
        (record.result.nodeid, record.result.attempt, record.result.repeat): record.result
        for record in found
        if record.result is not None
    }
    try:
        results = tuple(_result(case, with_result) for case in data.get("cases", ()))
        return Run(
            run_id=str(data.get("run_id", "")),
            time=str(data.get("time", "")),
            calls=tuple(record.call for record in found),
            results=results,
            spans=spans,
            problems=tuple(decode(Problem, problem) for problem in data.get("problems", ())),
            duration=data.get("duration"),
            partial=bool(data.get("partial", False)),
            partial_reason=data.get("partial_reason"),
            environment=data.get("environment") or {},
            concurrent=tuple(decode(Baseline, base) for base in data.get("concurrent") or ()),
            schema_version=SCHEMA_VERSION,
        )
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise RecordsError(f"is not a run as we write it ({error})", slug="run-corrupt", file=shown) from error


def read_run_json(path: Path, *, display: str | None = None) -> dict[str, Any]:
    """Return run.json of a run (its folder or the file) as it stands.

    Raises:
        RecordsError: It is missing, corrupt, or of a newer version.
    """
    file = path if path.name == RUN else path / RUN
    return _read_json(file, display or str(file))


def _result(case: Mapping[str, Any], with_result: Mapping[tuple[str, int, int], CaseResult]) -> CaseResult:
    known = with_result.get((case["nodeid"], case.get("attempt", 0), case.get("repeat", 0)))
    if known is not None:
        return known
    scores = [
        {"name": name, **(given if isinstance(given, Mapping) else {"value": given})}
        for name, given in case.get("scores", {}).items()
    ]
    given = {key: value for key, value in case.items() if value is not None}
    return decode(CaseResult, {**given, "scores": [{"value": None, **score} for score in scores]})


def _read_calls(folder: Path, data: Mapping[str, Any], shown: str) -> tuple[Record, ...]:
    file = folder / CALLS
    named = any(case.get("call_ids") for case in data.get("cases", ()) if isinstance(case, Mapping))
    if not file.exists():
        if not named:
            return ()
        raise RecordsError(f"has calls, but {CALLS} is not beside it; keep both", slug="run-corrupt", file=shown)
    try:
        found: Records = read_records(file, display=str(Path(shown).parent / CALLS))
    except RecordsError as error:
        if error.slug == "records-empty" and not named:
            return ()
        raise
    return found.records


def _read_spans(folder: Path, data: Mapping[str, Any], shown: str) -> tuple[Span, ...]:
    if data.get("spans") and not (folder / SPANS).exists():
        raise RecordsError(f"has spans, but {SPANS} is not beside it; keep both", slug="run-corrupt", file=shown)
    return _spans_in(folder / SPANS, str(Path(shown).parent / SPANS))


def spans_beside(
    calls_file: Path, calls: Sequence[Call], *, display: str
) -> tuple[tuple[Span, ...], tuple[str, ...]]:
    """Return the spans of the run that a calls.jsonl.gz is of, from its folder, and notes where they are missed.

    Tools, retrievals and stages are measured from them.

    Args:
        calls_file: The file of calls; one of another name has no spans.
        calls: What it holds.
        display: Its name as the user gave it.

    Raises:
        RecordsError: The spans cannot be read.
    """
    if calls_file.name != CALLS:
        return (), ()
    spans = _spans_in(calls_file.with_name(SPANS), str(Path(display).with_name(SPANS)))
    ids = {c.id for c in calls} | {c.span_id for c in calls}
    lost = not spans and any(c.parent_id and c.parent_id not in ids for c in calls)
    note = f"{display}: {SPANS} is not beside it: tools, retrievals and stages that are no calls are not seen"
    return spans, (note,) if lost else ()


def _spans_in(file: Path, name: str) -> tuple[Span, ...]:
    if not file.exists():
        return ()
    try:
        text = gzip.decompress(file.read_bytes()).decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise RecordsError(
            f"cannot be unpacked ({error}); the file is damaged, write the run again",
            slug="run-corrupt",
            file=name,
        ) from error
    return spans_of(text.splitlines(), name)


def spans_of(lines: Iterable[str], shown: str) -> tuple[Span, ...]:
    """Return the spans of ``lines``, a JSON object each.

    Raises:
        RecordsError: A line is no span of ours.
    """
    out = []
    for number, line in enumerate(lines, start=1):
        try:
            out.append(decode(Span, json.loads(line)))
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise RecordsError(
                f"is not a span as we write it ({error})", slug="run-corrupt", file=shown, line=number
            ) from error
    return tuple(out)


def span_line(span: Span) -> str:
    """Return a span as its line in spans.jsonl.gz."""
    return dump_line({"schema_version": SCHEMA_VERSION, **encode(span)})


def _read_json(file: Path, shown: str) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecordsError(f"cannot be read ({error.strerror})", slug="run-missing", file=shown) from error
    except (ValueError, RecursionError) as error:
        raise RecordsError(
            f"is not valid JSON ({error}); the file is damaged, write the run again",
            slug="run-corrupt",
            file=shown,
        ) from error
    return checked(data, shown)


def checked(data: Any, shown: str) -> dict[str, Any]:
    """Return ``data`` if it is a run.json that this version reads.

    Raises:
        RecordsError: It is something else, or of a newer version.
    """
    if not isinstance(data, dict) or "run_id" not in data:
        raise RecordsError("is not a run.json of ours (no run_id)", slug="run-corrupt", file=shown)
    version = data.get("schema_version", SCHEMA_VERSION)
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise RecordsError(
            f"was written by a newer version (schema {version}, this one reads up to {SCHEMA_VERSION});"
            " upgrade pytest-llmwatch",
            slug="run-version",
            file=shown,
        )
    return data
