"""The key that user ids are hashed with: from the environment, else a file in the store, made at first use.

The hash tells users apart and tells nobody who they are, as long as the key is kept from those who see the report:
its file can be read by its owner only, is never in the folder of the report, and git is told to leave it out.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from pathlib import Path

VARIABLE = "LLMWATCH_HASH_KEY"
"""Environment variable with the key, for a team whose machines are to give the same hashes."""

FILE = "hash-key"


class UserKey:
    """The key of one run, read when the first user is met.

    Args:
        folder: Where its file is kept.
        create: Whether to make the file where there is none; without it the key lasts as long as the process.
    """

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        self._folder = folder
        self._create = create
        self._lock = threading.Lock()
        self._key: bytes | None = None

    def __call__(self) -> bytes:
        """Return the key; a random one where its file can be neither read nor made."""
        given = os.environ.get(VARIABLE, "").encode()
        if given:
            return given
        with self._lock:
            if self._key is None:
                self._key = self._read() or (self._made() if self._create else None) or _new()
            return self._key

    def _read(self) -> bytes | None:
        with contextlib.suppress(OSError):
            return (self._folder / FILE).read_bytes().strip() or None
        return None

    def _made(self) -> bytes | None:
        """Make the file; of several processes that do so at once, all get the key of the first."""
        file, draft = self._folder / FILE, self._folder / f".{FILE}-{os.getpid()}-{secrets.token_hex(4)}"
        with contextlib.suppress(OSError):
            _prepare(self._folder)
            _write(draft)
            try:
                os.link(draft, file)  # whole, or not at all
            except FileExistsError:
                pass
            except OSError:  # a file system without links
                with contextlib.suppress(FileExistsError):
                    _write(file)
        with contextlib.suppress(OSError):
            draft.unlink()
        return self._read()


def _write(file: Path) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as out:
        out.write(_new() + b"\n")


def _new() -> bytes:
    return secrets.token_hex(32).encode()


def _prepare(folder: Path) -> None:
    """Make the folder; keep the key out of git, and with it a folder that we made ourselves."""
    ours = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    kept = ignore.read_text("utf-8") if ignore.exists() else ""
    wanted = "*" if ours else f"/{FILE}"
    if not {"*", wanted} & set(kept.split()):
        lead = "\n" if kept and not kept.endswith("\n") else ""
        ignore.write_text(f"{kept}{lead}{wanted}\n", "utf-8")
