"""Options and ini values of one run, checked before anything is paid for."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

DEFAULT_REPORT = "llmwatch-report"
DEFAULT_CONCURRENCY = 4
GATE_EXIT = 7
"""Exit code where nothing failed on quality, but the gate could not do its work."""
AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line and the ini file ask for. Paths are absolute; None means not asked for."""

    rootdir: Path
    budget: Path | None
    budget_display: str | None
    record: str
    record_asked: bool
    report: Path
    report_asked: bool
    gate: str
    max_cost: float | None
    repeats: int | None
    auto: bool
    """Whether repeats come in rounds, as many as it takes (``--llm-repeats=auto``); then ``repeats`` is None."""
    concurrency: int | None
    rpm: int | None
    store: str | None
    baseline: str | None
    shard: str | None
    variant: str | None
    alerts: str | None
    """``on``, ``off`` or ``dry``; None for what is usual where the run is."""
    golden_paths: tuple[Path, ...]
    golden_collect: bool
    worker: str | None
    workers: int
    """How many workers share the run; 0 without xdist."""

    @property
    def ahead(self) -> int:
        """Golden cases that one process asks at a time; a worker knows two of its tests, no more."""
        wanted = DEFAULT_CONCURRENCY if self.concurrency is None else self.concurrency
        return wanted if self.workers < 1 else min(2, max(1, math.ceil(wanted / self.workers)))


def read(config: pytest.Config) -> Settings:
    """Read the settings from ``config``.

    Raises:
        pytest.UsageError: A value is wrong.
    """
    root = config.rootpath
    budget = config.getoption("llm_budget") or config.getini("llm_budget") or None
    base = Path.cwd() if config.getoption("llm_budget") else root
    record = config.getoption("llm_record") or config.getini("llm_record") or None
    if record is not None and record not in ("none", "once", "new", "all", "off"):
        raise pytest.UsageError(f"llm_record must be none, once, new, all or off (got {record!r})")
    report = config.getoption("llm_report") or config.getini("llm_report") or None
    worker_input = getattr(config, "workerinput", None)
    golden = tuple(config.getini("llm_golden_paths")) or (root / "golden_sets",)
    auto = config.getoption("llm_repeats") == AUTO
    shard = _shard(config.getoption("llm_shard") or os.environ.get("LLMWATCH_SHARD"))
    if auto:
        _check_auto(config, shard)
    return Settings(
        rootdir=root,
        budget=(base / budget).resolve() if budget else None,
        budget_display=str(budget) if budget else None,
        record=record or ("none" if os.environ.get("CI") else "once"),
        record_asked=record is not None,
        report=(root / (report or DEFAULT_REPORT)).resolve(),
        report_asked=report is not None,
        gate=config.getoption("llm_gate"),
        max_cost=_number(config, "llm_max_cost", low=0.0),
        repeats=None if auto else _whole(config, "llm_repeats", or_else="auto"),
        auto=auto,
        concurrency=_whole(config, "llm_concurrency"),
        rpm=_whole(config, "llm_rpm"),
        store=config.getoption("llm_store") or config.getini("llm_store") or None,
        shard=shard,
        baseline=config.getoption("llm_baseline") or config.getini("llm_baseline") or None,
        variant=config.getoption("llm_variant"),
        alerts=config.getoption("llm_alerts"),
        golden_paths=golden,
        golden_collect=bool(config.getini("llm_golden_collect")),
        worker=worker_input["workerid"] if worker_input else None,
        workers=_workers(config, worker_input),
    )


def _shard(text: str | None) -> str | None:
    if not text:
        return None
    from pytest_llmwatch.store.merge import parse_shard

    try:
        return parse_shard(text)
    except ValueError as error:
        raise pytest.UsageError(f"--llm-shard {error}") from None


def _check_auto(config: pytest.Config, shard: str | None) -> None:
    dist = getattr(config.option, "dist", "no")
    if dist not in ("no", "load"):
        raise pytest.UsageError(
            f"--llm-repeats=auto runs whole rounds and needs a scheduler of its own: leave --dist={dist} out"
        )
    if shard:
        raise pytest.UsageError(
            f"--llm-repeats=auto cannot decide on shard {shard}, which sees a part of the cases; give a number, "
            "as --llm-repeats=3"
        )


def _workers(config: pytest.Config, worker_input: Any) -> int:
    if worker_input:
        return int(worker_input.get("workercount", 1))
    if getattr(config.option, "dist", "no") == "no":
        return 0
    return len(getattr(config.option, "tx", None) or ())


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _whole(config: pytest.Config, name: str, *, or_else: str | None = None) -> int | None:
    value = config.getoption(name)
    if value is None:
        return None
    try:
        number = int(value)
    except ValueError:
        number = 0
    if number < 1:
        more = f" or {or_else}" if or_else else ""
        raise pytest.UsageError(f"{_flag(name)} must be a whole number >= 1{more} (got {value!r})")
    return number


def _number(config: pytest.Config, name: str, *, low: float) -> float | None:
    value = config.getoption(name)
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not low <= number < float("inf"):
        raise pytest.UsageError(f"{_flag(name)} must be a number >= {low:g} (got {value!r})")
    return number
