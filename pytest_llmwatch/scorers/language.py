"""Language identification, offline (py3langid, 97 languages)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.compare import clean
from pytest_llmwatch.scorers.extras import load
from pytest_llmwatch.scorers.options import option

_MAX_CHARS = 10_000
_MIN_LETTERS = 20


@functools.lru_cache(maxsize=8)
def _identifier(languages: tuple[str, ...]) -> Any:
    library = load("py3langid.langid", "language")
    found = library.LanguageIdentifier.from_model_file(library.MODEL_FILE, norm_probs=True)
    if languages:
        found.set_languages(list(languages))
    return found


@dataclass(frozen=True, slots=True)
class Language(Base):
    """Probability that the answer is written in the language (or one of them), ISO 639-1: ``en``, ``de``, ``zh``.

    None given: the input's own language. The first 10,000 characters are looked at; with fewer than 20 letters it
    is not assessable, and near relatives (Norwegian and Danish, Serbian and Croatian) are often taken for each
    other. ``among`` narrows what is considered, which makes short answers much safer.

    Raises:
        UsageError: py3langid is not installed.
        ValueError: A language that it does not know.
    """

    name = "language"

    languages: Sequence[str] | str | None = option("texts")
    among: Sequence[str] | str | None = option("texts")

    def __post_init__(self) -> None:
        known = set(_identifier(()).labels)
        for code in (*_codes(self.languages), *_codes(self.among)):
            if code not in known:
                raise ValueError(f"{code!r} is no language that is known; known: {', '.join(sorted(known))}")

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether a language was given."""
        return bool(self.languages)

    def score(self, output: Output, case: Case) -> Score:
        """Identify the answer's language; the most probable one is evidence."""
        wanted = set(_codes(self.languages))
        if not wanted:
            asked = case.input_text() or ""
            if not _enough(asked):
                return self.not_assessable("No language was given, and the input is too short to tell its own.")
            wanted = {self._ranked(asked)[0][0]}
        if not _enough(output.text):
            return self.not_assessable("Too few letters to tell a language.")
        ranked = self._ranked(output.text)
        best, sure = ranked[0]
        value = sum(p for code, p in ranked if code in wanted)
        said = f"Most probably {best} ({sure:.0%}); wanted: {', '.join(sorted(wanted))}."
        return self.result(value, said, [Evidence("language", best, where="item", note=f"{sure:.3f}")])

    def _ranked(self, text: str) -> list[tuple[str, float]]:
        among = tuple(sorted({*_codes(self.among), *_codes(self.languages)})) if self.among else ()
        found = _identifier(among).rank(clean(text[:_MAX_CHARS]))
        return [(str(code), float(p)) for code, p in found]


def _codes(given: Sequence[str] | str | None) -> tuple[str, ...]:
    if not given:
        return ()
    return tuple(code.lower() for code in ([given] if isinstance(given, str) else given))


def _enough(text: str) -> bool:
    # an ideograph says as much as a word
    return sum(3 if c >= "\u3040" else 1 for c in text[:_MAX_CHARS] if c.isalpha()) >= _MIN_LETTERS


def detect(text: str) -> str | None:
    """Return the most probable language of ``text``, ISO 639-1; None with fewer than 20 letters.

    Raises:
        UsageError: py3langid is not installed.
    """
    return str(_identifier(()).rank(clean(text))[0][0]) if _enough(text) else None
