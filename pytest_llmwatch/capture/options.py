"""How a run captures: plain settings, and the problems that capture wants to tell the user."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

RecordMode = Literal["none", "once", "new", "all", "off"]


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """Settings of capture for one run.

    Args:
        record: ``none`` replays only; ``once`` records what has no cassette file yet and replays what has; ``new``
            replays what matches and records the rest; ``all`` records everything again; ``off`` is live, no files.
        base_urls: URL prefixes of LLM endpoints, beside the known vendors and the monitored clients.
        include: Globs over ``host/path`` that are captured although nothing else says so.
        exclude: Globs over ``host/path`` that are never captured; they win over all else.
        rpm: Live requests a minute, None without a limit.
        concurrency: Live requests in flight, None without a limit.
        shared: Folder of the run in which its processes share ``rpm`` and ``concurrency``; None for one process.
        priced_only: Refuse live calls of models whose price is not known.
        dead_after: Calls in a row that find nobody at an endpoint before it is given up; four times as many where
            it has answered in this run.
        cassette_max_bytes: Size of one cassette from which on the user is told.
        worker: xdist worker id; a worker writes part files, see `merge_parts`.
        run: Id of the run, the same in all its processes; it keeps apart the part files of two runs at once.
        cassettes: Files of other programs from which any test may replay.
        request_metadata: Parameters that are filled into live requests to OpenAI, see `capture.outgoing`.
    """

    record: RecordMode = "once"
    base_urls: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    rpm: int | None = None
    concurrency: int | None = None
    shared: Path | None = None
    priced_only: bool = False
    dead_after: int = 2
    cassette_max_bytes: int = 5_000_000
    worker: str | None = None
    run: str = ""
    cassettes: tuple[Path, ...] = ()
    request_metadata: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that the user should know, though the run goes on. One line; ``slug`` is documented."""

    slug: str
    message: str
