"""What is wrong with stored cassettes, and what no test uses any more."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_llmwatch.capture.answer import read_response
from pytest_llmwatch.capture.cassette_book import Book
from pytest_llmwatch.capture.cassette_file import CassetteFile
from pytest_llmwatch.capture.cassette_item import Interaction
from pytest_llmwatch.capture.cassette_lock import locked
from pytest_llmwatch.capture.cassette_parts import PART, form_of
from pytest_llmwatch.capture.cassette_yaml import Serializer
from pytest_llmwatch.capture.scan import leftover
from pytest_llmwatch.errors import CassetteError, UsageError
from pytest_llmwatch.golden import cassette_path, load_set, recorded_as
from pytest_llmwatch.model import SCHEMA_VERSION
from pytest_llmwatch.redact import Redactor

ERRORS = frozenset({"unreadable", "secret"})
"""Kinds of findings that must be mended; the others are for a decision."""
_ENDINGS = (".yaml", ".yml", ".json")
_SKIPPED = frozenset({"node_modules", "__pycache__", "site-packages", "venv", "build", "dist"})


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a cassette.

    Args:
        path: The file.
        kind: ``unreadable secret personal large no-times dead duplicate old-schema leftover orphan unused``.
        message: What, in one line.
        names: Recordings meant, as `Book.name` has them; empty = the whole file.
    """

    path: Path
    kind: str
    message: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """Which recordings a run used; see ``pipeline_cassettes.write_uses``.

    Args:
        run_id: Of the run.
        partial: Why it says nothing of what it did not use, None where it was whole.
        files: By path: ``sha256``, ``complete``, ``played``.
    """

    run_id: str
    partial: str | None
    files: Mapping[Path, Mapping[str, Any]] = field(default_factory=dict)


def digest(path: Path) -> str | None:
    """Return the SHA-256 of a file as hexadecimal digits, None if there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def find(paths: Iterable[Path]) -> list[Path]:
    """Return the cassettes and part files below ``paths``: what lies in a folder ``cassettes``, and named files.

    Raises:
        UsageError: A path does not exist.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_file():
            found[path] = None
        elif path.is_dir():
            found.update(dict.fromkeys(_below(path)))
        else:
            raise CassetteError(
                "does not exist; name a folder or a cassette", slug="cassettes-path", file=str(path)
            )
    return list(found)


def _below(folder: Path) -> Iterator[Path]:
    inside = "cassettes" in folder.resolve().parts
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if f not in _SKIPPED and not f.startswith("."))
        here = Path(root)
        if inside or "cassettes" in here.relative_to(folder).parts:
            for name in sorted(names):
                if name.endswith(_ENDINGS) or PART in name:
                    yield here / name


class Checker:
    """Looks at cassettes one by one.

    Args:
        redactor: Finds secrets and personal data.
        max_bytes: Size of one file from which on it is told.
        note: What the last run used, None if there is none.
    """

    def __init__(self, redactor: Redactor, *, max_bytes: int, note: Note | None) -> None:
        self._redactor = redactor
        self._max_bytes = max_bytes
        self._note = note
        self._sets: dict[Path, frozenset[Path] | None] = {}
        self._run_folders = {p.parent for p in note.files} if note is not None and note.partial is None else set()

    def check(self, path: Path) -> list[Finding]:
        """Return what is to be said of a file."""
        if PART in path.name:
            return [
                Finding(path, "leftover", "left by a run that was killed; the next run that records merges it")
            ]
        gone = self._orphan(path)
        found = [Finding(path, "orphan", gone)] if gone else []
        try:
            file = CassetteFile(path, str(path), self._redactor)
            book = Book(file.interactions, lambda item: form_of(item, self._redactor))
            for number, item in enumerate(file.interactions, 1):
                found += self._recording(path, number, item)
        except CassetteError as error:
            return [*found, Finding(path, "unreadable", error.message)]
        if file.size > self._max_bytes:
            size = f"{file.size / 1e6:.2f} MB, the limit is {self._max_bytes / 1e6:.2f} MB"
            found.append(Finding(path, "large", size))
        found += _whole(path, book)
        if not gone and not any(i.is_foreign for i in book.items):
            # a test replays what other programs recorded from wherever it lies: that is not ours to judge
            found += self._not_opened(path) or self._unused(path, book)
        return found

    def _recording(self, path: Path, number: int, item: Interaction) -> Iterator[Finding]:
        for kind, what in sorted(self._leaks(item)):
            yield Finding(path, kind, f"recording {number} holds {what}")
        version = item.schema_version
        if version is not None and version < SCHEMA_VERSION:
            yield Finding(
                path, "old-schema", f"recording {number} has schema {version}, today's is {SCHEMA_VERSION}"
            )

    def _leaks(self, item: Interaction) -> set[tuple[str, str]]:
        response = item.response
        headers = {str(k): v for k, v in response["headers"].items()}
        content_type = next((str(v) for k, v in headers.items() if k.lower() == "content-type"), "")
        answer = read_response(response["status"]["code"], content_type, item.body, {})
        texts = [item.request.uri, *_lines(item.request.headers), *_lines(headers)]
        texts += [item.request_body.decode("utf-8", "replace"), item.body.decode("utf-8", "replace")]
        # what a stream cut into pieces, put together again
        texts += [answer.output or "", *(t.arguments for t in answer.tool_calls)]
        found = {f.kind for text in texts for f in self._redactor.find(text) if f.personal or f.custom}
        leaks = {("personal", kind) for kind in found}
        secret = leftover(item, item.text(Serializer("")), self._redactor)
        if secret is not None:
            leaks.add(("secret", f"a secret ({secret.kind}) in its {secret.place}"))
        for name in item.request.headers:
            if name.lower() in ("authorization", "api-key", "x-api-key", "cookie", "x-goog-api-key"):
                leaks.add(("secret", f"the request header {name.lower()}"))
        return leaks

    def _orphan(self, path: Path) -> str | None:
        """Return why no test can use a file any more, None where one may."""
        place = path.parent
        owner = place.parent if place.name == "cassettes" else place.parent.parent
        if (owner / "set.yaml").is_file():
            expected = self._expected(owner / "set.yaml")
            if expected is not None and path.resolve() not in expected:
                return f"no case of {owner.name}/set.yaml has it"
        elif place.name != "cassettes" and place.parent.name == "cassettes":
            if not (owner / f"{place.name}.py").is_file():
                return f"{place.name}.py is gone"
            name = path.stem.partition(".")[2].partition("-")[0]
            source = (owner / f"{place.name}.py").read_text(encoding="utf-8", errors="replace")
            if path.stem.startswith("fixture.") and name.isidentifier() and name not in source.lower():
                return f"{place.name}.py has no fixture {name}"
        return None

    def _not_opened(self, path: Path) -> list[Finding]:
        note, place = self._note, path.resolve()
        fixture = path.stem.startswith("fixture.")  # one that no test asks for today may be asked for tomorrow
        if note is None or fixture or place in note.files or place.parent not in self._run_folders:
            return []
        return [Finding(path, "orphan", f"no test of run {note.run_id} opened it")]

    def _expected(self, file: Path) -> frozenset[Path] | None:
        if file not in self._sets:
            try:
                golden = load_set(file)
            except UsageError:
                self._sets[file] = None  # `llmwatch golden check` says what is wrong with it
            else:
                cases = [self._redactor.record(case) for case in golden.cases]
                paths = {cassette_path(golden, case, v).resolve() for case in cases for v in recorded_as(golden)}
                self._sets[file] = frozenset(paths)
        return self._sets[file]

    def _unused(self, path: Path, book: Book) -> list[Finding]:
        note = self._note
        use = note.files.get(path.resolve()) if note is not None else None
        if note is None or note.partial is not None or use is None:
            return []
        if not use["complete"] or use["sha256"] != digest(path):
            return []  # a test that failed did not ask all; a file that changed since is another file
        names = tuple(n for n in map(book.name, book.items) if n not in use["played"])
        if not names:
            return []
        return [Finding(path, "unused", f"{_count(len(names))} not used by run {note.run_id}", names)]


def remove(finding: Finding, redactor: Redactor) -> None:
    """Remove what an ``orphan`` or ``unused`` finding names, atomically.

    Raises:
        CassetteError: The file cannot be read any more.
    """
    path = finding.path
    with locked(path.parent):
        if finding.names:
            file = CassetteFile(path, str(path), redactor)
            book = Book(file.interactions, lambda item: form_of(item, redactor))
            file.save([item for item in book.items if book.name(item) not in finding.names])
        else:
            path.unlink(missing_ok=True)


def _whole(path: Path, book: Book) -> Iterator[Finding]:
    items = book.items
    foreign = sum(1 for i in items if i.is_foreign)
    if foreign:
        yield Finding(path, "no-times", f"{_count(foreign)} without times: latency is not measured in a replay")
    dead = sum(1 for i in items if i.is_dead)
    if dead:
        yield Finding(path, "dead", f"{_count(dead)} of an endpoint that was down, or that refused key or model")
    twice = sum(1 for n, a in enumerate(items) if any(a.same(b) for b in items[:n] if a.key == b.key))
    if twice:
        yield Finding(path, "duplicate", f"{_count(twice)} kept twice")


def _lines(headers: Mapping[str, Any]) -> list[str]:
    return [f"{name}: {value}" for name, value in headers.items()]


def _count(number: int) -> str:
    return f"{number} recording{'s' * (number != 1)}"
