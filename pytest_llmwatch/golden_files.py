"""Golden files to values that know their lines, and clean one-line errors about them."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_llmwatch.errors import GoldenError
from pytest_llmwatch.schema import SchemaIssue, issues

Step = str | int
MAX_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Located:
    """A value read from a file. ``line_of`` maps a path inside the value to a 1-based line."""

    value: Any
    file: str
    line_of: Callable[[Sequence[Step]], int | None]

    def error(self, message: str, slug: str, path: Sequence[Step] = ()) -> GoldenError:
        """Return a GoldenError about the place ``path``."""
        return GoldenError(message, slug=slug, file=self.file, line=self.line_of(path))

    def at(self, *path: Step) -> Located:
        """Return the value below ``path``, with its own lines."""
        value = self.value
        for step in path:
            value = value[step]
        return Located(value, self.file, lambda rest: self.line_of((*path, *rest)))


def read_text(path: Path, display: str, *, slug: str = "golden-missing", mend: str = "") -> str:
    """Return the text of a UTF-8 file (a byte order mark is dropped).

    Raises:
        GoldenError: The file is missing, unreadable or not UTF-8.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error.strerror or error)
        raise GoldenError(f"cannot be read ({reason}){mend and '; ' + mend}", slug=slug, file=display) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise GoldenError(
            f"is not UTF-8 (byte 0x{data[error.start]:02x}); save the file as UTF-8",
            slug="golden-encoding",
            file=display,
            line=line,
        ) from error


def read_yaml(text: str, display: str) -> Located:
    """Parse YAML with the safe loader; dates stay text, and a key given twice is an error.

    Raises:
        GoldenError: The text is not one valid YAML document.
    """
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader = base(text)
    try:
        root = loader.get_single_node()
        if root is None:
            raise GoldenError("is empty; give at least `prompt:` or `target:`", slug="golden-value", file=display)
        value = _Builder(loader, display).build(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else None
        raise GoldenError(
            f"is not valid YAML: {error.problem or error.context}", slug="golden-yaml", file=display, line=line
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise GoldenError(f"is not valid YAML: {error}", slug="golden-yaml", file=display) from error
    finally:
        loader.dispose()
    return Located(value, display, lambda path: _yaml_line(root, path))


class _Builder:
    """Builds JSON values from YAML nodes: the loader's own construction drops lines and doubled keys."""

    def __init__(self, loader: Any, display: str) -> None:
        self._loader = loader
        self._display = display
        self._open: set[int] = set()

    def build(self, node: Any) -> Any:
        kind = node.id
        if kind == "scalar":
            if node.tag == "tag:yaml.org,2002:timestamp":
                return node.value
            return self._loader.construct_object(node, deep=True)
        if id(node) in self._open:
            raise self._error(node, "an alias contains itself")
        self._open.add(id(node))
        try:
            if kind == "sequence":
                return [self.build(item) for item in node.value]
            return self._mapping(node)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: Any) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for key, _ in node.value:
            if key.id != "scalar":
                raise self._error(key, "a key must be text")
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                first = seen[key.value].start_mark.line + 1
                raise GoldenError(
                    f"key {key.value!r} is given twice (first in line {first}); remove one",
                    slug="golden-duplicate-key",
                    file=self._display,
                    line=key.start_mark.line + 1,
                )
            seen[key.value] = key
        self._loader.flatten_mapping(node)
        # the key's text, not its value: YAML reads `no:` and `on:` as booleans
        return {key.value: self.build(value) for key, value in node.value}

    def _error(self, node: Any, what: str) -> GoldenError:
        return GoldenError(
            f"is not usable YAML: {what}", slug="golden-yaml", file=self._display, line=node.start_mark.line + 1
        )


def _yaml_line(root: Any, path: Sequence[Step]) -> int:
    node, line = root, root.start_mark.line
    for step in path:
        if node.id == "mapping":
            # the last one wins, as merged keys come first
            found = next(((k, v) for k, v in reversed(node.value) if k.value == str(step)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line, found[1]
        elif node.id == "sequence" and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line
        else:
            break
    return int(line) + 1


def read_jsonl(text: str, display: str) -> list[Located]:
    """Parse JSON lines (blank lines are skipped); each value knows its line.

    Raises:
        GoldenError: A line is not a JSON object, or gives a key twice.
    """
    out = []
    # not splitlines(): JSON text may hold U+2028, which is no line end in a JSON lines file
    for number, raw in enumerate(text.split("\n"), start=1):
        if raw.strip():
            value = parse_json(raw, display, number)
            if not isinstance(value, dict):
                raise GoldenError(
                    f"a case must be a JSON object on one line (got {show(value)})",
                    slug="golden-value",
                    file=display,
                    line=number,
                )
            out.append(Located(value, display, _always(number)))
    return out


def _always(line: int) -> Callable[[Sequence[Step]], int]:
    return lambda _path: line


def parse_json(text: str, display: str, line: int | None = None) -> Any:
    """Parse strict JSON: no NaN, no key twice.

    Raises:
        GoldenError: The text is not that; ``line`` is where the text starts, None for a whole file.
    """

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(items)
        if len(out) < len(items):
            twice = next(k for i, (k, _) in enumerate(items) if any(k == other for other, _ in items[:i]))
            raise GoldenError(
                f"key {twice!r} is given twice; remove one", slug="golden-duplicate-key", file=display, line=line
            )
        return out

    def constant(name: str) -> Any:
        raise GoldenError(
            f"is not valid JSON: {name} is not a number", slug="golden-json", file=display, line=line
        )

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except json.JSONDecodeError as error:
        raise GoldenError(
            f"is not valid JSON: {error.msg} (column {error.colno})",
            slug="golden-json",
            file=display,
            line=error.lineno if line is None else line,
        ) from error
    except RecursionError as error:
        raise GoldenError("is nested too deeply", slug="golden-json", file=display, line=line) from error


def check(found: Located, schema: Mapping[str, Any], *, what: str = "") -> None:
    """Check a value against a JSON Schema.

    Args:
        found: The value and where it stands.
        schema: What it must fit.
        what: Prefix of the place in messages, e.g. ``scorers[2]``.

    Raises:
        GoldenError: The first violation, with its line and how to mend it.
    """
    for issue in issues(found.value, dict(schema)):
        place = _place(what, issue.path)
        if issue.keyword == "additionalProperties":
            raise _unknown_key(found, issue, place)
        raise found.error(_explain(issue, place), "golden-value", issue.path)


def _unknown_key(found: Located, issue: SchemaIssue, place: str) -> GoldenError:
    known = list((issue.schema or {}).get("properties", {}))
    unknown = next(key for key in issue.instance if key not in known)
    inside = f" in {place}" if place else ""
    return found.error(
        f"unknown key {unknown!r}{inside}; {nearest(unknown, known)}", "golden-unknown-key", (*issue.path, unknown)
    )


def _explain(issue: SchemaIssue, place: str) -> str:
    schema = issue.schema if isinstance(issue.schema, Mapping) else {}
    name, got = place or "the value", f"(got {show(issue.instance)})"
    match issue.keyword:
        case "type":
            return f"{name} must be {_types(schema.get('type'))} {got}{_quote_hint(issue.instance, schema)}"
        case "enum":
            return f"{name} must be one of {', '.join(map(str, schema['enum']))} {got}"
        case "required":
            missing = [k for k in schema.get("required", ()) if k not in issue.instance]
            return f"{place or 'it'} has no {' and no '.join(repr(k) for k in missing)}, which is required"
        case "minLength":
            return f"{name} must not be empty"
        case "minimum":
            return f"{name} must be at least {schema['minimum']} {got}"
        case "exclusiveMinimum":
            return f"{name} must be greater than {schema['exclusiveMinimum']} {got}"
        case "maximum":
            return f"{name} must be at most {schema['maximum']} {got}"
        case _:
            hint = f"; it is: {schema['description']}" if "description" in schema else ""
            return f"{name}: {issue.message[:200]}{hint}"


_TYPE_WORDS = {
    "string": "text",
    "object": "a mapping",
    "array": "a list",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}


def _types(types: Any) -> str:
    names = [types] if isinstance(types, str) else list(types or ())
    return " or ".join(_TYPE_WORDS.get(n, str(n)) for n in names)


def _quote_hint(instance: Any, schema: Mapping[str, Any]) -> str:
    scalar = isinstance(instance, bool | int | float)
    return "; put it in quotes" if scalar and "string" in str(schema.get("type")) else ""


def _place(what: str, path: Sequence[Step]) -> str:
    text = what
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def nearest(given: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?``, or the list of what is known."""
    names = sorted(known)
    close = difflib.get_close_matches(given, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"


def show(value: Any) -> str:
    """Return ``value`` as short JSON text for a message."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
