"""Texts and evidence: cut and marked on code points, controls visible."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_llmwatch.model import Evidence
from pytest_llmwatch.report.text import CONTROL, locate, mark, one_line, visible, window

spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 5)), max_size=6)


@given(st.text(max_size=60), spans)
def test_marking_loses_no_character(text: str, raw: list[tuple[int, int, int]]) -> None:
    inside = [(s, e, i) for s, e, i in raw if 0 <= s < e <= len(text)]
    pieces = mark(text, inside)
    assert "".join(p.text for p in pieces) == text
    place = 0
    for piece in pieces:
        covering = {i for s, e, i in inside if s <= place < e}
        assert set(piece.marks) == (covering if piece.text else set(piece.marks))
        place += len(piece.text)


@given(st.text(max_size=400), st.integers(1, 100), spans)
def test_a_window_has_its_size_and_counts_the_rest(text: str, size: int, raw: list[tuple[int, int, int]]) -> None:
    inside = [(s, e, i) for s, e, i in raw if 0 <= s < e <= len(text)]
    cut = window(text, inside, size)
    shown = "".join(p.text for p in cut.pieces)
    assert len(shown) <= size
    assert cut.before + len(shown) + cut.after == len(text)
    assert text[cut.before : cut.before + len(shown)] == shown


def test_a_window_shows_the_first_evidence() -> None:
    text = "a" * 5000 + "WRONG" + "b" * 5000
    cut = window(text, [(5000, 5005, 0)], 400)
    assert [p.text for p in cut.pieces if p.marks] == ["WRONG"]
    assert cut.before > 0
    assert cut.after > 0


@given(st.text(max_size=200))
def test_visible_text_holds_no_control_character(text: str) -> None:
    assert not CONTROL.search(visible(text))
    assert "\n" not in one_line(text)


def test_ordinary_text_is_left_alone() -> None:
    text = "Grüße, 東京 👩‍🚀 — «ok»\n\tindented"
    assert visible(text) == text


def test_evidence_that_does_not_fit_its_text_is_looked_up_or_dropped() -> None:
    moved = Evidence("unsupported", "48 hours", "output", 0, 8)
    gone = Evidence("unsupported", "another text", "output", 0, 12)
    right = Evidence("unsupported", "paid", "output", 0, 4)
    assert locate("paid in 48 hours", [moved, gone, right]) == [(8, 16, 0), (0, 4, 2)]


def test_evidence_in_a_context_belongs_to_its_document() -> None:
    items = [Evidence("support", "ab", "context", 0, 2, document=1)]
    assert locate("abc", items, "context", 0) == []
    assert locate("abc", items, "context", 1) == [(0, 2, 0)]
    assert locate("abc", items) == []
