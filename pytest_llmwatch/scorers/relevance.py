"""Relevance: how much of what was asked about comes up in the answer."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.likeness import COMMON, is_common
from pytest_llmwatch.scorers.words import content_words, stem

_ASKING = "tell explain describe give list name write please answer question help want need know many much"
_QUESTION_WORDS = frozenset(_ASKING.split())
"""Words that say what to do, not what it is about."""


@dataclass(frozen=True, slots=True)
class Relevance(Base):
    """Share of the input's content words (stems, stop words removed) that the answer takes up.

    Stemmed content-word recall, in which words of every other text ("year", "country") weigh .3. It cannot see
    paraphrases: a right answer in one word ("Paris") takes up nothing of its question, so compare it with itself
    over time and over prompts, not with 1.
    """

    name = "relevance"
    version = "2"

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether the input has content words."""
        return bool(content_words(case.input_text() or ""))

    def score(self, output: Output, case: Case) -> Score:
        """Look for each content word of the input; the words left out are evidence."""
        asked = case.input_text()
        if not asked:
            return self.not_assessable("The case has no input.")
        words = list(dict.fromkeys(content_words(asked)))
        telling = [word for word in words if word not in _QUESTION_WORDS] or words
        if not telling:
            return self.not_assessable("The input has no content words.")
        topics: dict[str, str] = {}
        for word in telling:
            topics.setdefault(stem(word), word)
        said = {stem(word) for word in set(content_words(output.text))}
        missing = [word for key, word in topics.items() if key not in said]
        weights = {key: COMMON if is_common(word) or is_common(key) else 1.0 for key, word in topics.items()}
        value = sum(w for key, w in weights.items() if key in said) / sum(weights.values())
        left = f"; not: {', '.join(missing[:8])}{', …' if len(missing) > 8 else ''}" if missing else ""
        return self.result(
            value,
            f"Takes up {len(topics) - len(missing)} of {len(topics)} content words of the input{left}.",
            [Evidence("missing", word, where="item") for word in missing],
        )
