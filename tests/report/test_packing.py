"""Columns as bytes: what goes in comes out, in as few bytes as the numbers need."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pytest_llmwatch.report.packing import Columns


def read(packed: str) -> tuple[Any, bytes]:
    data = gzip.decompress(base64.b64decode(packed))
    end = 4 + int.from_bytes(data[:4], "little")
    return json.loads(data[4:end]), data[end:]


def numbers(values: list[int | None]) -> tuple[Any, list[int | None]]:
    out = Columns()
    spec, data = read(out.pack(out.numbers(values)))
    if not isinstance(spec, list):
        return spec, [spec] * len(values)
    at, width, least, unit = spec
    raw = [
        int.from_bytes(data[at + row : at + width * len(values) : len(values)], "little")
        for row in range(len(values))
    ]
    return spec, [None if v == 256**width - 1 else least + unit * v for v in raw]


@given(st.lists(st.none() | st.integers(-(2**46), 2**46), min_size=1, max_size=40))
def test_numbers_come_out_as_they_went_in(values: list[int | None]) -> None:
    assert numbers(values)[1] == values


def test_numbers_take_the_bytes_they_need() -> None:
    assert numbers([7, 7, 7])[0] == 7, "one value stands in the header"
    assert numbers([None, None])[0] is None
    assert numbers([0, 1, 254])[0][1] == 1
    assert numbers([0, 1, 255])[0][1] == 2, "the highest is what says that nothing is known"
    assert numbers([1_000_000, None, 1_254_000])[0] == [0, 1, 1_000_000, 254_000]
    assert numbers([219_000, 234_000, 292_000])[0][1:] == [1, 219_000, 1_000]


def test_a_number_beyond_all_others_is_kept_coarsely() -> None:
    huge = 10**300
    _, (low, high, none) = numbers([3, huge, None])
    assert low == 3
    assert high is not None
    assert abs(high - huge) <= huge * 1e-12
    assert none is None


def test_texts_are_coded_and_none_has_no_place() -> None:
    out = Columns()
    (texts, (at, width)), data = read(out.pack(out.codes(["b", None, "a", "b"])))
    assert texts == ["b", "a"]
    assert width == 1
    assert list(data[at : at + 4]) == [0, 2, 1, 0]
    assert out.codes(["a", "a"]) == [["a"], 0]
    assert out.codes([None]) == [[], -1]
    many = [str(i) for i in range(300)]
    assert out.codes(many)[1][1] == 2


def test_ids_are_bytes_where_they_are_hexadecimal() -> None:
    out = Columns()
    spec, data = read(out.pack(out.ids(["00ff", "beef"])))
    assert data[spec["at"] :] == b"\x00\xff\xbe\xef"
    assert spec["size"] == 2
    for ids in (["c-01", "c-02"], ["abc", "def"], ["ab", "abcd"], ["AB", "CD"]):
        assert out.ids(ids) == ids
