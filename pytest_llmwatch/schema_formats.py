"""Checks of JSON Schema's ``format`` that jsonschema leaves out unless a dozen further packages are installed.

Without them every text is a good ``date-time`` or ``uri``. The patterns follow the RFCs that JSON Schema names;
all take time linear in the text.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Callable
from typing import Any

_DATE = r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
_TIME = (
    r"(?P<h>[01][0-9]|2[0-3]):(?P<m>[0-5][0-9]):(?P<s>[0-5][0-9]|60)(?:\.[0-9]+)?"
    r"(?P<zone>[Zz]|(?P<sign>[+-])(?P<zh>[01][0-9]|2[0-3]):(?P<zm>[0-5][0-9]))"
)
_DATE_TIME = re.compile(rf"{_DATE}[Tt]{_TIME}")
_TIME_ONLY = re.compile(_TIME)
_DURATION = re.compile(
    r"P(?:[0-9]+W|(?=[0-9T])(?:[0-9]+Y(?:[0-9]+M(?:[0-9]+D)?)?|[0-9]+M(?:[0-9]+D)?|[0-9]+D)?"
    r"(?:T(?=[0-9])(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S))?)"
)
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
_RELATIVE_POINTER = re.compile(r"(?:0|[1-9][0-9]*)(?:#|(?:/(?:[^~/]|~[01])*)*)")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL = re.compile(rf'{_ATOM}(?:\.{_ATOM})*|"(?:[^"\\\x00-\x1f]|\\[\x20-\x7e])*"')

_PERCENT = r"%[0-9A-Fa-f]{2}"
_ASCII = r"A-Za-z0-9._~!$&'()*+,;=\-"


def _reference(more: str) -> re.Pattern[str]:
    """RFC 3986 and, with characters beyond ASCII as ``more``, RFC 3987; user and port apart."""
    char = rf"(?:[{_ASCII}:@{more}]|{_PERCENT})"
    return re.compile(
        r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?"
        rf"(?://(?:(?:[{_ASCII}:{more}]|{_PERCENT})*@)?"
        rf"(?P<host>\[[0-9A-Fa-f:.vV]+\]|(?:[{_ASCII}{more}]|{_PERCENT})*)(?P<port>:[0-9]*)?(?=[/?#]|\Z))?"
        rf"(?P<path>(?:{char}|/)*)(?:\?(?:{char}|[/?])*)?(?:#(?:{char}|[/?])*)?"
    )


_URI = _reference("")
_IRI = _reference("\u00a0-\ud7ff\uf900-\ufdcf\ufdf0-\uffef\U00010000-\U000efffd")


def _date_time(value: str) -> bool:
    found = _DATE_TIME.fullmatch(value)
    if found is None or not _leap(found):
        return False
    try:
        datetime.date.fromisoformat(found["date"])
    except ValueError:
        return False
    return True


def _time(value: str) -> bool:
    found = _TIME_ONLY.fullmatch(value)
    return found is not None and _leap(found)


def _leap(found: re.Match[str]) -> bool:
    """A 60th second is only at 23:59:60 UTC."""
    if found["s"] != "60":
        return True
    offset = 0 if found["sign"] is None else int(found["zh"]) * 60 + int(found["zm"])
    minutes = int(found["h"]) * 60 + int(found["m"]) - (offset if found["sign"] == "+" else -offset)
    return minutes % (24 * 60) == 24 * 60 - 1


def _hostname(value: str) -> bool:
    if not 0 < len(value) <= 253:
        return False
    labels = value.split(".")
    # "--" in third place is kept for punycode
    return all(_LABEL.fullmatch(label) and (label[2:4] != "--" or label[:4].lower() == "xn--") for label in labels)


def _uri_of(pattern: re.Pattern[str], *, absolute: bool) -> Callable[[str], bool]:
    def check(value: str) -> bool:
        found = pattern.fullmatch(value)
        if found is None or (absolute and found["scheme"] is None):
            return False
        if found["scheme"] is None and found["host"] is None and ":" in found["path"].split("/", 1)[0]:
            return False
        host = found["host"] or ""
        return not host.startswith("[") or host[1:2] in "vV" or _ip(host[1:-1], 6)

    return check


def _ip(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def _email(value: str) -> bool:
    local, at, domain = value.rpartition("@")
    if not at or not _LOCAL.fullmatch(local):
        return False
    if domain.startswith("[") and domain.endswith("]"):
        inner = domain[1:-1]
        return _ip(inner[5:], 6) if inner.lower().startswith("ipv6:") else _ip(inner, 4)
    return _hostname(domain)


CHECKS: dict[str, Callable[[str], bool]] = {
    "date-time": _date_time,
    "time": _time,
    "duration": lambda v: _DURATION.fullmatch(v) is not None and v[-1] not in "PT",
    "hostname": _hostname,
    "email": _email,
    "uuid": lambda v: _UUID.fullmatch(v) is not None,
    "uri": _uri_of(_URI, absolute=True),
    "uri-reference": _uri_of(_URI, absolute=False),
    "iri": _uri_of(_IRI, absolute=True),
    "iri-reference": _uri_of(_IRI, absolute=False),
    "json-pointer": lambda v: _POINTER.fullmatch(v) is not None,
    "relative-json-pointer": lambda v: v.isascii() and _RELATIVE_POINTER.fullmatch(v) is not None,
}
"""Format -> whether a text has it. Values that are no text have every format, as JSON Schema says."""


def checker(cls: Any) -> Any:
    """Return the format checker of a draft's validator class, with `CHECKS` for the formats that the draft has.

    The same on every machine, whichever packages are installed.
    """
    made = type(cls.FORMAT_CHECKER)(())
    made.checkers = dict(cls.FORMAT_CHECKER.checkers)
    draft7_and_later = "if" in cls.VALIDATORS
    for name, check in CHECKS.items():
        if draft7_and_later or name in ("date-time", "email", "hostname", "uri"):
            made.checkers[name] = (_any_other_type_passes(check), ())
    return made


def _any_other_type_passes(check: Callable[[str], bool]) -> Callable[[object], bool]:
    return lambda value: not isinstance(value, str) or check(value)
