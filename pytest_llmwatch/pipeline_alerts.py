"""Alerts after the gate: route what was found, send it, and keep what could not be sent for the next run.

Nothing here changes a verdict or an exit code: what goes wrong becomes a note.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pytest_llmwatch import format as fmt
from pytest_llmwatch import pipeline_own
from pytest_llmwatch.alerts import channels, message, notice, route
from pytest_llmwatch.alerts.memory import NAME, Memory, Message
from pytest_llmwatch.budget import Budget
from pytest_llmwatch.errors import LlmwatchError
from pytest_llmwatch.model import Report
from pytest_llmwatch.store.state import States, open_states

MODES = ("on", "off", "dry")
LEASE_SECONDS = 120.0
"""How long a message counts as being sent; a process that was killed leaves it to the next run."""
MOST_TRIES = 50
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the messages: how many were sent, and lines for people."""

    sent: int = 0
    waiting: int = 0
    notes: tuple[str, ...] = ()


def default_mode(environment: Mapping[str, str] = os.environ) -> str:
    """Return ``on`` in CI and ``dry`` elsewhere: nobody is paged by a run at a desk."""
    return "on" if environment.get("CI") else "dry"


def link_of(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return where the report can be read: ``LLMWATCH_REPORT_URL``, else the page of the CI job, else None."""
    if given := environment.get("LLMWATCH_REPORT_URL"):
        return given
    server, repo, run = (environment.get(f"GITHUB_{n}") for n in ("SERVER_URL", "REPOSITORY", "RUN_ID"))
    if server and repo and run:
        return f"{server}/{repo}/actions/runs/{run}"
    return environment.get("CI_JOB_URL") or environment.get("BUILD_URL")


def step_of(report: Report, budget: Budget, *, at: float | None = None, run: str | None = None) -> route.Step:
    """Return what routing takes of a report, at its run's own time, so that a second look sends nothing twice."""
    link = link_of()
    return route.Step(
        at if at is not None else _seconds(report.run.time),
        run or report.run.run_id,
        notice.notices(report, budget.runbooks, link),
        report.verdicts,
        link,
        whole=not report.run.partial and report.verdict != "error",
        over=notice.over(report),
    )


def send_report(
    report: Report,
    budget: Budget,
    store: str | Path,
    root: Path,
    *,
    mode: str,
    seconds: float = channels.TOTAL_SECONDS,
) -> Outcome:
    """Send what a judged run calls for; see `send`."""
    try:
        step = step_of(report, budget)
    except Exception as error:  # an alert never breaks the build that it is about
        return Outcome(notes=(_unsent(error),))
    return send([step], budget, store, root, mode=mode, seconds=seconds)


def _unsent(error: Exception) -> str:
    said = str(error) if isinstance(error, LlmwatchError | OSError) else f"{type(error).__name__}: {error}"
    return f"alerts were not sent: {' '.join(said.split())[:300]}"


def send(
    steps: Iterable[route.Step],
    budget: Budget,
    store: str | Path,
    root: Path,
    *,
    mode: str,
    environment: Mapping[str, str] = os.environ,
    now: float | None = None,
    seconds: float = channels.TOTAL_SECONDS,
) -> Outcome:
    """Route ``steps`` in order by ``budget.alerts`` and send what is due, with what earlier runs left.

    Args:
        steps: Builds or windows, oldest first.
        budget: Its ``[[alert]]`` rules.
        store: Where what was sent is kept: a folder or a URL.
        root: What a relative folder is relative to.
        mode: ``on``, ``off``, or ``dry``: say what would be sent, send and keep nothing.
        environment: Where channels have their addresses.
        now: The time, seconds since 1970.
        seconds: How long all channels together may take.

    Returns:
        What became of it; failures are notes, never errors.
    """
    if mode == "off" or not budget.alerts:
        return Outcome()
    now = time.time() if now is None else now
    steps = tuple(steps)
    try:
        if mode == "dry":
            return _dry(steps, budget, now)
        states = open_states(store, root)
        due = _claim(states, steps, budget, now)
        results = channels.deliver(due, environment, seconds=seconds, own=pipeline_own.channels())
        waiting = _settle(states, results, now)
    except Exception as error:  # nor does what is wrong in a channel, a memory or a text
        return Outcome(notes=(_unsent(error),))
    return Outcome(sum(r.error is None for r in results), waiting, _told(results))


def _dry(steps: Sequence[route.Step], budget: Budget, now: float) -> Outcome:
    memory = Memory()
    found = [m for step in steps for m in route.route(budget.alerts, step, memory, now)]
    lines = [f"would be sent to {m.channel}: {message.title(m)}" for m in found[:_SHOWN]]
    if len(found) > _SHOWN:
        lines.append(f"and {len(found) - _SHOWN} more")
    return Outcome(notes=tuple(f"alert (dry run) {line}" for line in lines))


def _claim(states: States, steps: Sequence[route.Step], budget: Budget, now: float) -> list[Message]:
    """Note what is about to be sent before it is: of two jobs that look at one incident, one sends."""
    due: list[Message] = []

    def change(text: str | None) -> str:
        due.clear()
        memory = Memory.read(text)
        for step in steps:
            memory.waiting += route.route(budget.alerts, step, memory, now)
        for waiting in memory.waiting:
            if waiting.after <= now:
                waiting.after = now + LEASE_SECONDS
                due.append(waiting)
        return memory.text()

    states.update(NAME, change)
    return due


def _settle(states: States, results: Sequence[channels.Sent], now: float) -> int:
    """Forget what was delivered, keep what was not; return how many messages wait."""
    by_id = {r.message.id: r for r in results}
    count = 0

    def change(text: str | None) -> str:
        nonlocal count
        memory = Memory.read(text)
        kept = []
        for waiting in memory.waiting:
            result = by_id.get(waiting.id)
            if result is not None:
                waiting.tries, waiting.error, waiting.after = waiting.tries + 1, result.error, now
                if result.error is None or waiting.tries >= MOST_TRIES:
                    continue
            kept.append(waiting)
        memory.waiting, count = kept, len(kept)
        return memory.text()

    states.update(NAME, change)
    return count


def _told(results: Sequence[channels.Sent]) -> tuple[str, ...]:
    lines = []
    for channel in dict.fromkeys(r.message.channel for r in results):
        own = [r for r in results if r.message.channel == channel]
        failed = [r for r in own if r.error is not None]
        if len(own) > len(failed):
            lines.append(f"alerts: {fmt.plural(len(own) - len(failed), 'message')} sent to {channel}")
        if failed:
            last = any(r.message.tries + 1 >= MOST_TRIES for r in failed)
            ahead = "given up" if last else "kept, and tried again in the next run"
            lines.append(
                f"alerts: {fmt.plural(len(failed), 'message')} not delivered to {channel}: {failed[0].error}; "
                f"{ahead} [llmwatch:alert-delivery]"
            )
    return tuple(lines)


def _seconds(text: str) -> float:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return time.time()
