"""Retrieval: were the right documents found, in good order, and were they used. By id, or by likeness of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.extras import load
from pytest_llmwatch.scorers.matching import normalise
from pytest_llmwatch.scorers.options import option
from pytest_llmwatch.scorers.words import content_words, stem

_MAX_DOCUMENTS = 200
_MAX_CHARS = 20_000


class OfDocuments(Base):
    """Marks which retrieved documents are relevant, and which expected ones were found."""

    __slots__ = ()

    by: str
    similar: float
    k: int | None
    documents: Sequence[str] | str | None

    def applies(self, output: Output, case: Case) -> bool:
        """Return False: budgets measure retrieval over the run; in a set these are asked for by name."""
        return False

    def expected(self, case: Case) -> list[str]:
        """Return the documents that should be found: the option's, else the case's."""
        given = self.documents if self.documents is not None else case.expected_documents
        return list(dict.fromkeys([given] if isinstance(given, str) else given or ()))[:_MAX_DOCUMENTS]

    def score(self, output: Output, case: Case) -> Score:
        """Match the documents; expected ones that were not found are evidence."""
        if self.documents is None and case.expected_documents is None:
            return self.not_assessable("The case does not say which documents are expected.")
        asked = self.expected(case)
        made = list(dict.fromkeys(output.retrieved or (case.context if self.by == "text" else ())))
        made = made[: self.k or _MAX_DOCUMENTS]
        if not asked:
            return self.not_assessable("No document is expected: there is nothing to find.")
        hits, found = self._matched(made, asked)
        evidence = [Evidence("missing", d[:200], where="item") for j, d in enumerate(asked) if j not in found]
        evidence += [Evidence("found", d[:200], where="item") for d, hit in zip(made, hits, strict=True) if hit]
        said = f"{len(found)} of {len(asked)} expected documents among {len(made)} retrieved."
        return self.result(self.value(hits, len(found), len(asked)), said, evidence)

    def _matched(self, made: list[str], asked: list[str]) -> tuple[list[bool], set[int]]:
        if self.by == "id":
            places = {d: j for j, d in enumerate(asked)}
            return [d in places for d in made], {places[d] for d in made if d in places}
        likeness = load("rapidfuzz.distance", self.name).Levenshtein.normalized_similarity
        hits, found = [], set()
        texts = [normalise(d[:_MAX_CHARS]).text.strip() for d in asked]
        for one in (normalise(d[:_MAX_CHARS]).text.strip() for d in made):
            like = {j for j, t in enumerate(texts) if likeness(one, t, score_cutoff=self.similar) >= self.similar}
            hits.append(bool(like))
            found |= like
        return hits, found

    def value(self, hits: list[bool], found: int, asked: int) -> float:
        """Return the figure: ``hits`` in order of rank, ``found`` of ``asked`` expected documents."""
        return found / asked


def _check_by(scorer: OfDocuments) -> None:
    if scorer.k == 0:
        raise ValueError("k must be at least 1 (got 0)")
    if scorer.by == "text":
        load("rapidfuzz.distance", scorer.name)


@dataclass(frozen=True, slots=True)
class ContextRecall(OfDocuments):
    """Share of the expected documents that were retrieved, by ``id``, or by ``text`` (edit similarity).

    Raises:
        UsageError: ``by: text`` without rapidfuzz.
    """

    name = "context_recall"

    by: str = option(("id", "text"), "id")
    similar: float = option("share", 0.5)
    """Edit similarity from which two texts are the same document."""
    k: int | None = option("count")
    """Only the first k retrieved documents count."""
    documents: Sequence[str] | str | None = option("texts")
    """Expected documents; None = the case's ``expected_documents``."""

    def __post_init__(self) -> None:
        _check_by(self)


@dataclass(frozen=True, slots=True)
class ContextPrecision(ContextRecall):
    """How many of the retrieved documents are expected ones: the share, or ``ranked`` the mean precision at hits.

    ``ranked`` is ragas' context precision (average precision): good documents first count more. Nothing retrieved
    is 0.
    """

    name = "context_precision"

    ranked: bool = option("flag", False)

    def value(self, hits: list[bool], found: int, asked: int) -> float:
        """Return precision, or average precision."""
        if not any(hits):
            return 0.0
        if not self.ranked:
            return sum(hits) / len(hits)
        at = [sum(hits[: i + 1]) / (i + 1) for i, hit in enumerate(hits) if hit]
        return sum(at) / len(at)


@dataclass(frozen=True, slots=True)
class HitRate(ContextRecall):
    """1 where at least one expected document was retrieved (among the first ``k``), else 0."""

    name = "context_hit_rate"

    def value(self, hits: list[bool], found: int, asked: int) -> float:
        """Return whether there is a hit."""
        return float(any(hits))


@dataclass(frozen=True, slots=True)
class Mrr(ContextRecall):
    """Reciprocal rank of the first expected document: 1 first, 0.5 second, 0 not retrieved."""

    name = "context_mrr"

    def value(self, hits: list[bool], found: int, asked: int) -> float:
        """Return 1 / rank."""
        return 1 / (hits.index(True) + 1) if any(hits) else 0.0


@dataclass(frozen=True, slots=True)
class Ndcg(ContextRecall):
    """nDCG with relevance 0 or 1 (Järvelin and Kekäläinen, 2002): 1 = all expected documents, first of all."""

    name = "context_ndcg"

    def value(self, hits: list[bool], found: int, asked: int) -> float:
        """Return DCG over that of the best order."""
        gain = sum(1 / math.log2(i + 2) for i, hit in enumerate(hits) if hit)
        best = sum(1 / math.log2(i + 2) for i in range(min(max(asked, sum(hits)), max(1, len(hits)))))
        return gain / best


@dataclass(frozen=True, slots=True)
class ContextUse(Base):
    """Share of the context documents that the answer takes up: ``share`` of their content words, by stem.

    It tells retrieved ballast from what was used. A document that was used in other words counts as not used.
    """

    name = "context_use"

    share: float = option("share", 0.2)

    def applies(self, output: Output, case: Case) -> bool:
        """Return False: unused documents are often no fault."""
        return False

    def score(self, output: Output, case: Case) -> Score:
        """Compare each document; unused ones are evidence."""
        documents = [
            d for d in (case.context or output.retrieved)[:_MAX_DOCUMENTS] if content_words(d[:_MAX_CHARS])
        ]
        if not documents:
            return self.not_assessable("There is no context.")
        made = {stem(word) for word in content_words(output.text[:_MAX_CHARS])}
        unused = []
        for document in documents:
            words = {stem(word) for word in content_words(document[:_MAX_CHARS])}
            if len(words & made) < self.share * len(words):
                unused.append(Evidence("unused", document[:200], where="item"))
        n = len(documents)
        return self.result(1 - len(unused) / n, f"{n - len(unused)} of {n} documents are taken up.", unused)
