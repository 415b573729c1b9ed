"""Transport errors by name: what we call them, and how a replay raises them again."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from pytest_llmwatch.model import CallStatus

_NAMES = {
    "ConnectTimeout": "connect_timeout",
    "ReadTimeout": "read_timeout",
    "WriteTimeout": "write_timeout",
    "PoolTimeout": "pool_timeout",
    "ReadError": "connection_reset",
    "WriteError": "connection_reset",
    "CloseError": "connection_reset",
    "RemoteProtocolError": "dropped",
    "LocalProtocolError": "protocol_error",
    "ProxyError": "proxy_error",
    "UnsupportedProtocol": "unsupported_protocol",
}
DEAD = frozenset({"connection_refused", "dns_failure", "connect_timeout", "connect_error"})
"""Errors that mean: nobody is there."""


def error_type(error: BaseException, *, in_stream: bool = False) -> str:
    """Return our name of a transport error; one that we do not know keeps its class name."""
    name = type(error).__name__
    if name == "ConnectError":
        return _connect(str(error))
    if name in ("RemoteProtocolError", "ReadError") and in_stream:
        return "dropped_stream"
    if name == "RemoteProtocolError":
        return "server_disconnected"
    if name in ("CancelledError", "GeneratorExit"):
        return "cancelled"
    return _NAMES.get(name, name)


def status(error_name: str) -> CallStatus:
    """Return the status of a call that ended with this error."""
    if error_name.endswith("_timeout"):
        return "timeout"
    return "incomplete" if error_name == "dropped_stream" else "error"


def _connect(message: str) -> str:
    text = message.lower()
    if "refused" in text or "111" in text or "10061" in text or "all connection attempts failed" in text:
        return "connection_refused"
    if any(word in text for word in ("name or service", "nodename", "getaddrinfo", "name resolution", "11001")):
        return "dns_failure"
    return "connect_error"


def described(error: BaseException) -> dict[str, str]:
    """Return what a cassette keeps of a transport error: its class and its text."""
    return {"class": type(error).__name__, "message": str(error)[:500]}


def rebuild(module: ModuleType, recorded: dict[str, Any], request: Any) -> Exception:
    """Return the recorded transport error as an exception of ``module`` (httpx or httpx2).

    A class that the module does not have, or that is no transport error, becomes a plain TransportError.
    """
    cls = getattr(module, str(recorded.get("class")), None)
    base = module.TransportError
    if not (isinstance(cls, type) and issubclass(cls, base)):
        cls = base
    error: Exception = cls(str(recorded.get("message", "")), request=request)
    return error
