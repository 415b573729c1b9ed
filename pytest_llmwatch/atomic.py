"""Write files so that a reader meets the old content or the new one, never half of it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def write_bytes(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace ``path`` by ``data``: a temporary file in the same folder, flushed, then renamed.

    Missing parent folders are made. On any failure the temporary file is removed and ``path`` is untouched.

    Raises:
        OSError: The folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:80]}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes 0600; what we write is meant to be read by a CI job's other users and uploaders
        Path(name).chmod(mode & ~_umask())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def write_text(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace ``path`` by ``text`` in UTF-8 with ``\\n`` line ends; see `write_bytes`.

    Lone surrogates (hostile output cut in the middle of a pair) are written as ``?``, never an error.

    Raises:
        OSError: The folder cannot be written.
    """
    write_bytes(path, text.encode("utf-8", errors="replace"), mode=mode)


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Open a file to be written piece by piece that takes the place of ``path`` when the block ends well.

    Missing parent folders are made. What is no regular file (a device, a pipe) is written as it is. On any failure
    the temporary file is removed and ``path`` is untouched.

    Raises:
        OSError: The folder cannot be written, or is full.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:80]}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode & ~_umask())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _umask() -> int:
    # the process's mask can only be read by setting it
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
