"""XML and HTML."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

from pytest_llmwatch.model import Case, Output, Score
from pytest_llmwatch.scorers.documents import Syntactic
from pytest_llmwatch.scorers.extras import load
from pytest_llmwatch.scorers.options import option
from pytest_llmwatch.scorers.wrapped import Piece

_MAX_DEPTH = 500
_MAX_HTML = 200_000

_VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"]
)
# an end tag that HTML lets be left out
_OPTIONAL = frozenset(
    [
        "body",
        "colgroup",
        "dd",
        "dt",
        "head",
        "html",
        "li",
        "optgroup",
        "option",
        "p",
        "rb",
        "rp",
        "rt",
        "rtc",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
    ]
)
_KNOWN = (
    frozenset(
        [
            "a",
            "abbr",
            "address",
            "article",
            "aside",
            "audio",
            "b",
            "bdi",
            "bdo",
            "blockquote",
            "button",
            "canvas",
            "caption",
            "center",
            "cite",
            "code",
            "data",
            "datalist",
            "del",
            "details",
            "dfn",
            "dialog",
            "div",
            "dl",
            "em",
            "fieldset",
            "figcaption",
            "figure",
            "font",
            "footer",
            "form",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "header",
            "hgroup",
            "i",
            "iframe",
            "ins",
            "kbd",
            "label",
            "legend",
            "main",
            "map",
            "mark",
            "math",
            "menu",
            "meter",
            "nav",
            "noscript",
            "object",
            "ol",
            "output",
            "picture",
            "pre",
            "progress",
            "q",
            "ruby",
            "s",
            "samp",
            "script",
            "search",
            "section",
            "select",
            "slot",
            "small",
            "span",
            "strong",
            "style",
            "sub",
            "summary",
            "sup",
            "svg",
            "table",
            "template",
            "textarea",
            "time",
            "title",
            "tt",
            "u",
            "ul",
            "var",
            "video",
        ]
    )
    | _VOID
    | _OPTIONAL
)


@dataclass(frozen=True, slots=True)
class Xml(Syntactic):
    """Whether the answer is well-formed XML: 1 or 0; 0.5 (``format_drift``) within a code fence.

    ``elements`` names elements that must be there, as paths below the root (``order/items/item``). Document type
    declarations are refused, so no entity is ever expanded and nothing is fetched.

    Raises:
        UsageError: defusedxml is not installed.
    """

    name = "xml"
    languages = ("xml", "svg")
    what = "XML"

    elements: Sequence[str] | str | None = option("texts")
    extract: bool = option("flag", False)

    def __post_init__(self) -> None:
        load("defusedxml.ElementTree", self.name)

    def problem(self, piece: Piece) -> str | None:
        """Parse, watching the depth while reading."""
        if "\x00" in piece.text:
            return "a NUL character"
        library = load("defusedxml.ElementTree", self.name)
        try:
            root = _read(piece.text, library)
        except library.ParseError as error:
            return str(error)
        except (ValueError, RecursionError, LookupError) as error:  # defusedxml's refusals are ValueErrors
            return _refusal(error)
        asked = [self.elements] if isinstance(self.elements, str) else list(self.elements or ())
        for path in asked:
            if not _has(root, path):
                return f"lacks the element {path!r}"
        return None


def _read(text: str, library: Any) -> Any:
    """Return the root. Deep trees are refused while reading: everything that walks them recurses."""
    root, depth = None, 0
    source = io.BytesIO(text.encode("utf-8"))  # lone surrogates are a ValueError here
    for event, element in library.iterparse(source, events=("start", "end"), forbid_dtd=True):
        root = element if root is None else root
        depth += 1 if event == "start" else -1
        if depth > _MAX_DEPTH:
            raise ValueError(f"nested deeper than {_MAX_DEPTH}")
    return root


def _refusal(error: Exception) -> str:
    name = type(error).__name__
    if name in ("DTDForbidden", "EntitiesForbidden", "ExternalReferenceForbidden"):
        return "it has a document type declaration, which is refused"
    return " ".join(str(error).split())[:160] or name


def _local(tag: object) -> str:
    return str(tag).rpartition("}")[2]


def _has(root: Any, path: str) -> bool:
    steps = [step for step in path.split("/") if step]
    level = [root]
    if steps and steps[0] == _local(root.tag):
        steps = steps[1:]
    for step in steps:
        level = [child for element in level for child in element if _local(child.tag) == step]
    return bool(level)


class _Reader(HTMLParser):
    """Notes the first thing that is wrong, and whether there is an element at all."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.problem: str | None = None
        self.seen: set[str] = set()

    def _wrong(self, what: str) -> None:
        if self.problem is None:
            self.problem = f"{what} at line {self.getpos()[0]}"

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.add(tag)
        foreign = "svg" in self.open or "math" in self.open
        if tag not in _KNOWN and "-" not in tag and not foreign:
            self._wrong(f"no HTML element <{tag[:40]}>")
        if tag not in _VOID:
            self.open.append(tag)
            if len(self.open) > _MAX_DEPTH:
                self._wrong(f"nested deeper than {_MAX_DEPTH}")
                self.open.clear()

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.seen.add(tag)
        if tag not in _KNOWN and "-" not in tag and "svg" not in self.open and "math" not in self.open:
            self._wrong(f"no HTML element <{tag[:40]}>")

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        if tag not in self.open:
            self._wrong(f"</{tag[:40]}> closes nothing")
            return
        while self.open[-1] != tag:
            left = self.open.pop()
            if left not in _OPTIONAL:
                self._wrong(f"<{left[:40]}> is not closed")
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if data.strip() and not self.open:
            self._wrong(f"text outside of elements ({data.strip()[:30]!r})")


@dataclass(frozen=True, slots=True)
class Html(Syntactic):
    """Whether the answer is HTML: known elements, each closed that must be, no text outside: 1 or 0.

    0.5 (``format_drift``) within a code fence. ``elements`` names elements that must be there; ``fragment: false``
    asks for a whole page. It is not a validator: attributes and which element may stand in which are not judged.
    """

    name = "html"
    languages = ("html", "htm", "xhtml")
    what = "HTML"

    elements: Sequence[str] | str | None = option("texts")
    fragment: bool = option("flag", True)
    """Whether a part of a page is enough; otherwise ``<html>`` is needed."""
    extract: bool = option("flag", False)

    def score(self, output: Output, case: Case) -> Score:
        """Read the tags; see `Syntactic.score`."""
        if len(output.text) > _MAX_HTML:
            return self.not_assessable(f"Not judged: {len(output.text):,} characters, at most {_MAX_HTML:,} are.")
        return Syntactic.score(self, output, case)

    def problem(self, piece: Piece) -> str | None:
        """Read all tags; the first thing that is wrong counts."""
        reader = _Reader()
        # more "<" than this is no page, and the parser of the standard library is slow on unfinished tags
        if piece.text.count("<") > 20_000:
            return "more than 20,000 tags"
        try:
            reader.feed(piece.text)
            reader.close()
        except (AssertionError, ValueError) as error:
            return " ".join(str(error).split())[:160] or "unreadable"
        if not reader.seen:
            return "no element"
        unclosed = [tag for tag in reader.open if tag not in _OPTIONAL]
        if reader.problem or unclosed:
            return reader.problem or f"<{unclosed[0][:40]}> is not closed"
        asked = [self.elements] if isinstance(self.elements, str) else list(self.elements or ())
        lacking = [tag for tag in asked if tag.lower() not in reader.seen]
        if lacking:
            return f"lacks <{lacking[0]}>"
        return None if self.fragment or "html" in reader.seen else "a part of a page, no <html>"
