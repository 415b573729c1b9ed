"""One writer at a time in a folder of cassettes, over threads and processes, with nothing left behind in it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_fcntl: Any
try:
    import fcntl as _fcntl
except ImportError:  # Windows: a merge on saving still keeps what others saved in between
    _fcntl = None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of ``folder`` (made if it is missing); wait for whoever holds it.

    The folder itself is locked, so no lock file lands in a repository. Where a file system has no locks, or the
    folder cannot be made, there is none: whoever writes then meets the error that says why.
    """
    handle = _open(folder)
    try:
        if handle is not None and _fcntl is not None:
            with contextlib.suppress(OSError):
                _fcntl.flock(handle, _fcntl.LOCK_EX)
        yield
    finally:
        if handle is not None:
            os.close(handle)  # which unlocks


def _open(folder: Path) -> int | None:
    if _fcntl is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder, os.O_RDONLY)
    except OSError:
        return None
