"""Line numbers of keys, for any TOML that tomllib accepts."""

from __future__ import annotations

import json
import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pytest_llmwatch.budget_positions import key_lines

TRICKY = '''\
# [not.a.table]
[gate]
alpha = 0.01  # a = 1 [x]
[latency]
p95 = { warn = 1, "fail" = "2 s", deep.er = 3 }
"p5\\u0030" = 3
list = [
  1,  # [x]
  { a = "]}" },

  [ { b = 2 } ],
]
text = """x = 1
[y]
\\""" still = 1 ""\\"
"""
raw = \'\'\'
z = 1\'\'\'
last = 'q = 1'
[[waiver]]
rule = "a"
[waiver.sub]
z = 2026-01-01T00:00:00Z
[[waiver]]
rule = "b"
  [ scope . "feature:x" . cost ]
  run_usd = 1
a.b."c.d" = inf
'''


def test_tricky_document() -> None:
    tomllib.loads(TRICKY)
    lines = key_lines(TRICKY)
    text = TRICKY.splitlines()

    def line(*path: str | int) -> str:
        return text[lines[path] - 1].strip()

    assert line("gate") == "[gate]"
    assert line("latency", "p95", "fail").startswith("p95 =")
    assert line("latency", "p95", "deep", "er").startswith("p95 =")
    assert line("latency", "p50").startswith('"p5')
    assert line("latency", "list", 1, "a") == '{ a = "]}" },'
    assert line("latency", "list", 2, 0, "b") == "[ { b = 2 } ],"
    assert line("latency", "last") == "last = 'q = 1'"
    assert line("waiver", 0, "rule") == 'rule = "a"'
    assert line("waiver", 0, "sub", "z").startswith("z =")
    assert line("waiver", 1, "rule") == 'rule = "b"'
    assert line("scope", "feature:x", "cost", "run_usd") == "run_usd = 1"
    assert line("scope", "feature:x", "cost", "a", "b", "c.d") == 'a.b."c.d" = inf'


def test_text_in_strings_and_comments_is_no_key() -> None:
    lines = key_lines(TRICKY)
    assert ("y",) not in lines
    assert ("not",) not in lines
    assert ("latency", "x") not in lines
    assert ("latency", "z") not in lines
    assert not any(path[-1] == "still" for path in lines)


def test_header_wins_over_the_sub_table_that_implied_it() -> None:
    assert key_lines("[a.b]\nx = 1\n\n[a]\ny = 2\n")[("a",)] == 4


def test_windows_line_ends() -> None:
    assert key_lines("[a]\r\n\r\nx = 1\r\n")[("a", "x")] == 3


keys = st.text(min_size=1, max_size=6) | st.sampled_from(
    ["a", "b-c", "feature:x", "x.y", '"', "#", "[", "]]", "="]
)
strings = st.sampled_from(["", "# no", "[t]", "a = 1", 'quo"te', "two\nlines = 1\n[x]", "back\\slash", "'''"])
scalars = st.integers(-5, 5) | st.booleans() | strings
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
tables = st.dictionaries(keys, values, min_size=1, max_size=4)


def _quoted(text: str) -> str:
    # JSON's escapes are TOML's, but for lone surrogates and DEL
    return json.dumps(_normal(text), ensure_ascii=False).replace("\x7f", "\\u007F")


def _write(value: Any, style: int) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        if style % 2 and "\n" in value and "\\" not in value and '"""' not in value:
            return f'"""\n{value}"""'
        if style % 3 == 0 and "'" not in value and "\n" not in value:
            return f"'{value}'"
        return _quoted(value)
    if isinstance(value, list):
        gap = "\n  # [c]\n" if style % 2 else " "
        return f"[{gap}" + f",{gap}".join(_write(v, style) for v in value) + f"{gap}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_quoted(k)} = {_inline(v)}" for k, v in value.items()) + " }"
    return str(value)


def _inline(value: Any) -> str:
    return _write(value, 2)


def _normal(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


@given(st.lists(st.tuples(keys, tables), max_size=4, unique_by=lambda t: _normal(t[0])), st.integers(0, 5))
def test_every_key_is_found_where_it_was_written(document: list[tuple[str, dict[str, Any]]], style: int) -> None:
    text = "# head\n"
    expected: dict[tuple[str | int, ...], int] = {}
    for name, table in document:
        names = {_normal(k): v for k, v in table.items()}
        path: tuple[str | int, ...] = (_normal(name),)
        if style % 2:
            path = (*path, 0)
        expected[path] = text.count("\n") + 1
        text += f"[[{_quoted(name)}]]\n" if style % 2 else f" [ {_quoted(name)} ] # x = 1\n"
        for key, value in names.items():
            expected[(*path, key)] = text.count("\n") + 1
            text += f"{_quoted(key)} = {_write(value, style)}  # [y]\n\n"
    tomllib.loads(text)  # the generator itself must write TOML
    found = key_lines(text)
    assert {path: found.get(path) for path in expected} == expected


@given(st.recursive(scalars, lambda inner: st.dictionaries(keys, inner, min_size=1, max_size=3), max_leaves=8))
def test_inline_tables_hold_every_key_and_no_other(value: Any) -> None:
    text = f"\n\nroot = {_inline(value)}\n"
    data = tomllib.loads(text)

    def paths(item: Any, at: tuple[str, ...]) -> set[tuple[str, ...]]:
        if not isinstance(item, dict):
            return {at}
        return {at} | {p for k, v in item.items() for p in paths(v, (*at, k))}

    assert key_lines(text) == dict.fromkeys(paths(data["root"], ("root",)), 3)
