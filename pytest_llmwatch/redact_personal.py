"""What personal data looks like: a table of patterns, each with the checksum or the context that keeps it honest.

Numbers matter in prompts and answers, so a bare run of digits is never enough: a card needs its brand and check
digit, an account its checksum, a phone number its country code, its grouping or a word such as "phone" before it,
an identity document always the word.
"""

from __future__ import annotations

import re

from pytest_llmwatch.redact_base import Pattern, make

_CARD_BRANDS = re.compile(
    r"4\d{12}(?:\d{3})?(?:\d{3})?"  # Visa
    r"|5[1-5]\d{14}|2(?:2[2-9]|[3-6]\d|7[01])\d{13}|2720\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12}"  # Discover
    r"|35(?:2[89]|[3-8]\d)\d{12}|(?:2131|1800)\d{11}"  # JCB
    r"|3(?:0[0-5]|[68]\d)\d{11}"  # Diners
    r"|62\d{14,17}"  # UnionPay
    r"|(?:5018|5020|5038|6304|6759|676[1-3])\d{8,15}"  # Maestro
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


def luhn(text: str) -> bool:
    """Whether the digits of ``text`` end in the right check digit (ISO/IEC 7812-1, annex B); not all alike."""
    digits = [int(c) for c in text if c.isdigit()]
    if len(set(digits)) < 2:
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = digit * 2 if place % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def card(text: str) -> bool:
    """Whether the digits of ``text`` are a payment card number: brand prefix, length, and check digit."""
    return _CARD_BRANDS.fullmatch("".join(c for c in text if c.isdigit())) is not None and luhn(text)


def iban(text: str) -> bool:
    """Whether ``text`` is an IBAN: the country's length, and remainder 1 modulo 97 (ISO 13616, ISO 7064)."""
    compact = "".join(c for c in text if c.isalnum()).upper()
    if _IBAN_LENGTHS.get(compact[:2]) != len(compact):
        return False
    moved = compact[4:] + compact[:4]
    return int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def _digits(text: str) -> int:
    return sum(c.isdigit() for c in text)


def _phone(text: str) -> bool:
    return 8 <= _digits(text) <= 15 and len({c for c in text if c.isdigit()}) > 2


_DATE = re.compile(r"(?:19|20)\d\d([-./ ])\d{1,2}\1\d{1,2}|\d{1,2}([-./ ])\d{1,2}\2(?:19|20)\d\d")


def _national_phone(text: str) -> bool:
    return 9 <= _digits(text) <= 11 and len({c for c in text if c.isdigit()}) > 2 and not _DATE.search(text)


def _said_phone(text: str) -> bool:
    # after the word "phone" a number may be a plain one, but not a date
    return 7 <= _digits(text) <= 15 and len({c for c in text if c.isdigit()}) > 2 and not _DATE.search(text)


def _ip(text: str) -> bool:
    import ipaddress

    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if not address.is_global or address.is_multicast:
        return False
    # 1.2.3.4 and 3.1.10.2 number versions and sections; an address of a person has larger parts
    return address.version == 6 or sum(int(part) >= 20 for part in text.split(".")) >= 2


def _document(text: str) -> bool:
    return _digits(text) >= 4 and not _DATE.fullmatch(text.strip())


_AT_START = r"(?:(?<![A-Za-z0-9._%+\\-])|(?<=\\[nrtbf])|(?<=%[0-9A-Fa-f]{2}))"
# from the word that announces a number to the number: never far, never over a line or another number
_GAP = r"[^\d\n\[]{0,24}?"
_DOCUMENT = r"(?P<secret>(?-i:[A-Z]{0,6}\d[A-Z0-9]{0,9}(?:[ .-](?=[A-Z]{0,4}\d)[A-Z0-9]{1,6}){0,4}))(?!\w)"
_ALONE = r"(?!\w|[.,/-]\d)"

PERSONAL: tuple[Pattern, ...] = (
    make(
        "EMAIL",
        _AT_START + r"[A-Za-z0-9_](?:[A-Za-z0-9._+-]|%(?!40)){0,63}(?:@|%40)"
        r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.){1,6}[A-Za-z]{2,24}(?![A-Za-z0-9])",
        forms=(b"@",),
        words=("@", "%40"),
        reach=(80, 480),
        personal=True,
    ),
    make(
        "IBAN",
        r"[A-Z](?<![A-Za-z0-9][A-Z])[A-Z]\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?(?![A-Za-z0-9])",
        forms=(b"AA00",),
        reach=(2, 64),
        check=iban,
        personal=True,
    ),
    make(
        "IBAN",
        r"(?i)\biban\b[^\w\n]{0,5}(?:is\s|no\.?\s|number\s|code\s){0,2}[^\w\n]{0,5}"
        r"(?P<secret>[a-z]{2}\d{2}(?:[ -]?[a-z0-9]{1,4}){3,9})(?![a-z0-9])",
        check=iban,
        words=("iban",),
        personal=True,
    ),
    make(
        "CARD",
        r"(?<![A-Za-z0-9_.,+-])\d(?:[ -]?\d){11,18}(?![A-Za-z0-9_]|[.,]\d)",
        check=card,
        personal=True,
        numeric=12,
    ),
    make(
        "CARD",
        r"(?i)\b(?:card|visa|mastercard|amex|maestro)\b" + _GAP + r"(?P<secret>\d(?:[ .-]?\d){11,18})" + _ALONE,
        check=luhn,
        words=("card", "visa", "amex", "maestro"),
        personal=True,
        numeric=12,
    ),
    make(
        "SSN",
        r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])",
        "-",
        personal=True,
        numeric=9,
    ),
    make(
        "SSN",
        r"(?i)\b(?:ssn|social[ -]security)\b"
        + _GAP
        + r"(?P<secret>(?!000|666)\d{3}[ .-]?\d{2}[ .-]?\d{4})"
        + _ALONE,
        words=("ssn", "social"),
        personal=True,
        numeric=9,
    ),
    make(
        "PHONE",
        r"(?<![\w+.-])\+[1-9]\d{0,2}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d(?:[ ./-]?\d){5,12}(?!\w)",
        "+",
        check=_phone,
        personal=True,
        numeric=7,
    ),
    make(
        "PHONE",
        r"(?<![\w.+/-])(?:\+?1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[.-])[2-9]\d{2}[.-]\d{4}" + _ALONE,
        check=_phone,
        personal=True,
        numeric=10,
    ),
    make(
        # national: a leading 0, then groups with one separator throughout (01.84.17.61.18, 024 971 50 30)
        "PHONE",
        r"0(?<![\w.,+/-]0)(?<!\d 0)[1-9]\d{0,3}(?P<gap>[ .-])\d{2,4}(?:(?P=gap)\d{2,4}){1,3}(?!\w|[ .,/-]\d)",
        check=_national_phone,
        personal=True,
        numeric=7,
    ),
    make(
        # the same with the area code in brackets or set apart once: (030) 901820, 0961-7596216, 020 79460018
        "PHONE",
        r"[(0](?<![\w.,+/(-][(0])(?<!\d [(0])"
        r"(?:(?<=\()0?[1-9]\d{1,3}\) ?\d{3,5}[ -]?\d{3,5}|(?<=0)[1-9]\d{1,3}[ /-]\d{6,8})"
        r"(?!\w|[ .,/-]\d)",
        check=_national_phone,
        personal=True,
        numeric=7,
    ),
    make(
        "PHONE",
        r"(?i)(?<![a-z_-])(?:(?:tele|cell)?phone|tel|mobile|cell|fax|whatsapp|call|dial|text|contact)\b\.?"
        + _GAP
        + r"(?P<secret>\(?\+?\d(?:[ ().-]{0,2}\d){6,14})"
        + _ALONE,
        check=_said_phone,
        words=("phone", "tel", "mobile", "cell", "fax", "whatsapp", "call", "dial", "text", "contact"),
        personal=True,
        numeric=7,
    ),
    make(
        "IP",
        r"\d(?<![\w./:-]\d)(?<!ersion \d)\d{0,2}(?:\.\d{1,3}){3}(?![\w-]|\.\d)",
        forms=(b".0.", b".00.", b".000."),
        reach=(16, 24),
        check=_ip,
        personal=True,
    ),
    make(
        "IP",
        # what is global begins with 2 or 3
        r"[23](?<![\w.:][23])[0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{1,4}(?![\w.:])",
        words=(":",),
        reach=(8, 48),
        forms=(b"aaaa:",),
        check=_ip,
        personal=True,
    ),
    make(
        "PASSPORT",
        r"(?i)\bpassport\b" + _GAP + r"(?P<secret>(?-i:[A-Z]{0,3}\d[A-Z0-9]{4,9}))(?!\w)",
        check=_document,
        words=("passport",),
        personal=True,
    ),
    make(
        "DRIVER_LICENSE",
        r"(?i)\bdriv(?:er'?s?|ing)[ _-]licen[cs]e\b"
        + _GAP
        + r"(?P<secret>(?-i:[A-Z]{0,5}\d[A-Z0-9]{0,14}(?:[ -]\d{2,6}){0,3}))(?!\w)",
        check=_document,
        words=("licen",),
        personal=True,
    ),
    make(
        "NATIONAL_ID",
        r"(?i)\b(?:national[ _-](?:id|identity|identification|insurance)|identity[ _-]card|id[ _-]card|tax[ _-]id"
        r"|aadhaar|pesel|codice fiscale|personnummer|steuer-?id|personalausweis)\b" + _GAP + _DOCUMENT,
        check=_document,
        words=(
            *("national", "identity", "card", "tax", "aadhaar", "pesel", "codice", "personnummer", "steuer"),
            "personalausweis",
        ),
        personal=True,
    ),
    make(
        "NATIONAL_ID",
        r"\b(?:TIN|NINO|DNI|NIE|NIF|CPF|BSN)\b" + _GAP + _DOCUMENT,
        forms=(b"AAA",),
        reach=(4, 160),
        check=_document,
        personal=True,
    ),
)
"""In order of precedence; see `pytest_llmwatch.redact_patterns.PATTERNS`."""
