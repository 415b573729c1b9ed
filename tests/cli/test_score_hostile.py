"""Hostile logs through ``llmwatch score``: each line is scored, or refused and named, and the rest goes on."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_llmwatch.cli import main
from pytest_llmwatch.pipeline_score import Job, LineScorer, chunks, numbered
from pytest_llmwatch.scorers import registry

LAUGHS = (
    '<!DOCTYPE l [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {n} "{f"&{m};" * 10}">' for m, n in zip("abcdefgh", "bcdefghi", strict=True))
    + "]><l>&i;</l>"
)
SCRIPTS = [
    "東京でランプは四十九ユーロです。", "灯在东京卖四十九欧元。", "램프는 49유로입니다.", "โคมไฟราคา ๔๙ ยูโร",
    "المصباح بـ ٤٩ يورو", "המנורה עולה 49 אירו", "लैंप की कीमत ४९ यूरो है।", "Лампа стоит 49 евро.",
    "Η λάμπα κοστίζει 49 ευρώ.", "ランプ\u200bは", "𝕿𝖍𝖊 lamp", "\U0001f9d1\u200d\U0001f52c 49 €",
    "e\u0301\u0301\u0301", "\u202eecilop", "ლამპა", "ṭ̤̈", "ꓡꓮꓟꓑ", "ಲ್ಯಾಂಪ್", "የመብራት ዋጋ", "ទំនិញ",
    "မီးအိမ်", "\ufdd0\uffff",
]  # fmt: skip
ANSWERS: list[str] = [
    *SCRIPTS,
    LAUGHS,
    "[" * 50_000,
    '{"a":' * 5_000 + "1" + "}" * 5_000,
    "a\x00b\x00",
    "half a pair \ud83d and \udc00",
    "a" * 3_000 + "!",
    "9" * 10_000,
    "```json\n" * 500,
    "\u2028\u2029\x85",
    "",
    " \t\n",
    "\ufeff",
    "= " * 5_000,
    "<p>" * 5_000,
    "SELECT " * 2_000,
    "&" * 5_000,
]
OPTIONS: tuple[tuple[str, str, Any], ...] = (
    ("regex", "pattern", "(a+)+$"),
    ("regex", "timeout", 0.2),
    ("policy", "patterns", ["(a|aa)+$"]),
    ("policy", "timeout", 0.2),
    ("length", "max_words", 3),
    ("contains", "any", ["lamp"]),
    ("starts_with", "value", "a"),
    ("ends_with", "value", "a"),
    ("json_fields", "fields", ["a.a"]),
    ("json_diff", "value", {"a": 1}),
    ("data_compare", "value", "a,b\n1,2"),
    ("prompt_leak", "prompt", "a b c d e f"),
    ("language", "languages", "en"),
    ("step_count", "max", 1),
    ("tool_used", "tools", "f"),
    ("any_of", "members", ["json", "xml"]),
    ("k_of", "members", ["json", "xml"]),
    ("k_of", "k", 1),
    ("all_of", "members", ["json", "yaml"]),
    ("derived", "formula", "json / 2"),
)
_ASKS_A_MODEL = {name for name, (module, _) in registry.BUILTIN.items() if module.startswith("judge")}
_TAKES_A_FILE = {"function", *registry.MODELS}
NAMES = tuple(n for n in registry.BUILTIN if n not in _ASKS_A_MODEL | _TAKES_A_FILE)


@pytest.fixture(scope="module")
def every() -> LineScorer:
    """Every scorer that needs neither a model nor a user's file, with options that are as hostile as users are."""
    return LineScorer(Job("log", scorers=NAMES, options=OPTIONS))


@pytest.fixture(scope="module")
def one() -> LineScorer:
    return LineScorer(Job("log", scorers=("json",)))


def lines(scorer: LineScorer, raw: bytes) -> Iterator[dict[str, Any]]:
    for chunk in chunks(numbered(io.BytesIO(raw))):
        data, _ = scorer.chunk(chunk)
        yield from map(json.loads, data.decode("utf-8").splitlines())


def sound(row: dict[str, Any], text: str, context: tuple[str, ...] = ()) -> list[str]:
    """Return what is wrong with the scores of a line."""
    wrong = []
    for name, score in row["scores"].items():
        value, label = score["value"], score["label"]
        if value is None and label not in ("not_assessable", "unscored", "error"):
            wrong.append(f"{name}: no value and label {label!r}")
        if value is not None and not 0 <= value <= 1:
            wrong.append(f"{name}: {value}")
        if label == "error" and "TimeoutError" not in score["explanation"]:
            wrong.append(f"{name}: {score['explanation']}")
        for e in score["evidence"]:
            whole = text if e["where"] == "output" else context[e.get("document", 0)] if context else None
            if e["where"] != "item" and (whole is None or whole[e["start"] : e["end"]] != e["text"]):
                wrong.append(f"{name}: a span that is not there, {e}")
    return wrong


@pytest.mark.parametrize("at", range(len(ANSWERS)))
def test_every_scorer_answers_a_hostile_line(every: LineScorer, at: int) -> None:
    text = ANSWERS[at]
    plain = "The lamp costs 49 euros."
    rows = [
        {"id": "answered", "input": plain, "output": text, "context": [plain], "reference": plain},
        {
            "id": "asked",
            "input": text,
            "output": plain,
            "context": [text],
            "reference": text,
            "must_mention": [text],
        },
    ]
    raw = "".join(json.dumps(row) + "\n" for row in rows).encode()
    answered, asked = lines(every, raw)
    assert (answered["id"], asked["id"]) == ("answered", "asked")
    assert set(answered["scores"]) == set(NAMES)
    assert sound(answered, text, (plain,)) == []
    assert sound(asked, plain, (text,)) == []


def test_ten_megabytes_are_scored_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "The lamp of Ada costs 49 euros in Paris. " * 10_000
    rows = [
        {"id": "prose", "input": "Which lamp?", "output": words, "context": "The lamp costs 49 euros."},
        {"id": "numbers", "output": json.dumps(list(range(60_000)))},
        {"id": "one word", "output": "a" * 10_000_000},
        {"id": "after", "output": "The lamp."},
    ]
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["score", str(log), "--scorers", "json,groundedness,relevance,refusal,pii"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["id"] for row in found] == ["prose", "numbers", "one word", "after"]
    assert found[1]["scores"]["json"]["value"] == 1.0
    for row, made in zip(found, rows, strict=True):
        assert sound(row, made["output"], ("The lamp costs 49 euros.",)) == []


def test_a_pattern_that_never_ends_is_an_error_of_its_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps({"id": 1, "output": "a" * 5_000 + "!"}) + "\n" + '{"id": 2, "output": "aa"}\n')
    args = ["--option", "regex.pattern=(a|aa)+$", "--option", "regex.timeout=0.1", "--option", "json.extract=true"]
    assert main(["score", str(log), *args]) == 0
    said = capsys.readouterr()
    first, second = map(json.loads, said.out.splitlines())
    assert first["scores"]["regex"]["label"] == "error"
    assert "took longer than 0.1 s" in first["scores"]["regex"]["explanation"]
    assert first["scores"]["json"]["value"] == 0.0
    assert second["scores"]["regex"]["value"] == 1.0
    assert "regex failed on 1 record, first on line 1" in said.err


def test_a_line_without_an_end_is_refused_without_being_held() -> None:
    file = io.BytesIO(b'{"id": 1}\n' + b"x" * 5_000 + b"\n" + b'{"id": 3}\n' + b"y" * 2_000)
    assert list(numbered(file, longest=100)) == [(1, b'{"id": 1}\n'), (2, b""), (3, b'{"id": 3}\n'), (4, b"")]
    exact = io.BytesIO(b"z" * 100 + b"\n" + b"z" * 101 + b"\n" + b"w")
    assert [(n, len(raw)) for n, raw in numbered(exact, longest=100)] == [(1, 101), (2, 0), (3, 1)]
    data, tally = LineScorer(Job("log", scorers=("json",))).chunk([(7, b"")])
    assert "longer than" in json.loads(data)["error"]
    assert (tally.lines, tally.bad) == (1, 1)


PIECES = st.sampled_from(
    [
        *SCRIPTS,
        "lamp",
        "49.90",
        "not",
        ". ",
        "\n",
        '"',
        "{",
        "}",
        "[",
        "```",
        "\\",
        "\x00",
        "\ud800",
        "%s",
        "<a>",
        "|",
    ]
)
TEXT = st.text(max_size=60) | st.lists(PIECES, max_size=20).map("".join)
ROW = st.fixed_dictionaries(
    {"output": st.none() | TEXT},
    optional={
        "id": st.integers() | TEXT,
        "case": TEXT,
        "input": TEXT | st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": TEXT}), max_size=2),
        "context": TEXT | st.lists(TEXT, max_size=2),
        "reference": TEXT,
        "must_mention": st.lists(TEXT, max_size=2),
        "must_not_mention": st.lists(TEXT, max_size=2),
        "schema": st.sampled_from([{"type": "object"}, True, {"type": 5}, "{}", {"$ref": "#"}]),
        "tool_calls": st.lists(st.fixed_dictionaries({"name": TEXT, "arguments": TEXT}), max_size=2),
        "expected_tool_calls": st.lists(st.fixed_dictionaries({"name": TEXT.filter(bool)}), max_size=2),
        "retrieved": st.lists(TEXT, max_size=2),
        "expected_documents": st.lists(TEXT, max_size=2),
        "finish_reason": TEXT,
        "metadata": st.just({"baseline_words": 3}),
    },
)


@settings(max_examples=100, deadline=None)
@given(row=ROW)
def test_whatever_a_record_says_every_scorer_is_sound(every: LineScorer, row: dict[str, Any]) -> None:
    (found,) = lines(every, json.dumps(row).encode() + b"\n")
    context = row.get("context", ())
    texts = (context,) if isinstance(context, str) else tuple(context)
    assert sound(found, row["output"] or "", texts) == []
    assert set(found["scores"]) == set(NAMES)


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.binary(max_size=30) | ROW.map(lambda r: json.dumps(r).encode()), max_size=8))
def test_one_line_out_for_each_line_in(one: LineScorer, rows: list[bytes]) -> None:
    raw = b"\n".join(rows)
    found = list(lines(one, raw))
    given_lines = [(n, line) for n, line in enumerate(raw.split(b"\n"), start=1) if line and not line.isspace()]
    assert len(found) == len(given_lines)
    for row, (number, _) in zip(found, given_lines, strict=True):
        assert "error" not in row or row["id"] == number
        assert list(row["scores"]) == ["json"]
