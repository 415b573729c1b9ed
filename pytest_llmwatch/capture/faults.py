"""Transport errors by name: what we call them, and how a replay raises them again."""

from __future__ import annotations

import ast
import errno
import ssl
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pytest_llmwatch.model import CallStatus

if TYPE_CHECKING:
    from pytest_llmwatch.capture.exchange import Exchange

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
    # aiohttp's
    "ConnectionTimeoutError": "connect_timeout",
    "SocketTimeoutError": "read_timeout",
    "ServerTimeoutError": "read_timeout",
    "TimeoutError": "total_timeout",
    "ClientConnectorDNSError": "dns_failure",
    "ClientConnectorSSLError": "tls_error",
    "ClientConnectorCertificateError": "tls_error",
    "ServerDisconnectedError": "server_disconnected",
    "ClientPayloadError": "dropped_stream",
    "ClientOSError": "connection_reset",
    "ClientConnectionResetError": "connection_reset",
}
_IN_STREAM = frozenset(
    {
        "RemoteProtocolError", "ReadError",
        "ServerDisconnectedError", "ClientOSError", "ClientConnectionResetError", "ClientConnectionError",
    }
)  # fmt: skip
_CLASSES = {
    # our name of an error -> the classes that say it, for a recording that another library made
    "connection_refused": ("ConnectError", "ClientConnectorError"),
    "dns_failure": ("ConnectError", "ClientConnectorError"),
    "tls_error": ("ConnectError", "ClientConnectorSSLError"),
    "connect_error": ("ConnectError", "ClientConnectorError"),
    "connect_timeout": ("ConnectTimeout", "ConnectionTimeoutError"),
    "read_timeout": ("ReadTimeout", "SocketTimeoutError"),
    "write_timeout": ("WriteTimeout", "SocketTimeoutError"),
    "pool_timeout": ("PoolTimeout", "ConnectionTimeoutError"),
    "total_timeout": ("ReadTimeout", "SocketTimeoutError"),
    "server_disconnected": ("RemoteProtocolError", "ServerDisconnectedError"),
    "dropped_stream": ("RemoteProtocolError", "ClientPayloadError"),
    "connection_reset": ("ReadError", "ClientOSError"),
}
DEAD = frozenset({"connection_refused", "dns_failure", "tls_error", "connect_timeout", "connect_error"})
"""Errors that mean: nobody is there."""


def error_type(error: BaseException, *, in_stream: bool = False) -> str:
    """Return our name of a transport error; one that we do not know keeps its class name."""
    name = type(error).__name__
    if name == "ConnectError":
        return _connect(str(error))
    if name.startswith("ClientConnector") and name not in _NAMES:
        return "connection_refused" if getattr(error, "errno", None) == errno.ECONNREFUSED else "connect_error"
    if name in _IN_STREAM and in_stream:
        return "dropped_stream"
    if name == "RemoteProtocolError":
        return "server_disconnected"
    if name in ("CancelledError", "Cancelled", "GeneratorExit", "KeyboardInterrupt"):
        return "cancelled"
    return _NAMES.get(name, name)


def status(error_name: str) -> CallStatus:
    """Return the status of a call that ended with this error."""
    if error_name.endswith("_timeout"):
        return "timeout"
    return "incomplete" if error_name == "dropped_stream" else "error"


def _connect(message: str) -> str:
    text = message.lower()
    if "ssl" in text:  # OpenSSL's reasons carry its name, or that of Python's file
        return "tls_error"
    if "refused" in text or "111" in text or "10061" in text or "all connection attempts failed" in text:
        return "connection_refused"
    if any(word in text for word in ("name or service", "nodename", "getaddrinfo", "name resolution", "11001")):
        return "dns_failure"
    return "connect_error"


def described(error: BaseException) -> dict[str, str]:
    """Return what a cassette keeps of a transport error: its class and its text."""
    return {"class": type(error).__name__, "message": str(error)[:500]}


def rebuild(
    module: ModuleType, recorded: dict[str, Any], request: Any, error_name: str | None = None
) -> Exception:
    """Return the recorded transport error as an exception of ``module`` (httpx or httpx2).

    A class that the module does not have, or that is no transport error, becomes the one that stands for
    ``error_name``, else a plain TransportError.
    """
    base = module.TransportError
    names = (str(recorded.get("class")), *_CLASSES.get(error_name or "", ()))
    known = (getattr(module, name, None) for name in names)
    cls = next((c for c in known if isinstance(c, type) and issubclass(c, base)), base)
    error: Exception = cls(str(recorded.get("message", "")), request=request)
    return error


def rebuild_aiohttp(module: Any, exchange: Exchange, request: Any) -> Exception:
    """Return the recorded transport error of an exchange as aiohttp raises it."""
    recorded = exchange.error or {}
    message = str(recorded.get("message", ""))
    names = (str(recorded.get("class")), *_CLASSES.get(exchange.error_type or "", ()))
    if names[0] == "TimeoutError":
        return TimeoutError(message) if message else TimeoutError()
    known = (getattr(module, name, None) for name in names)
    cls = next((c for c in known if isinstance(c, type) and issubclass(c, module.ClientError)), module.ClientError)
    error: Exception
    if issubclass(cls, module.ClientConnectorError):
        # it says "Cannot connect to host ... [what the system said]"
        said = message.partition("[")[2].rpartition("]")[0] or message
        number = errno.ECONNREFUSED if exchange.error_type == "connection_refused" else errno.EHOSTUNREACH
        cause = _of_certificate(said) if cls is module.ClientConnectorCertificateError else OSError(number, said)
        error = cls(request.connection_key, cause)
    else:
        error = cls(message)
    return error


def _of_certificate(said: str) -> OSError:
    """Return the error that aiohttp tells as "SSLCertVerificationError: (1, '[SSL: ...')"."""
    try:
        arguments = ast.literal_eval(said.partition(": ")[2])
    except (SyntaxError, ValueError):
        arguments = (1, said)
    return ssl.SSLCertVerificationError(*arguments)
