"""Stored runs by the names that users give them, and what runs spent."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from pytest_llmwatch import measure_spent, pipeline_users
from pytest_llmwatch.budget_types import Budget, Scope
from pytest_llmwatch.errors import RecordsError
from pytest_llmwatch.model import Report, Run
from pytest_llmwatch.store.base import Store, is_url, open_store, split_ref

DEFAULT = ".llmwatch"
VARIABLE = "LLMWATCH_STORE"
"""Environment variable that names the store where no option does: a CI job sets it once."""


def default_store() -> str:
    """Return the store that commands look into: from the environment, else ``.llmwatch``."""
    return os.environ.get(VARIABLE) or DEFAULT


def chosen(option: str | None, budget: str | None) -> str | None:
    """Return the store to keep runs in: the option, the environment, ``[store] url``; None for none."""
    return option or os.environ.get(VARIABLE) or budget


def key_folder(store: str | Path) -> Path:
    """Return where the key of a store is kept that hashes users: beside its runs, or in ``.llmwatch``."""
    return Path(DEFAULT) if is_url(str(store)) else Path(store)


def find(ref: str, store: str | Path) -> tuple[Store | None, str]:
    """Return where a run is and its name there: the store is None where ``ref`` is a folder or a run.json.

    Args:
        ref: ``latest``, a run id or its beginning, ``STORE#RUN``, a store (its newest run), a folder, a run.json.
        store: Where to look for ids.

    Raises:
        LlmwatchError: There is no such run, or its store cannot be used.
    """
    name, run = split_ref(ref)
    if name is None:
        path = Path(ref)
        if path.name == "run.json" or path.is_dir():
            return None, ref
    opened = open_store(name if name is not None else store, Path())
    return opened, opened.find(run)


def load(ref: str, store: str | Path) -> Run:
    """Return the stored run that ``ref`` names, see `find`."""
    from pytest_llmwatch.store import files

    place, name = find(ref, store)
    if place is not None:
        return place.load(name)
    return files.load_run(files.resolve(ref, Path(DEFAULT)), display=ref)


def run_json(ref: str, store: str | Path) -> Mapping[str, Any]:
    """Return run.json of the stored run that ``ref`` names, see `find`."""
    from pytest_llmwatch.store import files

    place, name = find(ref, store)
    return place.run_json(name) if place is not None else files.read_run_json(files.resolve(ref, Path(DEFAULT)))


def names_run(ref: str, store: str | Path) -> bool:
    """Whether ``ref`` is a run of a store, by any of its names."""
    try:
        find(ref, store)
    except RecordsError:
        return False
    return True


def check(url: str | None, root: Path) -> None:
    """Open the store before anything is paid for; nothing without one.

    Raises:
        UsageError: It is none that can be used.
        InfrastructureError: It cannot be reached.
    """
    if url is not None:
        open_store(url, root).check()


def keep(report: Report, url: str, root: Path) -> str | None:
    """Keep a whole run in the store ``url``; of a partial run only what it spent. Return its name, or None.

    Of a run that was merged from others, what those did not note themselves counts as spent.

    Raises:
        UsageError: The store is none that can be used.
        InfrastructureError: It cannot be reached.
    """
    from pytest_llmwatch.records import to_records
    from pytest_llmwatch.report import run_json as rendered
    from pytest_llmwatch.store.merge import leaves_of

    store, run = open_store(url, root), report.run
    live = (c for c in run.calls if c.capture_mode != "replayed" and not c.judging)
    usd = sum(c.cost.usd or 0.0 for c in live) + _beside(run)
    by = measure_spent.joined(measure_spent.facets(run), _told(run).get("by") or {})
    leaves = leaves_of(run.run_id, run.environment)
    if leaves != [run.run_id]:
        usd = max(0.0, usd - store.noted(leaves))
        parts = (e.by for e in store.expenses(run.time[:7]) if e.run in leaves)
        by = measure_spent.less(by, (part for part in parts if part is not None))
    store.note_spent(run.run_id, run.time, usd, by)
    if run.partial:
        return None
    return store.keep(rendered.render(report), to_records(run), run.spans)


def _beside(run: Run) -> float:
    """Return what a concurrent baseline cost, whose calls are not the run's own."""
    usd = _told(run).get("usd")
    return float(usd) if isinstance(usd, int | float) else 0.0


def _told(run: Run) -> Mapping[str, Any]:
    told = run.environment.get("concurrent")
    return told if isinstance(told, Mapping) else {}


def spent(
    url: str | None,
    root: Path,
    *,
    now: datetime.datetime | None = None,
    run: Run | None = None,
    scopes: Collection[Scope] = (),
) -> dict[str, float] | None:
    """Return US dollars spent live today and this month by the runs in the store, None without a store.

    Args:
        url: The store.
        root: What a relative path is relative to.
        now: The time, UTC.
        run: The run that is judged; what it and the jobs that it was merged from noted is left out.
        scopes: Slices whose sums are wanted too, as ``feature:x.day`` and ``feature:x.month``; one that a run did
            not tell apart is not there.
    """
    if url is None:
        return None
    from pytest_llmwatch.store.merge import leaves_of

    now = now or datetime.datetime.now(datetime.UTC)
    own = [run.run_id, *leaves_of(run.run_id, run.environment)] if run is not None else []
    store, day = open_store(url, root), now.strftime("%Y-%m-%d")
    out = store.spent(day, own)
    return out | measure_spent.of_scopes(store.expenses(day[:7]), scopes, day, own) if scopes else out


def scopes_of(budget: Budget, hash_user: Callable[[str], str]) -> list[Scope]:
    """Return the slices of which a budget limits a day's or month's sum; ``hash_user`` as in `pipeline.judge`."""
    known = pipeline_users.with_hashed_users(budget, hash_user)
    sums = ("day_usd", "month_usd")
    return list(dict.fromkeys(x.scope for x in known.limits if x.key in sums and x.scope is not None))
