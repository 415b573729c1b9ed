"""Channels of alerts that extensions bring: ``to = ["plugin:NAME"]``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

PREFIX = "plugin:"

_channels: dict[str, Callable[[Mapping[str, Any]], None]] = {}


def use(channels: Mapping[str, Callable[[Mapping[str, Any]], None]]) -> None:
    """Make ``channels``, by name, those that there are."""
    _channels.clear()
    _channels.update(channels)


def send(channel: str, message: Mapping[str, Any]) -> str | None:
    """Give ``message`` to ``plugin:NAME``; return why it was not sent, None where it was."""
    name = channel.removeprefix(PREFIX)
    found = _channels.get(name)
    if found is None:
        known = ", ".join(sorted(_channels)) or "none"
        return f"no extension has a channel {name!r} (known: {known}); name its module in [plugins] modules"
    found(message)
    return None
