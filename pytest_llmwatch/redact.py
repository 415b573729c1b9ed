"""Hide secrets and personal data: the one choke point before anything is kept.

A hidden text becomes ``[KIND:1a2b]``: the four hex digits are a salted hash, so that equal values stay equal and
different ones (nearly always) differ, without a way back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.redact_patterns import NUMBER, PATTERNS, SECRET_KEYS, Pattern

_DEFAULT_SALT = "llmwatch"
_USER_PATTERN_SECONDS = 1.0
# a run redacts the same prompts and answers again and again: matching, keeping, reporting
_CACHED_TEXTS = 2000
_CACHED_LENGTH = 20_000


@dataclass(frozen=True, slots=True)
class Finding:
    """A secret or personal datum in a text: its kind, and where (end exclusive).

    ``personal`` marks personal data, ``custom`` what a user's pattern found: neither is sure to be a secret.
    """

    kind: str
    start: int
    end: int
    personal: bool = False
    custom: bool = False


class Redactor:
    """Find and hide secrets and personal data in texts and JSON values.

    Args:
        patterns: (name, regular expression) pairs of the user; a group named ``secret`` narrows what is hidden.
        pii: Whether e-mail addresses, phone, card, bank and social security numbers are hidden too.
        salt: Of the hash in placeholders. Requests are matched by their redacted text, so a changed salt makes
            recordings that hold placeholders stale. None = a fixed salt, the same on every machine.

    Raises:
        UsageError: A user's pattern is not a regular expression.
    """

    def __init__(
        self, patterns: Sequence[tuple[str, str]] = (), *, pii: bool = True, salt: str | None = None
    ) -> None:
        self._patterns = tuple(p for p in PATTERNS if pii or not p.personal)
        self._salt = salt or _DEFAULT_SALT
        self._known: dict[str, str] = {}
        self._user = tuple((name, _compile(name, expression)) for name, expression in patterns)

    def find(self, s: str) -> list[Finding]:
        """Return what is to be hidden in ``s``, by position, without overlaps."""
        if len(s) < 6 and not self._user:
            return []
        if s.startswith("data:") and ";base64," in s[:200]:
            return []  # an inline image: random letters, which no pattern should be tried on
        numeric = NUMBER.search(s) is not None
        found = [f for p in self._patterns if numeric or not p.numeric for f in _matches(p, s)]
        for name, search in self._user:
            found.extend(Finding(name.upper(), start, end, custom=True) for start, end in search(s))
        if len(found) < 2:
            return found
        kept: list[Finding] = []
        end = -1
        for finding in sorted(found, key=lambda f: (f.start, -f.end)):
            if finding.start >= end:
                kept.append(finding)
                end = finding.end
        return kept

    def text(self, s: str) -> str:
        """Return ``s`` with everything that `find` finds replaced by placeholders; idempotent."""
        if len(s) > _CACHED_LENGTH:
            return self._text(s)
        known = self._known.get(s)
        if known is None:
            if len(self._known) >= _CACHED_TEXTS:
                self._known.clear()
            known = self._known[s] = self._text(s)
        return known

    def _text(self, s: str) -> str:
        findings = self.find(s)
        if not findings:
            return s
        parts: list[str] = []
        last = 0
        for f in findings:
            parts += [s[last : f.start], self.placeholder(f.kind, s[f.start : f.end])]
            last = f.end
        parts.append(s[last:])
        return "".join(parts)

    def value(self, json: Any) -> Any:
        """Return the JSON value ``json`` with all its texts redacted.

        Texts under keys such as ``api_key`` or ``authorization`` are hidden whole. Numbers (``max_tokens``, usage)
        are never touched.
        """
        if isinstance(json, str):
            return self.text(json)
        if isinstance(json, dict):
            return {self.text(str(k)): self._member(str(k), v) for k, v in json.items()}
        if isinstance(json, list | tuple):
            return [self.value(v) for v in json]
        return json

    def _member(self, key: str, value: Any) -> Any:
        if isinstance(value, str) and value and key.lower() in SECRET_KEYS and not value.startswith("["):
            return self.placeholder("SECRET", value)
        return self.value(value)

    def placeholder(self, kind: str, secret: str) -> str:
        """Return the placeholder for ``secret``: its kind and four hex digits of a salted hash."""
        compact = "".join(secret.split()) if kind in ("CARD", "IBAN", "PHONE") else secret
        digest = hashlib.blake2b(compact.encode("utf-8", "replace"), key=self._salt.encode()[:64], digest_size=2)
        return f"[{kind}:{digest.hexdigest()}]"


def _matches(pattern: Pattern, s: str) -> Iterator[Finding]:
    if pattern.needles and not any(needle in s for needle in pattern.needles):
        return
    group: int | str = "secret" if "secret" in pattern.expression.groupindex else 0
    for match in pattern.expression.finditer(s):
        if pattern.check is None or pattern.check(match[group]):
            yield Finding(pattern.kind, match.start(group), match.end(group), pattern.personal)


def _compile(name: str, expression: str) -> Callable[[str], list[tuple[int, int]]]:
    # a user's expression may be catastrophic: the regex package can give up after a time
    import regex

    try:
        compiled = regex.compile(expression)
    except regex.error as error:
        raise UsageError(
            f"[redact] pattern {name!r} must be a regular expression (got {expression!r}: {error})",
            slug="redact-pattern",
        ) from error
    group: int | str = "secret" if "secret" in compiled.groupindex else 0

    def search(s: str) -> list[tuple[int, int]]:
        try:
            spans = [(m.start(group), m.end(group)) for m in compiled.finditer(s, timeout=_USER_PATTERN_SECONDS)]
        except TimeoutError as error:
            raise UsageError(
                f"[redact] pattern {name!r} took longer than {_USER_PATTERN_SECONDS:g} s on one text; "
                "make it linear (no nested repetition)",
                slug="redact-pattern",
            ) from error
        return [(start, end) for start, end in spans if end > start]

    return search
