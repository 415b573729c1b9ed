"""Groundedness by an ONNX model of the user's: a real graph, built here, whose answer can be computed by hand.

The graph takes what an entailment model takes and returns the logits of two labels: for entailment ten times the
share of the second text's tokens that occur in the first, less five; for the other label 0.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import tokenizers
from onnx import TensorProto, helper, numpy_helper

from pytest_llmwatch import scorers
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.model import Case, Output, Score

CONTEXT = ("the lamp costs 49 euros and is made in bremen .", "returns are free within 30 days .")
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    *sorted({w for text in CONTEXT for w in text.split()}),
    "sold",
    "rome",
]


def constant(name: str, value: object, kind: type = np.int64) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value, kind), name)


def graph(labels: int) -> onnx.ModelProto:
    node = helper.make_node
    nodes = [
        node("Greater", ["input_ids", "last_special"], ["is_word"]),
        node("Cast", ["is_word"], ["word"], to=TensorProto.FLOAT),
        node("Cast", ["token_type_ids"], ["second"], to=TensorProto.FLOAT),
        node("Sub", ["one", "second"], ["first"]),
        node("Mul", ["first", "word"], ["premise"]),
        node("Mul", ["second", "word"], ["hypothesis"]),
        node("Unsqueeze", ["input_ids", "axis2"], ["column"]),
        node("Unsqueeze", ["input_ids", "axis1"], ["row"]),
        node("Equal", ["column", "row"], ["same"]),
        node("Cast", ["same"], ["equal"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["premise", "axis1"], ["premise_row"]),
        node("Mul", ["equal", "premise_row"], ["hits"]),
        node("ReduceMax", ["hits", "axis2"], ["hit"], keepdims=0),
        node("Mul", ["hit", "hypothesis"], ["known"]),
        node("ReduceSum", ["known", "axis1"], ["n_known"], keepdims=1),
        node("ReduceSum", ["hypothesis", "axis1"], ["n"], keepdims=1),
        node("Div", ["n_known", "n"], ["share"]),
        node("Mul", ["share", "ten"], ["scaled"]),
        node("Sub", ["scaled", "five"], ["entailed"]),
        node("Sub", ["entailed", "entailed"], ["other"]),
        node("Concat", ["other", "entailed"][2 - labels :], ["logits"], axis=1),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    made = helper.make_graph(
        nodes,
        "overlap",
        inputs,
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", labels])],
        [
            constant("last_special", 3),
            constant("axis1", [1]),
            constant("axis2", [2]),
            constant("one", 1.0, np.float32),
            constant("ten", 10.0, np.float32),
            constant("five", 5.0, np.float32),
        ],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    known = tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(known)
    tokenizer.normalizer = tokenizers.normalizers.Lowercase()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.save(str(path / "tokenizer.json"))
    onnx.save(graph(2), str(path / "model.onnx"))
    onnx.save(graph(1), str(path / "logit.onnx"))
    (path / "config.json").write_text(
        json.dumps({"id2label": {"0": "not_entailment", "1": "entailment"}}), "utf-8"
    )
    return path


def scored(folder: Path, text: str, context: tuple[str, ...] = CONTEXT, **options: object) -> Score:
    scorer = scorers.get("groundedness_nli", {"model": str(folder / "model.onnx"), **options})
    return scorer.score(Output(text), Case("c", context=context))


def sigmoid(share: float) -> float:
    return 1 / (1 + math.exp(5 - 10 * share))


def test_each_sentence_is_held_against_the_best_stretch(folder: Path) -> None:
    found = scored(folder, "The lamp costs 49 euros. Returns are sold in rome.")
    # "the lamp costs 49 euros ." has 6 of 6 tokens in a document; "returns are sold in rome ." has at most 3 of 6
    assert found.value == pytest.approx((sigmoid(6 / 6) + sigmoid(3 / 6)) / 2, abs=1e-4)
    assert scored(folder, "The lamp costs 49 euros.").value == pytest.approx(sigmoid(1), abs=1e-4)


def test_what_is_not_entailed_is_evidence_with_the_stretch(folder: Path) -> None:
    text = "The lamp costs 49 euros. Rome sold rome."
    found = scored(folder, text)
    unsupported, support = found.evidence
    assert (unsupported.kind, unsupported.text) == ("unsupported", "Rome sold rome.")
    assert text[unsupported.start : unsupported.end] == unsupported.text
    assert support.document is not None
    assert CONTEXT[support.document][support.start : support.end] == support.text
    assert "1 of 2 sentences below .5" in found.explanation


def test_one_output_is_a_logit_and_the_label_can_be_given(folder: Path) -> None:
    two = scored(folder, "Lamp sold rome.", entailment=1).value
    assert two == pytest.approx(sigmoid(2 / 4), abs=1e-4)
    # the stretch that speaks most for the label counts: here the one with only the full stop
    assert scored(folder, "Lamp sold rome.", entailment=0).value == pytest.approx(1 - sigmoid(1 / 4), abs=1e-4)
    one = scored(folder, "Lamp sold rome.", model=str(folder / "logit.onnx")).value
    assert one == pytest.approx(sigmoid(2 / 4), abs=1e-4)


def test_long_contexts_and_answers_are_read_in_batches(folder: Path) -> None:
    context = (" ".join(["the lamp costs 49 euros ."] * 300), "returns are free within 30 days .")
    found = scored(folder, "Returns are free within 30 days. The lamp costs 49 euros.\n" * 20, context)
    assert found.value == pytest.approx(sigmoid(1), abs=1e-3)


def test_without_context_the_reference_counts_and_without_both_nothing_is_said(folder: Path) -> None:
    scorer = scorers.get("groundedness_nli", {"model": str(folder / "model.onnx")})
    found = scorer.score(Output("Rome sold rome."), Case("c", reference="the lamp costs 49 euros ."))
    assert found.value is not None
    assert {e.where for e in found.evidence} == {"output", "item"}
    assert scorer.score(Output("A lamp."), Case("c")).label == "not_assessable"
    assert scorer.score(Output(""), Case("c", context=CONTEXT)).label == "not_assessable"


def test_the_version_names_the_model(folder: Path) -> None:
    assert scored(folder, "A lamp.").version == "1-model.onnx"


def test_what_is_wrong_with_the_files_is_said(folder: Path, tmp_path: Path) -> None:
    def refused(match: str, **options: object) -> None:
        with pytest.raises(UsageError, match=match):
            scorers.get("groundedness_nli", options)

    without = scorers.get("groundedness_nli").score(Output("A lamp."), Case("c", context=CONTEXT))
    assert (without.value, without.label) == (None, "not_assessable")
    assert "give model, the path of an ONNX entailment model" in without.explanation
    refused("no model .*nowhere.onnx; give the path", model=str(tmp_path / "nowhere.onnx"))
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    refused("no tokenizer", model=str(tmp_path / "bad.onnx"))
    tokenizer = str(folder / "tokenizer.json")
    refused("cannot open the model", model=str(tmp_path / "bad.onnx"), tokenizer=tokenizer)
    (tmp_path / "tokenizer.json").write_text("{}", "utf-8")
    refused(
        "cannot read the tokenizer", model=str(folder / "model.onnx"), tokenizer=str(tmp_path / "tokenizer.json")
    )
    refused("premises must be >= 1", model=str(folder / "model.onnx"), premises=0)
    onnx.save(graph(2), str(tmp_path / "alone.onnx"))
    alone = scorers.get("groundedness_nli", {"model": str(tmp_path / "alone.onnx"), "tokenizer": tokenizer})
    with pytest.raises(UsageError, match="which of the model's 2 outputs means entailment is not known"):
        alone.score(Output("A lamp."), Case("c", context=CONTEXT))
