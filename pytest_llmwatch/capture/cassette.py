"""Record and replay for one execution of a test, and the merge of what xdist workers recorded."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_llmwatch.capture import fingerprint as fp
from pytest_llmwatch.capture.cassette_file import CassetteFile, Interaction, Key, merged
from pytest_llmwatch.capture.options import Problem, RecordMode
from pytest_llmwatch.errors import CassetteError
from pytest_llmwatch.redact import Redactor

_PART = ".part-"
_KEPT_FILES = 64


class CassetteHandle:
    """A cassette as one execution of a test sees it: its repeat, its attempt, and its own counters.

    Get one from `CaptureSession.open_cassette`; `close` saves.
    """

    def __init__(self, shelf: Shelf, file: CassetteFile, *, repeat: int, attempt: int, fresh: bool) -> None:
        self.repeat = repeat
        self.attempt = attempt
        self.display = file.display
        mode = shelf.mode
        self.can_play = mode in ("none", "new") or (mode == "once" and not fresh)
        self.can_record = mode in ("new", "all") or (mode == "once" and fresh)
        self._shelf = shelf
        self._file = file
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Interaction]] | None = None
        self._slots: list[tuple[str, Interaction | None]] = []
        self._closed = False

    def play(self, form: dict[str, Any]) -> Interaction | None:
        """Return the next recording of this request and take it out, or None if there is none left."""
        if not self.can_play:
            return None
        with self._lock:
            if self._waiting is None:
                self._waiting = self._index()
            queue = self._waiting.get(fp.fingerprint(form))
            if not queue:
                queue = self._rekeyed().get(fp.fingerprint(form))
            return queue.pop(0) if queue else None

    def reserve(self, form: dict[str, Any]) -> int:
        """Reserve the place of a recording when its request starts, so that order is that of the requests."""
        with self._lock:
            self._slots.append((fp.fingerprint(form), None))
            return len(self._slots) - 1

    def record(self, slot: int, interaction: Interaction) -> None:
        """Fill a reserved place."""
        with self._lock:
            self._slots[slot] = (self._slots[slot][0], interaction)

    def closest(self, form: dict[str, Any]) -> tuple[dict[str, Any], int] | None:
        """Return the canonical form of the most similar recording, and how many recordings the file holds."""
        forms = [self._shelf.form(i) for i in self._file.interactions]
        if not forms:
            return None
        return min(forms, key=lambda f: _distance(f, form)), len(forms)

    def close(self) -> None:
        """Save what was recorded. Unused older recordings are kept. Closing twice is harmless.

        Raises:
            SecretFound: The file would hold a secret.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            recorded = [(key, item) for key, item in self._slots if item is not None]
        if recorded:
            new: list[tuple[Key, Interaction]] = [((self.repeat, self.attempt, k), i) for k, i in recorded]
            self._shelf.save(self._file, new)

    def _index(self) -> dict[str, list[Interaction]]:
        out: dict[str, list[Interaction]] = defaultdict(list)
        for item in self._mine():
            out[self._shelf.key(item)].append(item)
        return out

    def _mine(self) -> list[Interaction]:
        places = {i.place for i in self._file.interactions}
        here = (self.repeat, self.attempt)
        # a rerun of a test replays what its first execution recorded
        place = here if here in places else (self.repeat, 0)
        mine = [i for i in self._file.interactions if i.place == place]
        return [i for i in mine if not i.is_dead] if self.can_record else mine

    def _rekeyed(self) -> dict[str, list[Interaction]]:
        """Index what is left by what its stored request says now: edited by hand, or redacted by new patterns."""
        assert self._waiting is not None
        out: dict[str, list[Interaction]] = defaultdict(list)
        for queue in self._waiting.values():
            for item in queue:
                out[fp.fingerprint(self._shelf.form(item))].append(item)
        self._waiting = out
        return out


class Shelf:
    """All cassettes of a session: loads each file once, remembers which are new, saves.

    Args:
        mode: Record mode of the session.
        redactor: For request forms and for the scan of saved files.
        worker: xdist worker id, None outside.
        max_bytes: Size from which on a file is reported.
        report: Takes problems.
    """

    def __init__(
        self,
        mode: RecordMode,
        redactor: Redactor,
        *,
        worker: str | None,
        max_bytes: int,
        report: Callable[[Problem], None],
    ) -> None:
        self.mode = mode
        self._redactor = redactor
        self._worker = worker
        self._max_bytes = max_bytes
        self._report = report
        self._lock = threading.Lock()
        self._files: dict[Path, tuple[CassetteFile, tuple[int, int] | None]] = {}
        self._fresh: set[Path] = set()
        self._parts: dict[Path, tuple[CassetteFile, list[tuple[Key, Interaction]]]] = {}

    def open(self, path: Path, *, repeat: int, attempt: int, display: str) -> CassetteHandle:
        """Open a cassette for one execution.

        Raises:
            CassetteError: The file cannot be used.
        """
        with self._lock:
            file = self._file(path, display)
            if not file.existed or all(i.is_dead for i in file.interactions):
                # new in this session: "once" goes on recording into it, though the file exists by now. A file that
                # only says that the endpoint was down is no recording: once it is up, it is recorded
                self._fresh.add(path)
            return CassetteHandle(self, file, repeat=repeat, attempt=attempt, fresh=path in self._fresh)

    def _file(self, path: Path, display: str) -> CassetteFile:
        stamp = _stamp(path)
        known = self._files.pop(path, None)
        if known is None or known[1] != stamp:
            known = (CassetteFile(path, display, self._redactor), stamp)
        self._files[path] = known  # last in order: most recently used
        while len(self._files) > _KEPT_FILES:
            self._files.pop(next(iter(self._files)))
        return known[0]

    def save(self, file: CassetteFile, new: list[tuple[Key, Interaction]]) -> None:
        """Add the recordings of one execution to the file, or to this worker's part of it."""
        replace = self.mode != "new"
        with self._lock, file.lock:
            if self._worker is None:
                old = [((*i.place, self.key(i)), i) for i in file.interactions]
                file.save(merged(old, new, replace=replace))
                self._files[file.path] = (file, _stamp(file.path))
            else:
                part, items = self._part(file)
                if replace:
                    keys = {key for key, _ in new}
                    items[:] = [(key, item) for key, item in items if key not in keys]
                items += new
                part.save([item for _, item in items], replaces=replace)
        if file.size > self._max_bytes:
            self._report(
                Problem(
                    "cassette-large",
                    f"{file.display} is {file.size / 1e6:.1f} MB (limit {self._max_bytes / 1e6:.1f} MB): split "
                    "the test, record fewer repeats, or raise [capture] cassette_max_bytes",
                )
            )

    def _part(self, file: CassetteFile) -> tuple[CassetteFile, list[tuple[Key, Interaction]]]:
        if file.path not in self._parts:
            part = CassetteFile(part_path(file.path, self._worker or ""), file.display, self._redactor)
            # a part that a killed run left here and nobody merged yet is not thrown away
            self._parts[file.path] = (part, [((*i.place, self.key(i)), i) for i in part.interactions])
        return self._parts[file.path]

    def key(self, item: Interaction) -> str:
        """Return a recording's fingerprint: as recorded, else from its request."""
        stored = item.timing.get("fingerprint")
        return stored if isinstance(stored, str) else fp.fingerprint(self.form(item))

    def form(self, item: Interaction) -> dict[str, Any]:
        """Return the canonical form of a recorded request."""
        request = item.request
        return fp.canonical(request.method, request.uri, item.request_body, item.content_type, self._redactor)


def part_path(path: Path, worker: str) -> Path:
    """Return where a worker records what belongs to ``path``."""
    return path.with_name(f"{path.name}{_PART}{re.sub(r'[^A-Za-z0-9]', '_', worker)}")


def merge_parts(folder: Path) -> list[Path]:
    """Merge all worker part files below ``folder`` into their cassettes, atomically; return those cassettes.

    A part is removed only after its cassette is saved, so a run that was killed loses nothing: call this when a
    session ends, and when the next one starts.

    Raises:
        CassetteError: A cassette is corrupt. (A part that was cut off is dropped: workers write atomically.)
    """
    found: dict[Path, list[Path]] = defaultdict(list)
    for root, _, names in os.walk(folder):
        for name in names:
            base, mark, _ = name.partition(_PART)
            if mark and base.endswith((".yaml", ".yml")):
                found[Path(root, base)].append(Path(root, name))
    for path, parts in sorted(found.items()):
        _merge(path, sorted(parts))
        for part in parts:
            with contextlib.suppress(FileNotFoundError):
                part.unlink()
    return sorted(found)


def _merge(path: Path, parts: list[Path]) -> None:
    redactor = Redactor()
    display = path.name
    shelf = Shelf("new", redactor, worker=None, max_bytes=1 << 40, report=lambda _: None)
    file = CassetteFile(path, display, redactor)
    keyed = [((*i.place, shelf.key(i)), i) for i in file.interactions]
    best: dict[Key, list[Interaction]] = {}
    replaces = False
    for part in parts:
        try:
            content = CassetteFile(part, part.name, redactor)
        except CassetteError:
            continue
        replaces = replaces or content.replaces
        groups: dict[Key, list[Interaction]] = defaultdict(list)
        for item in content.interactions:
            groups[(*item.place, shelf.key(item))].append(item)
        for key, items in groups.items():
            # a session fixture runs in every worker and records the same calls in each: keep one worker's
            if len(items) > len(best.get(key, ())):
                best[key] = items
    new = [(key, item) for key, items in best.items() for item in items]
    if new:
        file.save(merged(keyed, new, replace=replaces))


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _distance(recorded: dict[str, Any], asked: dict[str, Any]) -> tuple[int, int]:
    """Return how far two forms are apart: number of differing places, then length of the differing text."""
    found = fp.differences(recorded, asked)
    path_differs = recorded.get("path") != asked.get("path")
    weight = sum(len(d.recorded or "") + len(d.asked or "") for d in found)
    return len(found) + 100 * path_differs, weight
