"""Hide secrets and personal data: the one choke point before anything is kept.

A hidden text becomes ``[KIND:1a2b]``: the four hex digits are a salted hash, so that equal values stay equal and
different ones (nearly always) differ, without a way back.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import operator
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from pytest_llmwatch import redact_nested as nested
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.redact_base import Pattern, has_digit, word_windows
from pytest_llmwatch.redact_patterns import PATTERNS, SECRET_KEYS
from pytest_llmwatch.redact_shape import Shape

_DEFAULT_SALT = "llmwatch"
_USER_PATTERN_SECONDS = 1.0
# a run redacts the same prompts and answers again and again: matching, keeping, reporting
_CACHED_TEXTS = 2000
_CACHED_LENGTH = 20_000
_SHORTEST = 6
_DEEPEST = 5  # texts in texts in texts: what is deeper was built to be
_LEARNED = 64
_MOST_DIGITS = max(p.numeric for p in PATTERNS)
_ROUNDS = 4
_SECRET_VARIABLES = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD", "_PASSWD", "_PASS", "_CREDENTIALS", "_AUTH")
# each of SECRET_KEYS holds one of them
_KEY_PARTS = ("key", "auth", "pass", "secret", "token", "cookie")

_PLACEHOLDER = re.compile(r"\[[A-Z][A-Z0-9_]{1,40}:[0-9a-f]{4}\]")

T = TypeVar("T")


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
        self._learned: dict[str, str] = {}
        self._by_shape: dict[tuple[bool, int, bool], tuple[Pattern, ...]] = {}
        self._plain_values: set[str] = set()  # seen where credentials are, and none
        self._user = tuple((name, _compile(name, expression)) for name, expression in patterns)

    def learn(self, value: str, kind: str = "SECRET") -> None:
        """Hide ``value`` wherever it occurs from now on: a credential that a request carried, whatever its form.

        Only what could be generated is learned (12 characters or more, letters and a digit), so that a stand-in
        such as ``test-key`` does not vanish from texts.
        """
        if value in self._plain_values:
            return
        value = value.strip()
        if value in self._learned or len(self._learned) >= _LEARNED:
            return
        if not _generated(value):
            if len(self._plain_values) >= _CACHED_TEXTS:
                self._plain_values.clear()
            self._plain_values.add(value)
            return
        self._learned[value] = kind
        self._known.clear()

    def learn_environment(self, environment: Mapping[str, str]) -> None:
        """Learn the values of variables that are named as secrets: ``..._KEY``, ``..._TOKEN`` ..."""
        for name, value in environment.items():
            if name.upper().endswith(_SECRET_VARIABLES) and not value.startswith(("/", "~", ".")):
                self.learn(value)

    def find(self, s: str, *, sure: bool = False) -> list[Finding]:
        """Return what is to be hidden in ``s``, by position, without overlaps.

        Texts inside are looked at too: the strings of JSON in a text (tool arguments), URLs, HTML with their
        escapes undone, and text in base64.

        Args:
            s: The text.
            sure: Only what is surely a secret and stands in ``s`` as it is: no personal data, no pattern of the
                user, no text inside.
        """
        if sure:
            shape = Shape(s)
            found = [f for f in self._plain(s, shape, shape.runs(), personal=False) if not f.personal]
            found += [f for value, kind in self._learned.items() for f in _occurrences(value, kind, s)]
        else:
            found = self._find(s, 0)
        if found and "]" in s:
            # a placeholder is final, whatever its letters look like beside others
            marks = [m.span() for m in _PLACEHOLDER.finditer(s)]
            found = [f for f in found if not _inside(marks, f.start)]
        if len(found) < 2:
            return found
        kept: list[Finding] = []
        end = -1
        for finding in sorted(found, key=lambda f: (f.start, -f.end)):
            if finding.start >= end:
                kept.append(finding)
                end = finding.end
        return kept

    def _find(self, s: str, depth: int) -> list[Finding]:
        if len(s) < _SHORTEST and not self._user:
            return []
        shape = Shape(s)
        if not shape.suspicious and not self._user:
            return []
        if nested.is_inline_file(s):
            return self._inline(s, depth)
        runs = shape.runs()
        found = list(self._plain(s, shape, runs))
        for value, kind in self._learned.items():
            found.extend(_occurrences(value, kind, s))
        for name, search in self._user:
            found.extend(Finding(name.upper(), start, end, custom=True) for start, end in search(s))
        if depth < _DEEPEST:
            for start, end, inner in nested.encoded_texts(s, runs):
                inside = self._find(inner, depth + 1)
                if inside:
                    first = inside[0]
                    found.append(Finding(first.kind, start, end, first.personal, first.custom))
            for view in nested.views(s):
                for f in self._find(view.text, depth + 1):
                    start, end = view.place(f.start), view.place(f.end)
                    found.append(Finding(f.kind, start, end, f.personal, f.custom))
            if nested.is_json(s) and (found or "\\" in s or any(key in s.lower() for key in _KEY_PARTS)):
                found = self._in_json(s, found, depth)
        return found

    def _plain(
        self, s: str, shape: Shape, runs: list[tuple[int, int]], *, personal: bool = True
    ) -> Iterator[Finding]:
        numbers = shape.numbers() if personal else []
        most = max([digits for _, _, digits in numbers], default=0)
        whole = [(0, len(s))]
        words = " ".join([s[start:end] for start, end in runs])
        lower = s.lower()
        near = " ".join([s[start:end] for start, end, _ in numbers]).lower()
        for pattern in self._worth(bool(words), most, personal):
            if pattern.forms and not shape.has(pattern.forms):
                continue
            if pattern.needles and not _any_in(pattern.needles, words if pattern.run else s):
                continue
            if pattern.words and not _any_in(pattern.words, near if pattern.numeric else lower):
                continue
            places = runs if pattern.run else whole
            if pattern.numeric:
                places = [(a, b) for a, b, digits in numbers if digits >= pattern.numeric]
            if pattern.reach is not None and not pattern.words:
                places = shape.around(pattern.forms, pattern.reach)
            elif pattern.reach is not None and len(lower) == len(s):
                places = word_windows(lower, pattern.words, pattern.reach)
            for start, end in places:
                yield from _matches(pattern, s, start, end)

    def _worth(self, runs: bool, digits: int, personal: bool) -> tuple[Pattern, ...]:
        """Return the patterns to try where there are long words or none, and so many digits in a row at most."""
        key = (runs, min(digits, _MOST_DIGITS), personal)
        found = self._by_shape.get(key)
        if found is None:
            found = self._by_shape[key] = tuple(
                p
                for p in self._patterns
                if (personal or not p.personal) and p.numeric <= digits and (runs or not (p.run or p.long))
            )
        return found

    def _inline(self, s: str, depth: int) -> list[Finding]:
        # an image's random letters are no text; a text file is one
        text = nested.inline_text(s) if depth < _DEEPEST else None
        inside = self._find(text, depth + 1) if text is not None else []
        if not inside:
            return []
        return [Finding(inside[0].kind, s.index(",") + 1, len(s), inside[0].personal, inside[0].custom)]

    def _in_json(self, s: str, found: list[Finding], depth: int) -> list[Finding]:
        """Judge the strings of JSON text by what they say; leave its numbers alone."""
        strings = list(nested.strings(s))
        escaped = [x for x in strings if x.escaped]
        kept = [
            f
            for f in found
            if not any(x.start <= f.start and f.end <= x.end for x in nested.around(escaped, f.start, f.end))
            and (nested.around(strings, f.start, f.end) or not nested.is_number(s[f.start : f.end]))
        ]
        for string in escaped:
            for f in self._find(string.text, depth + 1):
                start, end = string.place(f.start), string.place(f.end)
                kept.append(Finding(f.kind, start, end, f.personal, f.custom))
        for string in strings:
            if string.key is not None and string.key.lower() in SECRET_KEYS and _is_open(string.text):
                kept.append(Finding("SECRET", string.start, string.end))
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
        # where one secret is gone, another may begin a word: again, until nothing more is found
        for _ in range(_ROUNDS):
            redacted = self._once(s)
            if redacted == s:
                break
            s = redacted
        return s

    def _once(self, s: str) -> str:
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

    def binary(self, data: bytes) -> bytes:
        """Return ``data``, which is no text, with each secret in it overwritten by as many ``x``.

        Personal data is left: letters and digits at random, as in sound and images, look like some of it.
        """
        text = data.decode("latin-1")
        found = [f for p in self._patterns if not p.personal and p.needles for f in _in_binary(p, text)]
        for value, kind in self._learned.items():
            found.extend(_occurrences(value, kind, text))
        if not found:
            return data
        out = bytearray(data)
        for f in found:
            out[f.start : f.end] = b"x" * (f.end - f.start)
        return bytes(out)

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
        if isinstance(value, str) and key.lower() in SECRET_KEYS and _is_open(value):
            return self.placeholder("SECRET", value)
        return self.value(value)

    def record(self, value: T, *, leave: frozenset[str] = frozenset()) -> T:
        """Return ``value`` (a record of `pytest_llmwatch.model`, or a tuple of them) with all its texts redacted.

        Args:
            value: A dataclass, mapping, sequence, text, or anything else, which is returned as it is.
            leave: Names of fields that are left as they are: ids that we made, times, addresses of servers.
        """
        return cast(T, self._record(value, leave))

    def _record(self, value: Any, leave: frozenset[str]) -> Any:
        kind: Any = type(value)
        if kind in _NO_TEXT:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, tuple | list):
            if not value:
                return value
            items = [self._record(v, leave) for v in value]
            return value if all(a is b for a, b in zip(items, value, strict=True)) else type(value)(items)
        if not _is_record(kind):
            return self.value(dict(value)) if isinstance(value, Mapping) else value
        changed = {}
        known = self._known
        names, read = _fields(kind, leave)
        for name, before in zip(names, read(value), strict=True):
            if not before or type(before) in _NO_TEXT:
                continue
            after = known.get(before) if type(before) is str else None
            if after is None:
                after = self._record(before, leave)
            if after is not before and after != before:
                changed[name] = after
        return dataclasses.replace(value, **changed) if changed else value

    def placeholder(self, kind: str, secret: str) -> str:
        """Return the placeholder for ``secret``: its kind and four hex digits of a salted hash."""
        compact = "".join(secret.split()) if kind in ("CARD", "IBAN", "PHONE") else secret
        digest = hashlib.blake2b(compact.encode("utf-8", "replace"), key=self._salt.encode()[:64], digest_size=2)
        return f"[{kind}:{digest.hexdigest()}]"


_NO_TEXT = frozenset({type(None), bool, int, float})


@functools.cache
def _is_record(cls: type) -> bool:
    return dataclasses.is_dataclass(cls)


@functools.cache
def _fields(cls: type, leave: frozenset[str]) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    """Return the names of the fields that may hold text, and what reads all of them."""
    # with two at least, so that a tuple is what is read
    names = tuple(f.name for f in dataclasses.fields(cls) if f.name not in leave)
    if len(names) < 2:
        return names, lambda value: tuple(getattr(value, name) for name in names)
    return names, operator.attrgetter(*names)


def _any_in(words: tuple[str, ...], s: str) -> bool:
    for word in words:  # noqa: SIM110 (twice as fast, done for each pattern and each text that a run keeps)
        if word in s:
            return True
    return False


def _matches(pattern: Pattern, s: str, first: int, last: int) -> Iterator[Finding]:
    group: int | str = "secret" if "secret" in pattern.expression.groupindex else 0
    for match in pattern.expression.finditer(s, first, last):
        if pattern.check is None or pattern.check(match[group]):
            yield Finding(pattern.kind, match.start(group), match.end(group), pattern.personal)


def _in_binary(pattern: Pattern, s: str) -> Iterator[Finding]:
    return _matches(pattern, s, 0, len(s)) if any(n in s for n in pattern.needles) else iter(())


def _occurrences(value: str, kind: str, s: str) -> Iterator[Finding]:
    at = s.find(value)
    while at >= 0:
        yield Finding(kind, at, at + len(value))
        at = s.find(value, at + len(value))


def _generated(value: str) -> bool:
    return (
        12 <= len(value) <= 8192
        and not any(c.isspace() for c in value)
        and has_digit(value)
        and any(c.isalpha() for c in value)
        and len(set(value)) >= 8
    )


def _inside(spans: list[tuple[int, int]], place: int) -> bool:
    """Whether ``place`` lies behind the start of one of ``spans`` (in order) and before its end."""
    at = bisect_left(spans, (place, 0)) - 1
    return at >= 0 and place < spans[at][1]


def _is_open(value: str) -> bool:
    return bool(value) and not value.startswith("[")


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
