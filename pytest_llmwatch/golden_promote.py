"""Promote calls into golden cases: what the case says, whether the set has it already, where it is written.

Nothing here reads or writes a file: text in, text out, so that a failed check leaves the set as it was.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_llmwatch.errors import GoldenError
from pytest_llmwatch.golden_files import Located, check, read_jsonl, read_yaml
from pytest_llmwatch.golden_schema import CASE_SCHEMA
from pytest_llmwatch.model import JSON, Call, Case, CaseResult

_TURN = re.compile(r"^(system|developer|user|assistant|tool): ?", re.MULTILINE)
_WORDS = 6


@dataclass(frozen=True, slots=True)
class Source:
    """Where a case comes from: a call, its test's result where there is one, and the run."""

    call: Call
    result: CaseResult | None
    run_id: str
    why: str = ""
    """The figure that made it worth keeping, ``groundedness 0.31``."""


def case_of(source: Source, *, messages: bool = False, tags: Sequence[str] = ()) -> dict[str, JSON]:
    """Return the case that a call becomes, without an id. The answer is not taken over: nobody said it is right.

    Args:
        source: The call.
        messages: Whether the set has neither prompt nor target: its inputs are whole conversations.
        tags: Added to the call's own.
    """
    call, result = source.call, source.result
    given = result.input if result is not None and result.input is not None else None
    case: dict[str, JSON] = {"input": _conversation(call.input or "") if messages else given or asked(call.input)}
    context = [d for d in (call.context or (result.context if result else ())) if d]
    if context:
        case["context"] = list(context)
    reference = call.reference or (result.reference if result else None)
    if reference is not None:
        case["reference"] = reference
    known = [t for t in dict.fromkeys((*call.tags, *(result.tags if result else ()), *tags)) if t]
    if known:
        case["tags"] = known
    cluster = result.cluster if result is not None else None
    if cluster:
        case["cluster"] = cluster
    told = {"run": source.run_id, "call": call.id, "time": call.time, "model": call.model, "why": source.why}
    case["metadata"] = {"promoted": {k: v for k, v in told.items() if v}}
    return case


def asked(text: str | None) -> str:
    """Return what the user asked last in a prompt kept as text, roles before each message."""
    turns = _turns(text or "")
    users = [said for role, said in turns if role == "user"]
    return users[-1] if users else (text or "").strip()


def _turns(text: str) -> list[tuple[str, str]]:
    found = list(_TURN.finditer(text))
    if not found or found[0].start() != 0:
        return []
    ends = [*(m.start() for m in found[1:]), len(text)]
    return [(m[1], text[m.end() : end].strip()) for m, end in zip(found, ends, strict=True)]


def _conversation(text: str) -> list[JSON]:
    turns = _turns(text) or [("user", text.strip())]
    last = max((i for i, (role, _) in enumerate(turns) if role == "user"), default=len(turns) - 1)
    # a tool's answer needs the call's id, which the text does not hold
    return [{"role": role, "content": said} for role, said in turns[: last + 1] if said and role != "tool"]


def content_key(value: JSON, context: Iterable[str]) -> str:
    """Return a key that is equal for cases that ask the same of the same documents, whatever their white space."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    parts = [" ".join(part.split()).casefold() for part in (text, *context)]
    return hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def keys_of(cases: Iterable[Case]) -> dict[str, str]:
    """Return the id of each case by its content's key."""
    return {content_key(c.input, c.context): c.id for c in cases}


def key_of(case: Mapping[str, Any]) -> str:
    """Return the content's key of a case that is not in a set yet."""
    return content_key(case["input"], case.get("context", ()))


def new_id(case: Mapping[str, Any], taken: Collection[str]) -> str:
    """Return an id of the question's first words and its content, the same each time, that is not taken."""
    given = case["input"]
    text = given if isinstance(given, str) else str(given[-1].get("content", "")) if given else ""
    words = re.findall(r"[^\W_]+", text.lower())[:_WORDS]
    stem = "-".join(words)[:50].strip("-") or "case"
    base = name = f"{stem}-{key_of(case)[:4]}"
    number = 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    return name


def appended_lines(text: str, cases: Sequence[Mapping[str, Any]], display: str) -> str:
    """Return the text of a cases.jsonl with ``cases`` at its end; what it holds already is not touched.

    Raises:
        GoldenError: A case does not fit the schema of cases.
    """
    end = "\r\n" if "\r\n" in text else "\n"
    start = "" if not text or text.endswith("\n") else end
    out = text + start + "".join(json.dumps(_checked(c, display), ensure_ascii=False) + end for c in cases)
    if len(read_jsonl(out.removeprefix("\ufeff"), display)) < len(cases):
        raise GoldenError("could not be extended", slug="golden-add", file=display)
    return out


def appended_yaml(text: str, cases: Sequence[Mapping[str, Any]], display: str) -> str:
    """Return the text of a set.yaml with ``cases`` after its last case; comments and layout stay as they are.

    Raises:
        GoldenError: A case does not fit the schema of cases, or the list is not written one case a line.
    """
    import yaml

    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    found = [v for k, v in node.value if k.value == "cases"] if node is not None and node.id == "mapping" else []
    if not found or found[0].id != "sequence" or found[0].flow_style or not found[0].value:
        raise GoldenError(
            "`cases:` is no list with a dash before each case, so none can be added; write it so, or move the "
            "cases to cases.jsonl",
            slug="golden-add",
            file=display,
            line=found[0].start_mark.line + 1 if found else None,
        )
    lines = text.splitlines(keepends=True)
    # the mark of an item is at its text; its dash stands in the sequence's column
    column = found[0].start_mark.column
    at = _last_line(found[0].value[-1]) + 1
    end = "\r\n" if "\r\n" in text else "\n"
    if at > 0 and not lines[at - 1].endswith("\n"):
        lines[at - 1] += end
    # JSON is YAML's flow style; characters that YAML wants escaped are, those beyond the first plane are not
    new = [f"{' ' * column}- {_yaml_json(_checked(c, display))}{end}" for c in cases]
    out = "".join([*lines[:at], *new, *lines[at:]])
    before, after = read_yaml(text, display).value["cases"], read_yaml(out, display).value["cases"]
    if after != [*before, *cases]:
        raise GoldenError("cannot be extended without changing its cases", slug="golden-add", file=display)
    return out


def _last_line(node: Any) -> int:
    """Return the 0-based line in which a node's text ends; a block's own mark lies behind later comments."""
    while node.id in ("mapping", "sequence") and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if node.id == "mapping" else last
    mark = node.end_mark
    return int(mark.line - 1 if mark.column == 0 and mark.line > node.start_mark.line else mark.line)


def _yaml_json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return re.sub("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]", lambda m: f"\\u{ord(m[0]):04x}", text)


def _checked(case: Mapping[str, Any], display: str) -> Mapping[str, Any]:
    check(Located(case, display, lambda _path: None), CASE_SCHEMA, what=f"case {case.get('id', '?')}")
    return case
