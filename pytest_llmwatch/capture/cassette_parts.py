"""Part files: what each xdist worker recorded, until it is merged into the cassettes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections import defaultdict
from pathlib import Path

from pytest_llmwatch.capture import fingerprint as fp
from pytest_llmwatch.capture.cassette_file import CassetteFile, Key, merged
from pytest_llmwatch.capture.cassette_item import Interaction
from pytest_llmwatch.capture.cassette_lock import locked
from pytest_llmwatch.errors import CassetteError
from pytest_llmwatch.redact import Redactor

PART = ".part-"


def part_path(path: Path, worker: str, run: str = "") -> Path:
    """Return where a worker records what belongs to ``path``; with ``run``, a name that no other process takes."""
    name = re.sub(r"[^A-Za-z0-9]", "-", worker)
    if run:
        name += f"_{_short(run)}_{os.getpid()}"
    return path.with_name(f"{path.name}{PART}{name}")


def parts_in(folder: Path) -> dict[Path, list[Path]]:
    """Return the part files directly in ``folder`` by the cassette that they belong to."""
    found: dict[Path, list[Path]] = defaultdict(list)
    try:
        names = os.listdir(folder)
    except OSError:
        return {}
    for name in names:
        base, mark, _ = name.partition(PART)
        if mark and base.endswith((".yaml", ".yml")):
            found[folder / base].append(folder / name)
    return found


def merge_parts(folder: Path, run: str = "") -> list[Path]:
    """Merge the worker part files below ``folder`` into their cassettes, atomically; return those cassettes.

    A part is removed only after its cassette is saved, so a run that was killed loses nothing: call this when a
    session ends, and when the next one starts. Parts of another run that is still alive are left to it.

    Args:
        folder: Where to look, with all folders below.
        run: The run that ends here, whose own parts are merged whoever is alive.

    Raises:
        CassetteError: A cassette is corrupt. (A part that was cut off is dropped: workers write atomically.)
    """
    done = []
    for root, _, _ in os.walk(folder):
        done += merge_folder(Path(root), run)
    return sorted(done)


def merge_folder(folder: Path, run: str = "", *, orphans: bool = False) -> list[Path]:
    """Merge the part files directly in ``folder``; see `merge_parts`.

    With ``orphans``, only those whose process is known to be gone.
    """
    if not any(_free(p, run, orphans) for parts in parts_in(folder).values() for p in parts):
        return []
    done = []
    with locked(folder):
        for path, parts in sorted(parts_in(folder).items()):
            mine = sorted(p for p in parts if _free(p, run, orphans))
            if mine:
                _merge(path, mine)
                done.append(path)
            for part in mine:
                with contextlib.suppress(FileNotFoundError):
                    part.unlink()
    return done


def _short(run: str) -> str:
    return hashlib.sha256(run.encode()).hexdigest()[:8]


def _free(part: Path, run: str, orphans: bool) -> bool:
    """Whether nobody writes to a part any more: it is of the run that ends, or its process is gone."""
    marks = part.name.partition(PART)[2].split("_")
    if len(marks) != 3:
        return not orphans
    return (bool(run) and marks[1] == _short(run)) or not _alive(marks[2])


def _alive(pid: str) -> bool:
    if not pid.isdigit() or os.name == "nt":  # there, the signal 0 would end the process
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _merge(path: Path, parts: list[Path]) -> None:
    redactor = Redactor()
    file = CassetteFile(path, path.name, redactor)
    best: dict[Key, list[Interaction]] = {}
    replaces = False
    whole: set[tuple[int, int]] = set()
    for part in parts:
        try:
            content = CassetteFile(part, part.name, redactor)
        except CassetteError:
            continue
        replaces = replaces or content.replaces
        whole |= content.whole
        groups: dict[Key, list[Interaction]] = defaultdict(list)
        for item in content.interactions:
            groups[keyed(item, redactor)[0]].append(item)
        for key, items in groups.items():
            # a session fixture runs in every worker and records the same calls in each: keep one worker's
            if len(items) > len(best.get(key, ())):
                best[key] = items
    new = [(key, item) for key, items in best.items() for item in items]
    if new or whole:
        old = [keyed(item, redactor) for item in file.interactions]
        file.save(merged(old, new, replace=replaces, whole=whole))


def keyed(item: Interaction, redactor: Redactor) -> tuple[Key, Interaction]:
    """Return a recording with its repeat, attempt and fingerprint."""
    if item.key is None:
        item.key = fp.fingerprint(form_of(item, redactor))
    return (*item.place, item.key), item


def form_of(item: Interaction, redactor: Redactor) -> dict[str, object]:
    """Return the canonical form of a recorded request."""
    request = item.request
    return fp.canonical(request.method, request.uri, item.request_body, item.content_type, redactor)
