"""Groundedness by an entailment model: an ONNX file of the user's, run in process."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.extras import load
from pytest_llmwatch.scorers.grounding import documents
from pytest_llmwatch.scorers.minilm import session
from pytest_llmwatch.scorers.options import option
from pytest_llmwatch.scorers.sentences import sentences
from pytest_llmwatch.scorers.words import content_words, stem

_NAME = "groundedness_nli"
_PREMISE_WORDS = 150
"""Words of context that a sentence is held against at a time."""
_MAX_SENTENCES = 200
_MAX_CHARS = 400_000
_BATCH = 8


@dataclass(frozen=True, slots=True)
class Premise:
    """A stretch of the context."""

    document: int
    start: int
    end: int
    text: str
    stems: frozenset[str]


class Entailment:
    """A model for pairs of texts, its tokenizer, and which of its outputs means entailment."""

    def __init__(self, model: str, tokenizer: str | None, entailment: int | None, max_tokens: int) -> None:
        """Load both files.

        Raises:
            UsageError: A file is missing or none of its kind, or which label means entailment is not known.
        """
        path = Path(model).expanduser()
        beside = Path(tokenizer).expanduser() if tokenizer else path.with_name("tokenizer.json")
        for file, what in ((path, "model"), (beside, "tokenizer")):
            if not file.is_file():
                raise UsageError(
                    f"scorer {_NAME}: no {what} {file}; give the path of a file ({what}: ...)", slug="scorer-model"
                )
        try:
            self._tokenizer = load("tokenizers", _NAME).Tokenizer.from_file(str(beside))
        except Exception as error:  # its exceptions are bare Exception
            if isinstance(error, UsageError):
                raise
            raise UsageError(
                f"scorer {_NAME} cannot read the tokenizer {beside} ({error}); give a tokenizer.json",
                slug="scorer-model",
            ) from error
        self._tokenizer.enable_truncation(max_tokens, strategy="only_first")
        self._tokenizer.no_padding()
        self._session = session(path, _NAME)
        self._inputs = {given.name for given in self._session.get_inputs()}
        self._label = entailment if entailment is not None else _label(path.with_name("config.json"))

    def probabilities(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Return for each (premise, hypothesis) the probability of entailment.

        One output is a logit, several are logits of labels.

        Raises:
            UsageError: The model has no output for the label (``scorer-model``).
        """
        encoded = [self._tokenizer.encode(*pair) for pair in pairs]
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i].ids))
        found = [0.0] * len(encoded)
        for low in range(0, len(order), _BATCH):
            chosen = order[low : low + _BATCH]
            for i, value in zip(chosen, self._run([encoded[i] for i in chosen]), strict=True):
                found[i] = value
        return found

    def _run(self, batch: Sequence[Any]) -> list[float]:
        width = max(len(one.ids) for one in batch)
        arrays = {
            name: np.zeros((len(batch), width), np.int64)
            for name in ("input_ids", "attention_mask", "token_type_ids")
        }
        for i, one in enumerate(batch):
            n = len(one.ids)
            arrays["input_ids"][i, :n] = one.ids
            arrays["attention_mask"][i, :n] = 1
            arrays["token_type_ids"][i, :n] = one.type_ids
        logits = self._session.run(None, {k: v for k, v in arrays.items() if k in self._inputs})[0]
        return _probability(np.asarray(logits, np.float64).reshape(len(batch), -1), self._label)


def _probability(logits: NDArray[np.float64], label: int | None) -> list[float]:
    if logits.shape[1] == 1:
        return [float(v) for v in 1 / (1 + np.exp(-logits[:, 0].clip(-700, 700)))]
    if label is None or label >= logits.shape[1]:
        raise UsageError(
            f"scorer {_NAME}: which of the model's {logits.shape[1]} outputs means entailment is not known "
            f"(got {label}); give entailment: its number from 0, or put the model's config.json beside it",
            slug="scorer-model",
        )
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return [float(v) for v in powers[:, label] / powers.sum(axis=1)]


def _label(config: Path) -> int | None:
    """Return the number of the label that begins with "entail" (or is "consistent") in a config.json."""
    try:
        known = json.loads(config.read_text("utf-8"))["id2label"]
        return next(int(i) for i, label in known.items() if str(label).lower().startswith(("entail", "consist")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
        return None


@functools.lru_cache(maxsize=4)
def _loaded(model: str, tokenizer: str | None, entailment: int | None, max_tokens: int) -> Entailment:
    return Entailment(model, tokenizer, entailment, max_tokens)


@dataclass(frozen=True, slots=True)
class GroundednessNli(Base):
    """Mean over the answer's sentences of how probably the context entails them, by an entailment model of yours.

    Each sentence is held against the ``premises`` stretches of context that share most words with it; the best
    counts (as SummaC's zero-shot variant, Laban et al., 2022). The model is an ONNX file that takes ``input_ids``,
    ``attention_mask`` and, if it likes, ``token_type_ids``, and returns logits. It is as good as the model is:
    measure it on answers of yours before it may gate.

    Raises:
        UsageError: The extra ``nli`` (onnxruntime, tokenizers) is not installed, or the files are not usable.
    """

    name = _NAME

    model: str | None = option("text")
    """Path of the ONNX file."""
    tokenizer: str | None = option("text")
    """Path of its tokenizer.json; by default the one beside the model."""
    entailment: int | None = option("count")
    """Number of the output that means entailment; by default as the config.json beside the model says."""
    premises: int = option("count", 3)
    max_tokens: int = option("count", 512)

    def __post_init__(self) -> None:
        if self.premises < 1 or self.max_tokens < 16:
            raise ValueError(f"premises must be >= 1, max_tokens >= 16 (got {self.premises}, {self.max_tokens})")
        if self.model:
            self._entailment()

    @property
    def version(self) -> str:  # type: ignore[override]
        """``1-`` and the model's file name: another model is another measure."""
        return f"1-{Path(self.model or '').name}"

    def _entailment(self) -> Entailment:
        return _loaded(self.model or "", self.tokenizer, self.entailment, self.max_tokens)

    def applies(self, output: Output, case: Case) -> bool:
        """Return False: it is asked for by name."""
        return False

    def score(self, output: Output, case: Case) -> Score:
        """Hold each sentence against the context; the least entailed come first, with the best stretch."""
        if not self.model:
            return self.not_assessable(
                "No model: give model, the path of an ONNX entailment model (none is shipped)."
            )
        given = documents(case)
        if not given:
            return self.not_assessable("No context and no reference to compare with.")
        stretches = _premises(given)
        said = [span for span in sentences(output.text[:_MAX_CHARS]) if content_words(output.text[slice(*span)])]
        said = said[:_MAX_SENTENCES]
        if not said or not stretches:
            return self.not_assessable("The answer or the context has no content words.")
        pairs, of = [], []
        for i, (start, end) in enumerate(said):
            text = output.text[start:end]
            for premise in _nearest(text, stretches, self.premises):
                pairs.append((premise, text))
                of.append(i)
        values = self._entailment().probabilities([(p.text, text) for p, text in pairs])
        best: dict[int, tuple[float, Premise]] = {}
        for i, (premise, _text), value in zip(of, pairs, values, strict=True):
            if i not in best or value > best[i][0]:
                best[i] = (value, premise)
        mean = sum(value for value, _ in best.values()) / len(best)
        evidence = _evidence(output.text, said, best, inside=bool(case.context))
        weak = sum(value < 0.5 for value, _ in best.values())
        return self.result(
            mean,
            f"Mean entailment {mean:.2f}; {weak} of {len(said)} sentence{'s' if len(said) != 1 else ''} below .5.",
            evidence,
        )


def _evidence(
    text: str, said: Sequence[tuple[int, int]], best: dict[int, tuple[float, Premise]], *, inside: bool
) -> list[Evidence]:
    out = []
    for i, (value, premise) in sorted(best.items(), key=lambda item: item[1][0]):
        if value >= 0.5:
            break
        start, end = said[i]
        out.append(Evidence("unsupported", text[start:end], start=start, end=end, note=f"entailment {value:.2f}"))
        if inside:
            out.append(
                Evidence("support", premise.text, "context", premise.start, premise.end, document=premise.document)
            )
        else:
            out.append(Evidence("support", premise.text, where="item", note="in the reference"))
    return out


def _premises(given: Sequence[str]) -> list[Premise]:
    out: list[Premise] = []
    for number, text in enumerate(given):
        start: int | None = None
        words = 0
        spans = sentences(text[:_MAX_CHARS])
        for i, (low, high) in enumerate(spans):
            start = low if start is None else start
            words += text.count(" ", low, high) + 1
            if words >= _PREMISE_WORDS or i == len(spans) - 1:
                piece = text[start:high]
                out.append(Premise(number, start, high, piece, frozenset(map(stem, content_words(piece)))))
                start, words = None, 0
    return out


def _nearest(text: str, stretches: Sequence[Premise], n: int) -> list[Premise]:
    """Return the ``n`` stretches that share most content words with ``text``."""
    wanted = set(map(stem, content_words(text)))
    return sorted(stretches, key=lambda premise: -len(wanted & premise.stems))[:n]
