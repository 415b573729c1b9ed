"""The Jinja2 environment of the HTML report: everything is escaped, and control characters are made visible."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import sys
import zlib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from pytest_llmwatch import __version__
from pytest_llmwatch import format as fmt
from pytest_llmwatch.report.cases import Cell
from pytest_llmwatch.report.text import CONTROL, control_name, one_line
from pytest_llmwatch.report.view import RuleRow

if TYPE_CHECKING:
    import jinja2


_LONG_NAME = 24
_BLOCKS = "article|caption|colgroup|d[dlt]|details|figure|li|ol|p|section|t(?:able|body|d|h|head|r)|ul"


def visible(text: object) -> Markup:
    """Return ``text`` escaped, with control, bidirectional and invisible characters shown as their code."""
    # none of these characters means anything in HTML, so they can be replaced after escaping
    safe = str(escape(str(text).replace("\r\n", "\n")))
    return Markup(CONTROL.sub(_control, safe))  # noqa: S704 - escaped above, and _control makes plain markup


def breakable(text: object) -> Markup:
    """Return a name as `visible` does, with places where a line may break: after a stop, colon, underscore."""
    safe = str(escape(str(text)))
    if len(safe) > _LONG_NAME:
        safe = re.sub(r"([.:_])(?=\w)", r"\1<wbr>", safe)
    return Markup(CONTROL.sub(_control, safe))  # noqa: S704 - escaped above


def _control(match: re.Match[str]) -> str:
    code = f"U+{ord(match[0]):04X}"
    return f'<span class="ctl" title="{code} {control_name(match[0])}">{code}</span>'


def plain(text: object) -> str:
    """Return ``text`` for an attribute: one line without control characters (still to be escaped)."""
    return CONTROL.sub("", str(text)).replace("\n", " ")


def short(text: object, limit: int) -> str:
    """Return ``text`` on one line, visible, cut to ``limit`` characters (still to be escaped)."""
    return one_line(str(text), limit)


def focusable(text: dict[str, Any]) -> Markup:
    """Return the attributes that let a keyboard scroll a long text; nothing for a short one."""
    long = sum(len(piece[0]) for piece in text["p"]) > 500 or any("\n" in piece[0] for piece in text["p"])
    return Markup(' tabindex="0" role="group" aria-label="Text"') if long else Markup("")


def headline(sentence: str) -> str:
    """Return a sentence with a capital letter, unless it begins with a name such as ``latency.p95``."""
    first = sentence.split(" ", 1)[0]
    return sentence[:1].upper() + sentence[1:] if first.isalpha() else sentence


def tail(nodeid: str) -> str:
    """Return the last part of a node id."""
    return nodeid.rsplit("::", 1)[-1]


def slug(rule: str) -> str:
    """Return a fragment for a rule: ``rule-scope-feature-rag-latency-p95``."""
    return "rule-" + re.sub(r"[^A-Za-z0-9]+", "-", rule).strip("-")


def first_action(row: RuleRow) -> str | None:
    """Return the first thing to do about a broken rule: its own, else what its layer asks for."""
    v = row.verdict
    if v.action:
        return v.action
    if v.delta is None:
        return None
    return {
        "availability": "compare the stages of slow calls with the baseline's; look for another model or load",
        "cost": "compare tokens a call with the baseline's; look for longer prompts, retries, another model",
        "quality": "read the cases that fell furthest; look for a change of prompt, model or retrieved documents",
    }[v.layer]


def tone(cell: Cell | None) -> int:
    """Return how strongly a cell stands out: 0 good to 3 bad."""
    if cell is None or cell.mean is None:
        return 0
    return 3 if cell.mean < 0.4 else 2 if cell.mean < 0.65 else 1 if cell.mean < 0.85 else 0


def label(text: str) -> str:
    """Return a score's label in words."""
    return {"not_assessable": "n/a", "error": "scorer error"}.get(text, text.replace("_", " "))


def environment() -> jinja2.Environment:
    """Return the environment that renders ``templates/``: strict about names, always escaping."""
    import jinja2

    class Loader(jinja2.PackageLoader):
        """Drops the templates' own indentation and the ends of lines before blocks: a tenth of the page."""

        def get_source(self, environment: jinja2.Environment, template: str) -> Any:
            source, path, uptodate = super().get_source(environment, template)
            source = re.sub(r"\n[ \t]+", "\n", source)
            return re.sub(rf"\n+(?=</?(?:{_BLOCKS})\b)", "", source), path, uptodate

    class Cache(jinja2.FileSystemBytecodeCache):
        """Compiled templates beside the compiled modules: compiling them takes longer than filling them."""

        def load_bytecode(self, bucket: Any) -> None:
            try:
                super().load_bytecode(bucket)
            except Exception:  # a file that is damaged is as good as none
                bucket.reset()

        def dump_bytecode(self, bucket: Any) -> None:
            with contextlib.suppress(OSError):  # a package that may not be written to is compiled each time
                os.makedirs(self.directory, exist_ok=True)
                super().dump_bytecode(bucket)

    folder = resources.files("pytest_llmwatch.report") / "templates"
    cache = None
    if isinstance(folder, Path) and not sys.dont_write_bytecode:
        # Jinja2 knows when a template changed, not when what is set below did
        own = f"{__version__}-{zlib.crc32(Path(__file__).read_bytes()):08x}"
        beside = Path(importlib.util.cache_from_source(str(folder / "templates.py"))).parent
        cache = Cache(str(beside), f"jinja2-{own}-%s.cache")
    env = jinja2.Environment(
        loader=Loader("pytest_llmwatch", "report/templates"),
        bytecode_cache=cache,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {
        "vis": visible, "wrap": breakable, "plain": plain, "short": short, "slug": slug, "tone": tone,
        "tail": tail, "label": label, "headline": headline, "first_action": first_action,
        "focusable": focusable, "value": fmt.value, "percent": fmt.percent,
    }  # fmt: skip
    return env
