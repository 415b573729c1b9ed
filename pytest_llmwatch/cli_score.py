"""``llmwatch score``: score stored outputs or production logs, offline."""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import os
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from pytest_llmwatch.cli_load import rename_map
from pytest_llmwatch.errors import RecordsError, UsageError

if TYPE_CHECKING:
    from pytest_llmwatch.pipeline_score import Job, Tally

STDIN = "-"
INTERRUPTED = 130


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("score", help="score stored outputs or production logs, offline")
    parser.add_argument("records", metavar="RECORDS", help="JSON lines, gzip or not; - reads standard input")
    parser.add_argument("-o", "--output", metavar="OUT", help="write there (.gz packs); default: standard output")
    parser.add_argument("--scorers", metavar="A,B", help="only these, by name or label (default: all that apply)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes to score in (default 1)")
    parser.add_argument("--map", action="append", default=[], metavar="OLD=NEW", help="rename a key of RECORDS")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="SCORER.OPTION=VALUE",
        help="an option of a scorer (repeatable)",
    )
    parser.add_argument(
        "--set", dest="golden", metavar="DIR", help="golden set: scorers, options, weights, and references by case"
    )
    parser.add_argument("--budget", metavar="FILE", help="plugins and composite weights from this budget")
    parser.add_argument("--schema", metavar="FILE", help="JSON Schema of the outputs")
    parser.add_argument("--strict", action="store_true", help="stop at the first line that cannot be read")
    parser.set_defaults(run=cmd_score)


def cmd_score(args: argparse.Namespace) -> int:
    """Score every line; 0, or 4 where nothing could be read."""
    from pytest_llmwatch.pipeline_score import numbered, score_stream

    job = _job(args)
    if args.jobs < 1:
        raise UsageError(f"--jobs must be at least 1 (got {args.jobs})", slug="score-option")
    live = args.records == STDIN and args.jobs == 1
    try:
        with _reading(args.records) as source, _writing(args.output) as out:
            progress = _Progress(source.position, source.size)

            def write(data: bytes, tally: Tally) -> None:
                out.write(data)
                if live:
                    out.flush()  # a log that is followed is scored as it comes
                progress.show(tally.lines)

            try:
                tally = score_stream(job, numbered(source), write, jobs=args.jobs, size=1 if live else 512)
            finally:
                progress.end()
            _tell(tally, job.file)
            if tally.bad == tally.lines:
                what = f"none of its {tally.lines:,} lines can be read" if tally.lines else "holds no record"
                raise RecordsError(what, slug="records-empty", file=job.file)
    except KeyboardInterrupt:
        print("llmwatch: stopped", file=sys.stderr)
        return INTERRUPTED
    return 0


def _job(args: argparse.Namespace) -> Job:
    from pytest_llmwatch.pipeline_score import Job

    names = None
    if args.scorers is not None:
        names = tuple(dict.fromkeys(n.strip() for n in args.scorers.split(",") if n.strip()))
        if not names:
            raise UsageError("--scorers names no scorer", slug="score-option")
    return Job(
        file="<stdin>" if args.records == STDIN else args.records,
        scorers=names,
        rename=rename_map(args.map),
        options=tuple(map(_option, args.option)),
        golden=args.golden,
        budget=args.budget,
        schema=args.schema,
        strict=args.strict,
    )


def _option(given: str) -> tuple[str, str, Any]:
    key, sep, text = given.partition("=")
    scorer, dot, option = key.strip().partition(".")
    if not sep or not dot or not scorer or not option:
        raise UsageError(f"--option must read SCORER.OPTION=VALUE (got {given!r})", slug="score-option")
    try:
        return scorer, option, json.loads(text)
    except (ValueError, RecursionError):
        return scorer, option, text  # a plain text needs no quotes


def _tell(tally: Tally, file: str) -> None:
    from pytest_llmwatch.format import plural

    for message in tally.errors:
        print(f"llmwatch: {message}", file=sys.stderr)
    if tally.bad > len(tally.errors):
        print(f"llmwatch: and {tally.bad - len(tally.errors):,} more", file=sys.stderr)
    for note in tally.notes.values():
        print(f"note: {note}", file=sys.stderr)
    for name, said in tally.crash.items():
        print(f"note: {name} failed on {plural(tally.crashed[name], 'record')}, first on {said}", file=sys.stderr)
    if tally.judging:
        print(
            f"note: {plural(tally.judging, 'call')} of a judge not scored: no answers of the application",
            file=sys.stderr,
        )
    if tally.bad:
        good = plural(tally.lines - tally.bad - tally.judging, "record")
        print(f"llmwatch: {file}: {good} scored, {plural(tally.bad, 'bad line')} skipped", file=sys.stderr)


# files ------------------------------------------------------------------------------------------------------


class _Source:
    """An open RECORDS file, and how far it has been read."""

    def __init__(self, file: BinaryIO, raw: BinaryIO, size: int | None, display: str) -> None:
        self._file = file
        self._raw = raw
        self._display = display
        self.size = size

    def readline(self, limit: int) -> bytes:
        """Return the next line, at most ``limit`` bytes of it.

        Raises:
            RecordsError: The file cannot be read on.
        """
        try:
            return self._file.readline(limit)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise RecordsError(
                f"is a broken gzip file ({error}); write it again", slug="records-gzip", file=self._display
            ) from error
        except OSError as error:
            raise RecordsError(
                f"cannot be read ({error.strerror})", slug="records-missing", file=self._display
            ) from error

    def position(self) -> int:
        """Return how many bytes of the file have been read."""
        return self._raw.tell()


@contextlib.contextmanager
def _reading(name: str) -> Iterator[_Source]:
    if name == STDIN:
        raw = cast(BinaryIO, getattr(sys.stdin, "buffer", None) or io.BytesIO(sys.stdin.read().encode()))
        size = None
    else:
        try:
            raw = Path(name).open("rb")  # noqa: SIM115
            size = os.fstat(raw.fileno()).st_size or None
        except OSError as error:
            raise RecordsError(f"cannot be read ({error.strerror})", slug="records-missing", file=name) from error
    try:
        peeked = raw.peek(2)[:2] if isinstance(raw, io.BufferedReader) else b""
        packed = peeked == b"\x1f\x8b"
        file = cast(BinaryIO, io.BufferedReader(gzip.GzipFile(fileobj=raw))) if packed else raw
        yield _Source(file, raw, size, "<stdin>" if name == STDIN else name)
    except IsADirectoryError as error:
        raise RecordsError("is a folder; name a file", slug="records-missing", file=name) from error
    finally:
        if name != STDIN:
            raw.close()


class _Out:
    """Where the lines go. A write that fails becomes one clear line."""

    def __init__(self, file: BinaryIO, display: str, *, standard: bool = False) -> None:
        self._file = file
        self._display = display
        self._standard = standard

    def write(self, data: bytes) -> None:
        """Write, or raise UsageError; BrokenPipeError passes: nobody reads on."""
        self._guarded(lambda: self._file.write(data))

    def flush(self) -> None:
        """Flush, as `write`."""
        self._guarded(self._file.flush)

    def _guarded(self, act: Any) -> None:
        try:
            act()
        except OSError as error:
            if self._standard:
                # or Python tries once more at exit, and complains
                with contextlib.suppress(OSError, ValueError):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                raise
            raise _unwritable(error, self._display) from error


def _unwritable(error: OSError, display: str) -> UsageError:
    return UsageError(f"cannot be written ({error.strerror})", slug="score-output", file=display)


@contextlib.contextmanager
def _writing(name: str | None) -> Iterator[_Out]:
    """Open the output; a file appears whole at the end or not at all."""
    if name is None or name == STDIN:
        sys.stdout.flush()
        out = _Out(cast(BinaryIO, sys.stdout.buffer), "<stdout>", standard=True)
        yield out
        out.flush()
        return
    from pytest_llmwatch.atomic import replacing

    try:
        with replacing(Path(name)) as file:
            packed = gzip.GzipFile(fileobj=file, mode="wb", mtime=0, filename="") if name.endswith(".gz") else None
            out = _Out(cast(BinaryIO, packed or file), name)
            yield out
            if packed is not None:
                packed.close()
            out.flush() if packed is None else None
    except OSError as error:
        raise _unwritable(error, name) from error


class _Progress:
    """A line on stderr that tells how far scoring is; only where a person watches."""

    def __init__(self, position: Any, size: int | None) -> None:
        self._on = sys.stderr.isatty()
        self._position = position
        self._size = size
        self._began = self._shown = time.monotonic()

    def show(self, lines: int) -> None:
        """Show how many lines are done, five times a second at most."""
        now = time.monotonic()
        if not self._on or now - self._shown < 0.2:
            return
        self._shown = now
        rate = lines / (now - self._began)
        share = ""
        if self._size:
            done = min(1.0, self._position() / self._size)
            share = f"[{'#' * int(done * 30):<30}] {done:4.0%} "
        print(f"\r{share}{lines:,} lines, {rate:,.0f}/s\x1b[K", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Clear the line."""
        if self._on:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
