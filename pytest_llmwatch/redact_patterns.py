"""What secrets and personal data look like: one table of patterns, each with the check that keeps it honest.

Every expression is linear on hostile text: no nested quantifiers over overlapping classes. A pattern with a
``needle`` is only tried where one of its needles occurs, which keeps redaction of ordinary prose cheap.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pattern:
    """One kind of secret: the text to hide is group ``secret`` if the expression has one, else the match.

    ``check`` takes that text and refuses look-alikes; ``personal`` marks personal data, which can be switched off;
    ``numeric`` patterns are only tried on texts with a long number (`NUMBER`).
    """

    kind: str
    expression: re.Pattern[str]
    needles: tuple[str, ...] = ()
    check: Callable[[str], bool] | None = None
    personal: bool = False
    numeric: bool = False


NUMBER = re.compile(r"(?:\d[ ().-]{0,2}){8}")
"""Eight digits with at most two separators between: without one, no ``numeric`` pattern can match."""


def _has_digit(text: str) -> bool:
    return any(c.isdigit() for c in text)


def looks_random(text: str) -> bool:
    """Whether ``text`` could be generated: letters and digits, or one long word without separators."""
    body = re.sub(r"^(?:sk|rk|pk)-(?:proj-|svcacct-|admin-|ant-|or-)?", "", text)
    return _has_digit(body) or not re.search(r"[-_.]", body)


def luhn(text: str) -> bool:
    """Whether the digits of ``text`` are a payment card number: brand prefix, length, and check digit.

    The check is the Luhn algorithm (ISO/IEC 7812-1, annex B). Runs of one digit are refused.
    """
    digits = [int(c) for c in text if c.isdigit()]
    number = "".join(map(str, digits))
    if len(set(digits)) < 2 or not _CARD_BRANDS.fullmatch(number):
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = digit * 2 if place % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


_CARD_BRANDS = re.compile(
    r"4\d{12}(?:\d{3})?(?:\d{3})?"  # Visa
    r"|5[1-5]\d{14}|2(?:2[2-9]|[3-6]\d|7[01])\d{13}|2720\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12}"  # Discover
    r"|35(?:2[89]|[3-8]\d)\d{12}"  # JCB
    r"|3(?:0[0-5]|[68]\d)\d{11}"  # Diners
    r"|62\d{14,17}"  # UnionPay
)

_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
    "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18,
    "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24,
    "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24,
    "XK": 20,
}  # fmt: skip


def iban(text: str) -> bool:
    """Whether ``text`` is an IBAN: the country's length, and remainder 1 modulo 97 (ISO 13616, ISO 7064)."""
    compact = text.replace(" ", "")
    if _IBAN_LENGTHS.get(compact[:2]) != len(compact):
        return False
    moved = compact[4:] + compact[:4]
    return int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def _phone(text: str) -> bool:
    digits = [c for c in text if c.isdigit()]
    return 8 <= len(digits) <= 15 and len(set(digits)) > 2


def _assigned(text: str) -> bool:
    # "password: required" is prose, "password: hunter2!x" is not
    return _has_digit(text) and not text.isdigit() and not text.startswith("[")


def _password(text: str) -> bool:
    # "http://host:8080/a@b" has a port there, "${PASSWORD}" is a variable
    return not text.startswith(("[", "$", "<", "{", "%")) and not re.match(r"\d{1,5}/", text)


def _p(
    kind: str,
    expression: str,
    *needles: str,
    check: Callable[[str], bool] | None = None,
    personal: bool = False,
    numeric: bool = False,
    flags: int = 0,
) -> Pattern:
    return Pattern(kind, re.compile(expression, flags), needles, check, personal, numeric)


_START = r"(?<![A-Za-z0-9_-])"

PATTERNS: tuple[Pattern, ...] = (
    _p(
        "PRIVATE_KEY",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r".*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
        "PRIVATE KEY",
        flags=re.DOTALL,
    ),
    _p("ANTHROPIC_KEY", _START + r"sk-ant-[A-Za-z0-9_-]{16,}", "sk-ant-"),
    _p(
        "OPENAI_KEY",
        _START + r"sk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,}",
        "sk-",
        check=looks_random,
    ),
    _p("GOOGLE_KEY", _START + r"(?:AIza[0-9A-Za-z_-]{30,}|GOCSPX-[0-9A-Za-z_-]{20,})", "AIza", "GOCSPX-"),
    _p("GOOGLE_TOKEN", _START + r"ya29\.[0-9A-Za-z_-]{20,}", "ya29."),
    _p(
        "AWS_KEY",
        _START + r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])",
        "AKIA",
        "ASIA",
        "ABIA",
        "ACCA",
    ),
    _p(
        "AWS_SECRET",
        r"(?i)aws.{0,20}?(?:secret|session).{0,20}?[=:]\s*[\\\"']{0,3}(?P<secret>[A-Za-z0-9/+]{40,}={0,2})",
        "aws",
        "AWS",
        "Aws",
    ),
    _p(
        "GITHUB_TOKEN",
        _START + r"(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,})",
        "gh",
        "github_pat_",
    ),
    _p("GITLAB_TOKEN", _START + r"gl(?:pat|ptt|dt|rt)-[A-Za-z0-9_-]{18,}", "gl"),
    _p("SLACK_TOKEN", _START + r"(?:xox[abeprs]|xapp)-[A-Za-z0-9-]{10,}", "xox", "xapp-", check=_has_digit),
    _p(
        "SLACK_WEBHOOK",
        r"hooks\.slack\.com/(?:services|workflows)/(?P<secret>[A-Za-z0-9_/-]{20,})",
        "hooks.slack.com",
    ),
    _p(
        "STRIPE_KEY",
        _START + r"(?:(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9]{16,})",
        "_live_",
        "_test_",
        "whsec_",
    ),
    _p("HUGGINGFACE_TOKEN", _START + r"(?:hf|api_org)_[A-Za-z0-9]{20,}", "hf_", "api_org_"),
    _p(
        "VENDOR_KEY",
        _START + r"(?:gsk_|xai-|pplx-|r8_|nvapi-|npm_|dop_v1_|dapi|shpat_)[A-Za-z0-9_-]{24,}",
        "gsk_",
        "xai-",
        "pplx-",
        "r8_",
        "nvapi-",
        "npm_",
        "dop_v1_",
        "dapi",
        "shpat_",
        check=_has_digit,
    ),
    _p("PYPI_TOKEN", _START + r"pypi-AgE[A-Za-z0-9_-]{30,}", "pypi-AgE"),
    _p("SENDGRID_KEY", _START + r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}", "SG."),
    _p("JWT", _START + r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}", "eyJ"),
    _p(
        "BEARER",
        r"(?i)\bbearer\s{1,4}(?P<secret>[A-Za-z0-9._~+/-]{16,}={0,2})",
        "earer",
        "EARER",
        check=_has_digit,
    ),
    _p(
        "BASIC_AUTH",
        r"(?i)authorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?basic\s{1,4}(?P<secret>[A-Za-z0-9+/]{8,}={0,2})",
        "asic",
        "ASIC",
    ),
    _p(
        "PASSWORD",
        r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{1,30}://[^\s:/?#@\"'\\]{0,120}:(?P<secret>[^\s@\"'\\<>]{1,200})@",
        "://",
        check=_password,
    ),
    _p(
        "SECRET",
        r"(?i)(?<![A-Za-z0-9\[])(?:[a-z0-9]{1,20}[_-]){0,3}"
        r"(?:api[_-]?key|secret[_-]?key|access[_-]?key|client[_-]?secret|(?:access|auth|refresh)[_-]?token"
        r"|password|passwd|pwd|secret)"
        r"[\\\"']{0,3}\s{0,4}[=:]\s{0,4}[\\\"']{0,3}(?P<secret>[^\s\"'\\,;<>(){}]{8,256})",
        *("key", "Key", "KEY", "oken", "OKEN", "ecret", "ECRET", "assw", "ASSW", "pwd", "Pwd", "PWD"),
        check=_assigned,
    ),
    _p(
        "EMAIL",
        r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9_][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.){1,6}"
        r"[A-Za-z]{2,24}(?![A-Za-z0-9])",
        "@",
        personal=True,
    ),
    _p(
        "IBAN",
        r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])",
        check=iban,
        personal=True,
    ),
    _p(
        "CARD",
        r"(?<![A-Za-z0-9_.,+-])\d(?:[ -]?\d){12,18}(?![A-Za-z0-9_]|[.,]\d)",
        check=luhn,
        personal=True,
        numeric=True,
    ),
    _p(
        "SSN",
        r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])",
        "-",
        personal=True,
        numeric=True,
    ),
    _p(
        "PHONE",
        r"(?<![\w+.-])\+[1-9]\d{0,2}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d(?:[ .-]?\d){5,12}(?![\w])",
        "+",
        check=_phone,
        personal=True,
        numeric=True,
    ),
    _p(
        "PHONE",
        r"(?<![\w.+/-])(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[.-])[2-9]\d{2}[.-]\d{4}(?![\w.-])",
        check=_phone,
        personal=True,
        numeric=True,
    ),
)
"""In order of precedence: where two match the same text, the longer wins, then the earlier."""

SECRET_KEYS = frozenset(
    {
        "api_key", "apikey", "api-key", "x-api-key", "authorization", "proxy-authorization", "password", "passwd",
        "secret", "client_secret", "secret_key", "access_key", "secret_access_key", "aws_secret_access_key",
        "access_token", "auth_token", "refresh_token", "private_key", "cookie", "set-cookie", "bearer_token",
    }
)  # fmt: skip
"""Object keys (lower case) whose text value is hidden whatever it looks like."""
