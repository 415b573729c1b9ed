"""Which notice goes where, and when: filters, ``for``, ``consecutive``, cool-down, recovery, quiet hours. Pure."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from pytest_llmwatch.alerts.memory import Memory, Message, Seen
from pytest_llmwatch.alerts.notice import Notice, names, of_verdict
from pytest_llmwatch.budget_types import Alert, Condition
from pytest_llmwatch.model import Verdict

MOST_MESSAGES = 20
"""Messages to one channel in one step; what is over them is told in one more."""

_OPERATORS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}


@dataclass(frozen=True, slots=True)
class Step:
    """One build, or one window of records, seen at ``time`` (seconds since 1970).

    ``whole`` is False for a run that was cut off or could not be judged: its silence proves nothing. ``over`` says
    of incidents that ended how they did, by key.
    """

    time: float
    run: str
    notices: tuple[Notice, ...]
    verdicts: tuple[Verdict, ...] = ()
    link: str | None = None
    whole: bool = True
    over: Mapping[str, str] = field(default_factory=dict)


def holds(condition: Condition, verdict: Verdict) -> bool:
    """Whether ``verdict`` observed what ``condition`` is about; False where nothing was measured."""
    if verdict.rule != condition.rule or verdict.observed is None:
        return False
    threshold = condition.threshold
    if condition.of_limit:
        if verdict.limit is None:
            return False
        threshold *= verdict.limit
    return bool(_OPERATORS[condition.operator](verdict.observed, threshold))


def matches(alert: Alert, notice: Notice) -> bool:
    """Whether ``notice`` passes every filter of ``alert``; an empty filter lets all through."""
    return (
        (not alert.severity or notice.severity in alert.severity)
        and _any(alert.rules, notice.rules)
        and (not alert.layers or bool(set(alert.layers) & set(notice.layers)))
        and _any(tuple(c.lower() for c in alert.categories), sorted(names(notice.category)))
        and _any(alert.scopes, notice.scopes)
    )


def route(alerts: Sequence[Alert], step: Step, memory: Memory, now: float) -> list[Message]:
    """Return the messages that ``step`` calls for, and bring ``memory`` up to date.

    Args:
        alerts: The rules, in file order; of two that name one channel the first sends.
        step: What was found.
        memory: Changed in place.
        now: The time at which messages would go out, for quiet hours.
    """
    conditioned = [(a, n) for a in alerts if a.condition for n in _conditions(a, step)]
    notices = (*step.notices, *(n for _, n in conditioned))
    fresh = {n.key for n in notices if _note(memory, n, step)}
    out: dict[tuple[str, str], Message] = {}
    for alert in alerts:
        own = [n for a, n in conditioned if a is alert] if alert.condition else step.notices
        for notice in own:
            if notice.key in fresh and (alert.condition is not None or matches(alert, notice)):
                _open(alert, notice, step, memory, now, out)
    messages = _bounded(list(out.values()), step)
    return messages + _recovered(alerts, step, {n.key for n in notices}, memory, now)


def _any(patterns: Sequence[str], names: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name, p) for name in names for p in patterns)


def _conditions(alert: Alert, step: Step) -> list[Notice]:
    condition = alert.condition
    if condition is None:
        return []
    level = alert.severity[0] if alert.severity else "SEV3"
    return [
        of_verdict(v, step.link, key=f"when:{alert.when}", level=level)
        for v in step.verdicts
        if holds(condition, v)
    ]


def _note(memory: Memory, notice: Notice, step: Step) -> bool:
    """Note that ``notice`` was seen; False where this step, or a later one, was looked at before."""
    seen = memory.seen.get(notice.key)
    if seen is not None and step.time <= (seen.last if seen.closed is None else max(seen.last, seen.closed)):
        return False
    if seen is None or seen.closed is not None:
        # what was sent stays: an incident that comes and goes is no reason to send without a pause
        before = seen or memory.seen.get(notice.earlier or "")
        if before is not None and before.closed is None:
            before.closed = step.time  # somebody said that it was over; what follows speaks for both
        sent = {} if before is None else dict(before.sent)
        seen = memory.seen[notice.key] = Seen(step.time, step.time, sent=sent)
    else:
        seen.streak += 1
        seen.last = step.time
    seen.rules, seen.title, seen.severity = notice.rules, notice.title, notice.severity
    return True


def _open(  # noqa: PLR0917 - one step of routing, and what it writes
    alert: Alert, notice: Notice, step: Step, memory: Memory, now: float, out: dict[tuple[str, str], Message]
) -> None:
    seen = memory.seen[notice.key]
    if alert.wait is not None and step.time - seen.first < alert.wait:
        return
    if alert.consecutive is not None and seen.streak < alert.consecutive:
        return
    told = replace(notice, since=notice.since or _iso(seen.first))
    for channel in alert.to:
        last = seen.sent.get(channel)
        if (channel, notice.key) in out or (last is not None and step.time - last < alert.cooldown):
            continue
        seen.sent[channel] = step.time
        out[channel, notice.key] = Message(
            channel, "alert", told, step.time, step.run, alert.template, _after(alert, notice.severity, now)
        )


def _recovered(alerts: Sequence[Alert], step: Step, shown: set[str], memory: Memory, now: float) -> list[Message]:
    verdicts = {v.rule: v for v in step.verdicts}
    out = []
    for key, seen in memory.seen.items():
        if key in shown or seen.closed is not None or step.time <= seen.last or not step.whole:
            continue
        if key not in step.over and not _clean(key, seen, verdicts):
            continue
        first, seen.closed, seen.streak = seen.first, step.time, 0
        told = Notice(
            key, seen.severity, "", (), seen.title,
            step.over.get(key) or f"clean again; it was seen since {_iso(first)}",
            rules=seen.rules, link=step.link, since=_iso(first), incident=_incident(key),
        )  # fmt: skip
        for channel, last in seen.sent.items():
            alert = next((a for a in alerts if channel in a.to), None)
            if alert is not None and alert.recovery and last >= first:
                out.append(
                    Message(
                        channel, "recovery", told, step.time, step.run, None, _after(alert, seen.severity, now)
                    )
                )
    return out


def _incident(key: str) -> str | None:
    kind, _, name = key.partition(":")
    return name if kind == "incident" else None


def _clean(key: str, seen: Seen, verdicts: Mapping[str, Verdict]) -> bool:
    """Whether every rule that was broken was measured again and passes; a condition only has to hold no more."""
    found = [verdicts[rule] for rule in seen.rules if rule in verdicts]
    if key.startswith("when:"):
        return any(v.observed is not None for v in found)
    return bool(found) and all(v.verdict == "pass" for v in found)


def _bounded(messages: list[Message], step: Step) -> list[Message]:
    out: list[Message] = []
    for channel in dict.fromkeys(m.channel for m in messages):
        own = sorted(
            (m for m in messages if m.channel == channel), key=lambda m: (m.notice.severity, m.notice.key)
        )
        out += own[:MOST_MESSAGES]
        rest = own[MOST_MESSAGES:]
        if rest:
            first = rest[0].notice
            title = f"and {len(rest):,} more incidents"
            digest = Notice(
                f"digest:{step.run}", first.severity, "several", (), title,
                "; ".join(m.notice.title for m in rest[:10]), link=step.link,
            )  # fmt: skip
            out.append(replace(rest[0], kind="digest", notice=digest, template=None, more=len(rest)))
    return out


def _after(alert: Alert, severity: str, now: float) -> float:
    """Return when a message may go out: at once, or where it is quiet and no SEV1, when that is over."""
    if alert.quiet_hours is None or severity == "SEV1":
        return 0.0
    start, end = alert.quiet_hours
    at = datetime.fromtimestamp(now, UTC)
    minute = at.hour * 60 + at.minute
    quiet = start <= minute < end if start <= end else minute >= start or minute < end
    if not quiet:
        return 0.0
    return now - at.second + ((end - minute) % 1440) * 60


def _iso(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
