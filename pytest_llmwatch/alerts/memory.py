"""What was seen and sent, as it is kept in the store between builds."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pytest_llmwatch.alerts.notice import Figure, Notice

NAME = "alerts"
VERSION = 1
MOST_KEYS = 10_000
MOST_WAITING = 1_000


@dataclass(slots=True)
class Seen:
    """One cause: since when it shows, for how many builds or windows in a row, and what was sent where.

    Times are seconds since 1970. ``sent`` maps ``channel`` to the time of the last message on that channel while
    it is open. ``closed`` is when it was over, None while it lasts.
    """

    first: float
    last: float
    streak: int = 1
    closed: float | None = None
    sent: dict[str, float] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    title: str = ""
    severity: str = "SEV3"


@dataclass(slots=True)
class Message:
    """What is to be sent to one channel. ``kind`` is ``alert``, ``recovery`` or ``digest``.

    ``after`` is the time before which it is not sent (quiet hours, or another process is at it); ``tries`` counts
    deliveries that failed, and ``error`` says why the last one did.
    """

    channel: str
    kind: str
    notice: Notice
    time: float
    run: str
    template: str | None = None
    after: float = 0.0
    tries: int = 0
    error: str | None = None
    more: int = 0

    @property
    def id(self) -> tuple[str, str, str, float]:
        """What makes it one message: channel, cause, kind and time."""
        return self.channel, self.notice.key, self.kind, self.time


@dataclass(slots=True)
class Memory:
    """All of it: causes by key, and messages that are not delivered yet."""

    seen: dict[str, Seen] = field(default_factory=dict)
    waiting: list[Message] = field(default_factory=list)
    dropped: int = 0

    @classmethod
    def read(cls, text: str | None) -> Memory:
        """Return the memory in ``text``; what cannot be read is forgotten, so at worst a message comes twice."""
        try:
            data = json.loads(text or "{}")
            if data.get("version", VERSION) != VERSION:
                return cls()
            return cls(
                {k: Seen(**{**v, "rules": tuple(v.get("rules", ()))}) for k, v in data.get("seen", {}).items()},
                [_message(m) for m in data.get("waiting", [])],
                int(data.get("dropped", 0)),
            )
        except (ValueError, TypeError, AttributeError, KeyError):
            return cls()

    def text(self) -> str:
        """Return it as JSON, bounded: of too many closed causes and waiting messages the oldest go."""
        if len(self.seen) > MOST_KEYS:
            keep = sorted(self.seen, key=lambda k: (self.seen[k].closed is None, self.seen[k].last))[-MOST_KEYS:]
            self.seen = {k: self.seen[k] for k in keep}
        over = len(self.waiting) - MOST_WAITING
        if over > 0:
            self.dropped += over
            self.waiting = sorted(self.waiting, key=lambda m: (m.notice.severity, -m.time))[:MOST_WAITING]
        data = {
            "version": VERSION,
            "dropped": self.dropped,
            "seen": {k: asdict(v) for k, v in sorted(self.seen.items())},
            "waiting": [asdict(m) for m in self.waiting],
        }
        return json.dumps(data, ensure_ascii=False, indent=1) + "\n"


def _message(data: dict[str, Any]) -> Message:
    given = dict(data["notice"])
    given["figures"] = tuple(Figure(**f) for f in given.get("figures", ()))
    for key in ("layers", "rules", "scopes"):
        given[key] = tuple(given.get(key, ()))
    return replace(Message(**{**data, "notice": Notice(**given)}))
