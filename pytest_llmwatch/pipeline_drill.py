"""The drill: a recorded incident of each category goes through the whole chain, from verdict to review.

Each is two recorded runs of one small application (packed in ``incidents_data``): before the trouble, and in it.
What the chain has to show is said in the drill's ``drill.toml``; nothing is asked of a model or a network.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import io
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from pytest_llmwatch import incidents_text, pipeline, pipeline_incidents, pipeline_store
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.incidents_catalog import FOLDER, category
from pytest_llmwatch.incidents_life import clock
from pytest_llmwatch.model import Incident, Report, Run
from pytest_llmwatch.store import files

DRILLS = "drills.tar.xz"
_TIMES = ("10:00", "11:00", "11:04", "11:09", "12:00", "12:30")
"""When the good build, the bad one, the acknowledgement, the mitigation, the clean build and the review happen."""


@dataclass(frozen=True, slots=True)
class Drill:
    """What a drill showed: ``text`` for people, ``passed`` whether every step did what it should."""

    category: str
    incident: Incident | None
    checks: tuple[tuple[str, bool], ...]
    text: str

    @property
    def passed(self) -> bool:
        """Whether every step did what it should."""
        return all(ok for _, ok in self.checks)


def drill(name: str, keep: Path | None = None) -> Drill:
    """Replay the recorded incident of a category.

    Args:
        name: Id of the category.
        keep: Folder for the reports and the store, None for none.

    Raises:
        UsageError: There is no recorded incident of this category.
    """
    with _folder(keep) as folder, tempfile.TemporaryDirectory(prefix="llmwatch-recorded-") as unpacked:
        data = _unpack(Path(unpacked), name)
        if not (data / name / "drill.toml").is_file():
            raise UsageError(f"there is no recorded incident of category {name!r}", slug="incident-category")
        return _drill(name, data, folder, keep is not None)


def _unpack(target: Path, name: str) -> Path:
    """Unpack the recorded runs of one category, and what all share.

    Packed together they take a quarter of the room, since they are so alike.
    """
    packed = (resources.files("pytest_llmwatch") / FOLDER / DRILLS).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:xz") as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is None or member.name.partition("/")[0] not in (name, "before", "budget.toml"):
                continue
            path = target / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            data = content.read()
            if path.suffix == ".jsonl":
                path, data = path.with_name(f"{path.name}.gz"), gzip.compress(data, 1)
            path.write_bytes(data)
    return target


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="llmwatch-drill-") as name:
        yield Path(name)


def _first(*paths: Path) -> Path:
    """Return the first path that is there, else the last."""
    return next((path for path in paths if path.exists()), paths[-1])


def _at(place: int) -> str:
    return f"2026-01-05T{_TIMES[place]}:00.000Z"


def _drill(name: str, data: Path, folder: Path, shown: bool) -> Drill:
    plan = tomllib.loads((data / name / "drill.toml").read_text(encoding="utf-8"))
    own = data / name  # most share one application; those of a real model have their own
    setup = pipeline.load_setup(_first(own / "budget.toml", data / "budget.toml"), "budget.toml")
    good = files.load_run(_first(own / "before", data / "before"))
    bad = files.load_run(data / name / "during")
    url = str(folder / "store")
    reports: list[Report] = []
    store = pipeline_incidents.place(url, folder, folder)
    opened: Incident | None = None
    for place, (run, title) in enumerate(((good, "before"), (bad, "during"), (good, "after"))):
        when = _at((0, 1, 4)[place])
        environment = {**run.environment, "branch": "drill"}
        dated = dataclasses.replace(run, run_id=f"drill-{place}-{title}", time=when, environment=environment)
        report = _judged(dated, setup, url, folder / title)
        reports.append(report)
        if title == "during" and report.incidents:
            opened = report.incidents[0]
            for event, by, step in (("acknowledged", "on call", 2), ("mitigating", "on call", 3)):
                pipeline_incidents.take_step(store, opened.id, event, by=by, text=None, now=_at(step))
    known, _ = pipeline_incidents.known(store)
    if opened is not None and any(i.id == opened.id and i.state == "resolved" for i in known):
        pipeline_incidents.take_step(store, opened.id, "reviewed", by="team", text=None, now=_at(5))
    known, _ = pipeline_incidents.known(store)
    final = next((i for i in known if opened is not None and i.id == opened.id), None)
    checks = tuple(_checks(name, plan, reports, final))
    return Drill(name, final, checks, _text(name, plan, checks, final, folder if shown else None))


def _judged(run: Run, setup: pipeline.Setup, url: str, folder: Path) -> Report:
    report = pipeline.judge(run, setup.budget)
    report = pipeline_incidents.attach(report, setup.budget, url=url, root=folder, folder=folder, now=run.time)
    pipeline_store.keep(report, url, folder)
    pipeline.write_outputs(report, folder)
    return report


def _checks(
    name: str, plan: dict[str, Any], reports: list[Report], final: Incident | None
) -> Iterator[tuple[str, bool]]:
    before, during, after = reports
    yield "the build before opens nothing", not before.incidents
    yield f"the build in trouble is {plan['verdict']}", during.verdict == plan["verdict"]
    yield "it opens one incident", len(during.incidents) == 1
    if final is None:
        yield "the incident is in the journal", False
        return
    times = clock(final, incidents_text.at(_at(5)))
    yield f"its category is {category(name).words}", final.category == name
    yield f"its severity is {plan['severity']}", final.severity == plan["severity"]
    yield f"its rules are {', '.join(plan['rules'])}", set(final.rules) == set(plan["rules"])
    causes = " ".join(final.causes)
    yield f"a likely cause tells of {plan['cause']!r}", plan["cause"] in causes
    yield "the data answers a step of the diagnosis", any(d.get("answer") for d in final.diagnosis)
    yield "it names calls, and what to do", bool(final.worst and final.actions and final.runbook)
    yield "it was acknowledged after 4 min", times.to_acknowledge == 240
    yield "the clean build resolves it after 1 h", not after.verdicts or times.to_resolve == 3600
    yield "it ends reviewed", final.state == "reviewed"


def _text(
    name: str,
    plan: dict[str, Any],
    checks: tuple[tuple[str, bool], ...],
    final: Incident | None,
    folder: Path | None,
) -> str:
    failed = sum(not ok for _, ok in checks)
    head = f"drill {name}: {'passed' if not failed else f'{failed} of {len(checks)} checks FAILED'}"
    lines = [head, f"  {plan['story']}"]
    lines += [f"  {'✓' if ok else '✗'} {text}" for text, ok in checks]
    if final is not None:
        shown = incidents_text.show(final, incidents_text.at(_at(5)))
        lines += ["", *(f"  {row}" for row in shown.splitlines())]
    if folder is not None:
        lines += ["", f"  reports: {folder}/during/report.html, store: {folder}/store"]
    return "\n".join(lines)
