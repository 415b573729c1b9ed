"""Channels: addresses out of the environment, messages sent side by side in bounded time, failures named.

All but Alertmanager goes through ``apprise``, which is imported when the first message is due.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import threading
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

from pytest_llmwatch.alerts import message as text
from pytest_llmwatch.alerts.memory import Message

TOTAL_SECONDS = 20.0
"""How long all channels together may take."""
CALL_SECONDS = 8.0
"""How long one request to a channel may take."""
PLUGIN = "plugin:"
"""Before the name of a channel that an extension brings."""
Own = Mapping[str, Callable[[Mapping[str, Any]], None]]
_ALERTMANAGER = {"alertmanager": "http", "alertmanagers": "https"}
_KEEPS_OPEN = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a message; ``error`` is None where the channel took it."""

    message: Message
    error: str | None


def deliver(
    messages: Sequence[Message],
    environment: Mapping[str, str] = os.environ,
    *,
    seconds: float = TOTAL_SECONDS,
    own: Own | None = None,
) -> list[Sent]:
    """Send messages, the channels side by side and each in order, and say of each what became of it.

    Never raises, and returns after ``seconds`` at the latest: what is not done by then counts as not delivered.
    A channel that failed to answer is not asked again in this run. ``own`` are the channels of extensions by name,
    for ``plugin:NAME``.
    """
    by_channel: dict[str, list[Message]] = {}
    for message in messages:
        by_channel.setdefault(message.channel, []).append(message)
    done: dict[int, Sent] = {}
    until = time.monotonic() + seconds
    threads = [
        threading.Thread(
            target=_channel,
            args=(due, partial(_send, environment=environment, own=own or {}), done, until),
            daemon=True,
        )
        for due in by_channel.values()
    ]
    with warnings.catch_warnings():
        # apprise's plugins warn of what they import; where warnings are errors, that must not mute alerts
        warnings.simplefilter("ignore")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
    finished = dict(done)
    late = f"no answer within {seconds:g} s"
    return [finished.get(id(m)) or Sent(m, late) for m in messages]


def _channel(
    messages: list[Message], send: Callable[[Message], str | None], done: dict[int, Sent], until: float
) -> None:
    failed: str | None = None
    for message in messages:
        if failed is None and time.monotonic() < until:
            failed = send(message)
            done[id(message)] = Sent(message, failed)
        else:
            done[id(message)] = Sent(message, failed or "no time left")


def _send(message: Message, environment: Mapping[str, str], own: Own) -> str | None:
    """Send one message and return why it failed, None where it did not."""
    if message.channel.startswith(PLUGIN):
        return _send_own(message, own)
    variable = message.channel.removeprefix("env:")
    url = environment.get(variable, "").strip()
    if not url:
        return f"the environment variable {variable} is not set"
    try:
        scheme = url.partition("://")[0].lower()
        if scheme in _ALERTMANAGER:
            return _scrub(_alertmanager(url, scheme, message), url)
        return _scrub(_apprise(url, message), url)
    except ModuleNotFoundError as error:
        return f"needs {error.name}: pip install 'pytest-llmwatch[alerts]'"
    except Exception as error:
        return _scrub(f"{type(error).__name__}: {error}", url)


def _send_own(message: Message, own: Own) -> str | None:
    name = message.channel.removeprefix(PLUGIN)
    if name not in own:
        known = ", ".join(sorted(own)) or "none"
        return f"no extension has a channel {name!r} (known: {known}); name its module in [plugins] modules"
    try:
        own[name](fields(message))
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return None


def fields(message: Message) -> dict[str, Any]:
    """Return what a channel of an extension is given; see `hookspecs.llmwatch_alert_channels`."""
    notice = message.notice
    return {
        "title": text.title(message),
        "body": text.body(message),
        "kind": message.kind,
        "key": dedup(message),
        "severity": notice.severity,
        "category": notice.category,
        "rules": tuple(notice.rules),
        "incident": notice.incident,
        "link": notice.link,
        "runbook": notice.runbook,
        "run": message.run,
    }


def _apprise(url: str, message: Message) -> str | None:
    import apprise

    service = apprise.Apprise.instantiate(_with_options(url, message), suppress_exceptions=True)
    if service is None:
        return "the address is none that apprise understands; see docs/how-to/alerts.md"
    kind = "success" if message.kind == "recovery" else _type(message.notice.severity)
    with _complaints() as said:
        taken = service.notify(
            title=text.title(message), body=text.body(message), notify_type=apprise.NotifyType(kind)
        )
    return None if taken else "; ".join(said) or "the channel refused the message"


def _type(severity: str) -> str:
    return "failure" if severity in ("SEV1", "SEV2") else "warning"


def _with_options(url: str, message: Message) -> str:
    """Return ``url`` with short time-outs, and with what the service can use to tell incidents apart."""
    scheme = url.partition("://")[0].lower()
    more = [f"cto={CALL_SECONDS / 2:g}", f"rto={CALL_SECONDS:g}"]
    key = dedup(message)
    if scheme in ("json", "jsons", "form", "forms"):
        notice = message.notice
        fields = {
            "key": key, "kind": message.kind, "severity": notice.severity, "category": notice.category,
            "layer": ",".join(notice.layers), "scope": ",".join(notice.scopes), "rules": ",".join(notice.rules),
            "figures": json.dumps({f.rule: f.observed for f in notice.figures[: text.MOST_FIGURES]}),
            "since": notice.since or "", "link": notice.link or "", "runbook": notice.runbook or "",
            "action": notice.action or "", "run": message.run, "incident": notice.incident or "",
        }  # fmt: skip
        more += [f":{name}={quote(value, safe='')}" for name, value in fields.items() if value]
    elif scheme == "pagerduty":
        more += [f"dedup={key}", f"action={'resolve' if message.kind == 'recovery' else 'trigger'}"]
    present = {name.lower() for name in re.findall(r"[?&]([^=&]+)=", url)}
    more = [m for m in more if m.partition("=")[0] not in present]
    return f"{url}{'&' if '?' in url else '?'}{'&'.join(more)}"


def dedup(message: Message) -> str:
    """Return what names the incident to a service: the same for each message about one cause."""
    return "llmwatch-" + hashlib.sha256(message.notice.key.encode()).hexdigest()[:20]


@contextlib.contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what apprise logs in this thread; it tells reasons nowhere else."""
    said: list[str] = []
    thread = threading.get_ident()

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                said.append(" ".join(record.getMessage().split())[:300])

    logger, handler = logging.getLogger("apprise"), Keep(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)


def _alertmanager(url: str, scheme: str, message: Message) -> str | None:
    parts = urlsplit(url)
    target = f"{_ALERTMANAGER[scheme]}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}/api/v2/alerts"
    request = urllib.request.Request(  # noqa: S310 - http or https, see above
        target,
        data=json.dumps([alertmanager_alert(message)]).encode(),
        headers={"Content-Type": "application/json", **_authorization(parts.username, parts.password)},
    )
    try:
        with urllib.request.urlopen(request, timeout=CALL_SECONDS) as answer:  # noqa: S310
            answer.read(1000)
    except urllib.error.HTTPError as error:
        return f"Alertmanager answered {error.code} {error.reason}"
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        return f"Alertmanager cannot be reached ({getattr(error, 'reason', None) or error})"
    return None


def _authorization(user: str | None, password: str | None) -> dict[str, str]:
    import base64

    if user is None:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password or ''}".encode()).decode()}


def alertmanager_alert(message: Message) -> dict[str, Any]:
    """Return the alert as ``/api/v2/alerts`` takes it; labels name the cause, so a recovery ends the same one."""
    notice = message.notice
    at = datetime.fromtimestamp(message.time, UTC)
    ends = at if message.kind == "recovery" else datetime.now(UTC) + _KEEPS_OPEN
    begins = datetime.fromisoformat(notice.since) if notice.since else at
    return {
        "labels": {"alertname": "llmwatch", "incident": dedup(message), "severity": notice.severity},
        "annotations": {"summary": text.title(message), "description": text.body(message)}
        | ({"runbook": notice.runbook} if notice.runbook else {}),
        "startsAt": min(begins, ends).isoformat(),
        "endsAt": ends.isoformat(),
    } | ({"generatorURL": notice.link} if notice.link and notice.link.startswith("http") else {})


def _scrub(said: str | None, url: str) -> str | None:
    """Return a reason without any part of the address that may be secret."""
    if said is None:
        return None
    parts = urlsplit(url)
    secrets = [url, parts.netloc.rpartition("@")[0], parts.password, parts.username, *parts.path.split("/")]
    secrets += [value for _, _, value in (pair.partition("=") for pair in parts.query.split("&"))]
    host = parts.hostname or ""
    if parts.scheme not in ("json", "jsons", "mailto", "mailtos", *_ALERTMANAGER):
        secrets.append(host)  # the first token of slack:// and its like stands where a host does
    for secret in sorted((s for s in secrets if s and len(s) > 5), key=len, reverse=True):
        said = re.sub(re.escape(secret), "***", said, flags=re.IGNORECASE)
    return said
