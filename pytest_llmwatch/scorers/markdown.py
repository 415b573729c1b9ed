"""Markdown structure, by markdown-it-py (CommonMark and tables)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.extras import load
from pytest_llmwatch.scorers.options import option

_MAX_CHARS = 100_000
_NODES = {
    "heading_open": "heading",
    "bullet_list_open": "bullet_list",
    "ordered_list_open": "ordered_list",
    "table_open": "table",
    "fence": "code",
    "code_block": "code",
    "blockquote_open": "quote",
    "image": "image",
    "link_open": "link",
    "strong_open": "strong",
    "em_open": "emphasis",
}
KINDS = tuple(dict.fromkeys(_NODES.values()))


@dataclass(frozen=True, slots=True)
class Markdown(Base):
    """Share of the demands on the answer's Markdown structure that are met.

    ``has`` and ``has_not`` name kinds of parts, ``headings`` texts of headings (in this order with ``in_order``),
    ``max_level`` the deepest heading, ``languages`` what code fences must be marked with. Without a demand: that
    headings descend one level at a time, tables have cells in each row, fences are closed.

    Raises:
        UsageError: markdown-it-py is not installed.
        ValueError: An unknown kind of part.
    """

    name = "markdown"

    has: Sequence[str] | str = option("texts", ())
    has_not: Sequence[str] | str = option("texts", ())
    headings: Sequence[str] | str = option("texts", ())
    in_order: bool = option("flag", False)
    max_level: int | None = option("count")
    languages: Sequence[str] | str = option("texts", ())

    def __post_init__(self) -> None:
        load("markdown_it", self.name)
        for kind in (*_list(self.has), *_list(self.has_not)):
            if kind not in KINDS:
                raise ValueError(f"has and has_not know {', '.join(KINDS)} (got {kind!r})")

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether the case asks for Markdown."""
        return (case.format or "").lower() == "markdown"

    def score(self, output: Output, case: Case) -> Score:
        """Check each demand; those that are not met are evidence."""
        if len(output.text) > _MAX_CHARS:
            return self.not_assessable(f"Not judged: {len(output.text):,} characters, at most {_MAX_CHARS:,} are.")
        if not output.text.strip():
            return self.result(0.0, "The answer is empty.")
        tokens = _tokens(output.text, load("markdown_it", self.name))
        checks = list(self._checks(tokens)) or list(_sound(tokens, output.text))
        broken = [said for met, said in checks if not met]
        evidence = [Evidence("format", said, where="item") for said in broken]
        said = f"{len(checks) - len(broken)} of {len(checks)} demands on the Markdown are met"
        return self.result(1 - len(broken) / len(checks), said + (f"; {broken[0]}." if broken else "."), evidence)

    def _checks(self, tokens: Sequence[Any]) -> Iterator[tuple[bool, str]]:
        kinds = {_NODES[t.type] for t in tokens if t.type in _NODES}
        for kind in _list(self.has):
            yield kind in kinds, f"no {kind}"
        for kind in _list(self.has_not):
            yield kind not in kinds, f"a {kind} that should not be there"
        found = _headings(tokens)
        texts = [text for _level, text in found]
        wanted = [text.casefold().strip() for text in _list(self.headings)]
        for text in wanted:
            yield text in texts, f"no heading {text!r}"
        if self.in_order and wanted:
            rest = iter(texts)
            yield all(text in rest for text in wanted), "the headings are in another order"
        if self.max_level is not None:
            deepest = max((level for level, _text in found), default=0)
            yield deepest <= self.max_level, f"a heading of level {deepest}"
        if self.languages:
            marks = {t.info.strip().split(" ")[0].lower() for t in tokens if t.type == "fence"}
            for language in _list(self.languages):
                yield language.lower() in marks, f"no code fence marked {language!r}"


def _list(given: Sequence[str] | str) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _tokens(text: str, library: Any) -> list[Any]:
    parser = library.MarkdownIt("commonmark", {"maxNesting": 20}).enable("table")
    out = []
    for token in parser.parse(text):
        out.append(token)
        out.extend(token.children or ())
    return out


def _headings(tokens: Sequence[Any]) -> list[tuple[int, str]]:
    return [
        (int(token.tag[1]), tokens[i + 1].content.strip().casefold())
        for i, token in enumerate(tokens)
        if token.type == "heading_open"
    ]


def _sound(tokens: Sequence[Any], text: str) -> Iterator[tuple[bool, str]]:
    levels = [level for level, _text in _headings(tokens)]
    jumps = [b for a, b in itertools.pairwise(levels) if b > a + 1]
    yield not jumps, f"a heading of level {jumps[0] if jumps else 0} skips a level"
    lines = text.splitlines()
    # a fence that nothing closes runs to the end of the text
    fences = [t for t in tokens if t.type == "fence" and t.level == 0 and t.map]
    closed = all(lines[t.map[1] - 1].strip().startswith(t.markup) and t.map[1] - t.map[0] > 1 for t in fences)
    yield closed, "a code fence is not closed"
    yield all(t.content.strip() for t in tokens if t.type == "inline" and t.level == 1), "an empty heading"
