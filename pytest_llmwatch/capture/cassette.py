"""Record and replay for one execution of a test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pytest_llmwatch.capture import fingerprint as fp
from pytest_llmwatch.capture.cassette_book import Book, Place, Use
from pytest_llmwatch.capture.cassette_file import CassetteFile, Interaction, Key, merged
from pytest_llmwatch.capture.cassette_lock import locked
from pytest_llmwatch.capture.cassette_parts import form_of, keyed, merge_folder, merge_parts, part_path
from pytest_llmwatch.capture.options import Problem, RecordMode
from pytest_llmwatch.redact import Redactor

__all__ = ["CassetteHandle", "Closest", "Shelf", "merge_parts", "part_path"]

_KEPT_FILES = 64


class Closest:
    """The recording that is most like a request, and the others that are as near."""

    def __init__(self, item: Interaction, form: dict[str, Any], number: int, count: int, equals: int) -> None:
        self.item = item
        self.form = form
        self.number = number
        """Its place in the file, from 1."""
        self.count = count
        """How many recordings there are."""
        self.equals = equals
        """How many others differ in as many places."""


class CassetteHandle:
    """A cassette as one execution of a test sees it: its repeat, its attempt, and its own counters.

    Get one from `CaptureSession.open_cassette`; `close` saves.
    """

    def __init__(
        self, shelf: Shelf, file: CassetteFile, books: Sequence[Book], *, place: Place, fresh: bool
    ) -> None:
        mode = shelf.mode
        self.repeat, self.attempt = place
        self.display = file.display
        self.path = file.path
        self.can_record = mode in ("new", "all") or (mode == "once" and fresh)
        self._shelf = shelf
        self._file = file
        self._books = list(books)
        self._own = file.index
        self._lock = threading.Lock()
        self._taken: set[int] = set()
        self._played: list[tuple[Book, Interaction]] = []
        self._slots: list[tuple[str, Interaction | Callable[[], Interaction] | None]] = []
        self._saved = 0
        self._closed = False

    @property
    def existed(self) -> bool:
        """Whether there was a file when the handle was opened."""
        return self._file.existed

    def add_source(self, path: Path) -> None:
        """Replay from another cassette too, where this one has no recording."""
        with self._lock:
            self._books.append(self._shelf.book(path))

    @property
    def plays(self) -> bool:
        """Whether there is anything to replay from."""
        return bool(self._books)

    def play(self, form: dict[str, Any], key: str | None = None) -> Interaction | None:
        """Return the next recording of this request and take it out, or None if there is none left.

        Args:
            form: Its canonical form.
            key: The form's hash, where it is known.
        """
        key = key or fp.fingerprint(form)
        with self._lock:
            for book in self._books:
                place = book.place_for(self.repeat, self.attempt)
                for queue in book.queues(place, form, key):
                    item = self._next(queue)
                    if item is not None:
                        self._played.append((book, item))
                        return item
        return None

    def _next(self, queue: list[Interaction]) -> Interaction | None:
        for item in queue:
            if id(item) not in self._taken and not (self.can_record and item.is_dead):
                self._taken.add(id(item))
                return item
        return None

    def reserve(self, form: dict[str, Any], key: str | None = None) -> int:
        """Reserve the place of a recording when its request starts, so that order is that of the requests."""
        key = key or fp.fingerprint(form)
        with self._lock:
            self._slots.append((key, None))
            return len(self._slots) - 1

    def record(self, slot: int, interaction: Interaction | Callable[[], Interaction]) -> None:
        """Fill a reserved place; what is given as a function is made when the cassette is saved.

        Making a recording takes a millisecond, which the other streams of an event loop would wait for.
        """
        with self._lock:
            self._slots[slot] = (self._slots[slot][0], interaction)

    def _made(self) -> list[tuple[str, Interaction]]:
        """Return what was recorded; called under the lock."""
        out = []
        for slot, (key, given) in enumerate(self._slots):
            if given is None:
                continue
            item = given if isinstance(given, Interaction) else given()
            item.key = key
            self._slots[slot] = (key, item)
            out.append((key, item))
        return out

    def closest(self, form: dict[str, Any]) -> Closest | None:
        """Return the most similar recording, None if there is none at all."""
        items = list(dict.fromkeys(i for b in [*self._books, self._shelf.book_of(self._file)] for i in b.items))
        if not items:
            return None
        forms = [self._shelf.form(i) for i in items]
        here = [i.place != (self.repeat, self.attempt) for i in items]
        ranks = [(fp.distance(f, form), away, n) for n, (f, away) in enumerate(zip(forms, here, strict=True))]
        distance, _, best = min(ranks)
        equals = sum(1 for d, _, n in ranks if d[0] == distance[0] and n != best)
        return Closest(items[best], forms[best], best + 1, len(items), equals)

    def save(self, *, complete: bool = False) -> None:
        """Save what was recorded up to now.

        Args:
            complete: Whether the execution came to its end, so that under ``all`` the recordings of calls that it
                no longer makes go.

        Raises:
            SecretFound: The file would hold a secret.
        """
        with self._lock:
            recorded = [((self.repeat, self.attempt, key), item) for key, item in self._made()]
            news = len(recorded) - self._saved
            self._saved = len(recorded)
        whole = complete and self._shelf.mode == "all"
        if news or whole:
            self._shelf.save(self._file, recorded, place=(self.repeat, self.attempt), whole=whole)

    def close(self, *, complete: bool = True) -> None:
        """Save what was recorded and note which recordings were used. Closing twice is harmless.

        Args:
            complete: See `save`.

        Raises:
            SecretFound: The file would hold a secret.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._shelf.note(self._file, self._use(complete))
        self.save(complete=complete)

    def _use(self, complete: bool) -> Use:
        use = Use(complete=complete, places={(self.repeat, self.attempt)})
        use.played |= {book.name(item) for book, item in self._played if book is self._own}
        counts: dict[str, int] = {}
        for key, item in self._slots:
            if item is not None:
                before = self._own.count((self.repeat, self.attempt), key) if self._shelf.mode == "new" else 0
                number = counts[key] = counts.get(key, before - 1) + 1
                use.played.add(f"{self.repeat}/{self.attempt}/{key}/{number}")
        return use


class Shelf:
    """All cassettes of a session: loads each file once, remembers which are new, saves.

    Args:
        mode: Record mode of the session.
        redactor: For request forms and for the scan of saved files.
        worker: xdist worker id, None outside.
        run: Id of the run, the same in all its processes.
        max_bytes: Size from which on a file is reported.
        report: Takes problems.
        shared: Cassettes of other programs that any test may replay from.
    """

    def __init__(
        self,
        mode: RecordMode,
        redactor: Redactor,
        *,
        worker: str | None,
        max_bytes: int,
        report: Callable[[Problem], None],
        run: str = "",
        shared: Sequence[Path] = (),
    ) -> None:
        self.mode = mode
        self.uses: dict[Path, Use] = {}
        """What was done with each cassette that an execution opened."""
        self.written: set[Path] = set()
        """Cassettes that were saved here."""
        self._redactor = redactor
        self._worker = worker
        self._run = run
        self._max_bytes = max_bytes
        self._report = report
        self._shared = tuple(shared)
        self._lock = threading.RLock()
        self._files: dict[Path, CassetteFile] = {}
        self._stamps: dict[Path, tuple[int, int, int] | None] = {}
        self._fresh: set[Path] = set()
        self._done: set[tuple[Path, Place]] = set()
        self._here: dict[Path, list[Interaction]] = {}
        self._parts: dict[Path, CassetteFile] = {}
        self._folders: set[Path] = set()
        self._unwritable: set[Path] = set()

    def open(
        self,
        path: Path,
        *,
        repeat: int,
        attempt: int,
        display: str,
        again: bool = False,
        sources: Sequence[Path] = (),
    ) -> CassetteHandle:
        """Open a cassette for one execution.

        Args:
            path: The file.
            repeat: Sample number.
            attempt: Rerun number.
            display: The file's name in messages.
            again: Replay what an earlier execution of this session recorded: a fixture that is set up again.
            sources: Where other programs may have recorded this test; the first that exists is replayed from.

        Raises:
            CassetteError: The file cannot be used.
        """
        with self._lock:
            self._clear_up(path.parent)
            file = self._file(path, display)
            other = next((s for s in sources if s != path and s.is_file()), None) if sources else None
            if other is None and (not file.existed or all(i.is_dead for i in file.interactions)):
                # new in this session: "once" goes on recording into it, though the file exists by now. A file that
                # only says that the endpoint was down is no recording: once it is up, it is recorded
                self._fresh.add(path)
            fresh = path in self._fresh
            books = []
            if self.mode in ("none", "new") or (self.mode == "once" and not fresh):
                books.append(self.book_of(file))
            if again and path in self._here:
                books.append(Book(self._here[path], self.form))
            if self.mode != "all":
                books += [self.book(s) for s in ((other,) if other else ()) + self._shared]
            return CassetteHandle(self, file, books, place=(repeat, attempt), fresh=fresh)

    def _clear_up(self, folder: Path) -> None:
        """Merge, once, what a run that was killed left in ``folder``."""
        if folder not in self._folders:
            self._folders.add(folder)
            if self.mode != "none":
                try:
                    merge_folder(folder, orphans=True)
                except OSError as error:
                    self._cannot_write(folder, error)

    def book(self, path: Path) -> Book:
        """Return the recordings of a file.

        Raises:
            CassetteError: It cannot be used.
        """
        with self._lock:
            return self.book_of(self._file(path, path.name))

    def book_of(self, file: CassetteFile) -> Book:
        """Return the recordings of a file that is open."""
        with self._lock:
            if file.index is None:
                file.index = Book(file.interactions, self.form)
            book: Book = file.index
            return book

    def _file(self, path: Path, display: str) -> CassetteFile:
        stamp = _stamp(path)
        known = self._files.pop(path, None)
        if known is None or self._stamps.get(path) != stamp:
            known = CassetteFile(path, display, self._redactor)
            self._stamps[path] = stamp
        self._files[path] = known  # last in order: most recently used
        while len(self._files) > _KEPT_FILES:
            self._files.pop(next(iter(self._files)))
        return known

    def note(self, file: CassetteFile, use: Use) -> None:
        """Remember what an execution did with a file."""
        with self._lock:
            self.uses.setdefault(file.path, Use()).add(use)

    def save(
        self, file: CassetteFile, recorded: list[tuple[Key, Interaction]], *, place: Place, whole: bool
    ) -> None:
        """Add the recordings of one execution to the file, or to this worker's part of it.

        Args:
            file: As it was when the execution began.
            recorded: All that the execution recorded, also what was saved before.
            place: Its repeat and attempt.
            whole: Whether older recordings of the place go, asked for again or not.

        Raises:
            SecretFound: The file would hold a secret.
        """
        path = file.path
        with self._lock, locked(path.parent):
            places: set[Place] = set()
            if whole and (path, place) not in self._done:
                # what later attempts recorded is of no use where this one passed
                old = {i.place for i in file.interactions}
                places = {p for p in old if p[0] == place[0] and p[1] >= place[1]} & ({place} | old)
            if not recorded and not places:
                return
            self._done.add((path, place))
            self._remember(path, [item for _, item in recorded])
            try:
                if self._worker is None:
                    saved = self._save_whole(file, recorded, places)
                else:
                    saved = self._save_part(file, recorded, places)
            except OSError as error:
                self._cannot_write(path.parent, error)
                return
        self.written.add(path)
        if saved.size > self._max_bytes:
            self._too_large(file, saved.size)

    def _remember(self, path: Path, items: Iterable[Interaction]) -> None:
        here = self._here.setdefault(path, [])
        known = {id(i) for i in here}
        here += [i for i in items if id(i) not in known]

    def _save_whole(
        self, file: CassetteFile, recorded: list[tuple[Key, Interaction]], places: set[Place]
    ) -> CassetteFile:
        path, replace = file.path, self.mode != "new"
        before = self._stamps.get(path)
        disk = self._file(path, file.display)
        old = [keyed(item, self._redactor) for item in disk.interactions]
        if before != self._stamps.get(path):
            # another run saved in between: its recordings stay, and of the same call the richer of both
            places = set()
            recorded = [(k, i) for k, i in recorded if _count(k, recorded) >= _count(k, old)]
        disk.save([slim(i, self._redactor) for i in merged(old, recorded, replace=replace, whole=places)])
        self._stamps[path] = _stamp(path)
        self._files[path] = disk
        return disk

    def _save_part(
        self, file: CassetteFile, recorded: list[tuple[Key, Interaction]], places: set[Place]
    ) -> CassetteFile:
        path, replace = file.path, self.mode != "new"
        if path not in self._parts:
            self._parts[path] = CassetteFile(
                part_path(path, self._worker or "", self._run), file.display, self._redactor
            )
        part = self._parts[path]
        old = [keyed(item, self._redactor) for item in part.interactions]
        part.save(
            merged(old, recorded, replace=replace, whole=places), replaces=replace, whole=part.whole | places
        )
        part.whole |= places
        return part

    def _too_large(self, file: CassetteFile, size: int) -> None:
        self._report(
            Problem(
                "cassette-large",
                f"{file.display} is {size / 1e6:.1f} MB (limit {self._max_bytes / 1e6:.1f} MB): split "
                "the test, record fewer repeats, or raise [capture] max_cassette_bytes",
            )
        )

    def _cannot_write(self, folder: Path, error: OSError) -> None:
        if folder in self._unwritable:
            return
        self._unwritable.add(folder)
        self._report(
            Problem(
                "cassette-unwritable",
                f"{folder} cannot be written ({error.strerror or error}), so what this run recorded there is not "
                "kept; make it writable, or replay with --llm-record=none",
            )
        )

    def form(self, item: Interaction) -> dict[str, Any]:
        """Return the canonical form of a recorded request."""
        return form_of(item, self._redactor)


def slim(item: Interaction, redactor: Redactor) -> Interaction:
    """Return a recording that may be written: one that another program made is slimmed and redacted first."""
    if not item.is_foreign:
        return item
    from pytest_llmwatch.capture.keep import adopt

    kept = adopt(item, redactor)
    kept.key = item.key
    return kept


def _count(key: Key, items: Iterable[tuple[Key, Interaction]]) -> int:
    return sum(1 for k, _ in items if k == key)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
