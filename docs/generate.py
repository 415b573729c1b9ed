"""Fill the generated parts of docs/reference/ from the code: ``python docs/generate.py [--check]``.

A generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``. The sections of
``messages.md`` are sorted by slug.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import re
import sys
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pytest_llmwatch import budget_grammar as grammar
from pytest_llmwatch import cli, golden_schema
from pytest_llmwatch.plugin import entry
from pytest_llmwatch.scorers import options as scorer_options
from pytest_llmwatch.scorers import registry

DOCS = Path(__file__).resolve().parent
REFERENCE = DOCS / "reference"
MIGRATE = DOCS / "how-to" / "migrate.md"
CANNOT_SEE = REFERENCE / "scorers_cannot_see.toml"
PEERS = DOCS.parent / "tests" / "scorers" / "coverage.toml"
UNITS = {
    "s": "s",
    "usd": "USD",
    "ratio": "share, 0 to 1",
    "per_minute": "a minute",
    "per_hour": "an hour",
    "per_second": "a second",
}


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def options() -> str:
    """The options of pytest."""
    rows = []
    for flag, given in entry._OPTIONS:
        value = given.get("metavar", "")
        shown = f"`{flag}={value}`" if value else f"`{flag}`"
        ini = f"`{flag[2:].replace('-', '_')}`"
        known = ini if ini.strip("`") in entry._INI else ""
        rows.append((shown, known, str(given.get("help", ""))))
    return table(("option", "ini name", "meaning"), rows)


def ini() -> str:
    """The ini names."""
    return table(("ini name", "meaning"), [(f"`{name}`", text) for name, text in entry._INI.items()])


def markers() -> str:
    """The markers."""
    rows = [(f"`@pytest.mark.{m.split(':')[0]}`", m.split(": ", 1)[1]) for m in entry._MARKERS]
    return table(("marker", "meaning"), rows)


def rules() -> str:
    """The limits of budget.toml, a table for each."""
    parts = []
    for name in dict.fromkeys(spec.table for spec in grammar.RULES):
        specs = [spec for spec in grammar.RULES if spec.table == name]
        rows = [
            (
                f"`{s.key}`",
                s.meaning,
                UNITS.get(s.unit, s.unit),
                "at most" if s.direction == "ceiling" else "at least",
                s.kind + (", `test` may switch it" if s.testable else ""),
            )
            for s in specs
        ]
        rows += [(f"`{key}`", meaning, kind, "", "setting") for key, meaning, kind in settings(name)]
        layer = specs[0].layer
        parts.append(f"### `[{name}]` ({layer})\n\n{table(('key', 'meaning', 'unit', 'limit', 'kind'), rows)}")
    return "\n\n".join(parts)


def settings(name: str) -> list[tuple[str, str, str]]:
    """What stands among the limits of a table and is none: key, meaning, type."""
    if name == "throughput":
        quota = f"share used of it: {grammar.QUOTA_WARN:.0%} warns, {grammar.QUOTA_FAIL:.0%} fails"
        what = {"tpm_quota": "tokens", "rpm_quota": "requests"}
        return [
            (key, f"quota of {what[key]} a minute; {quota}", 'number or `"headers"`')
            for key in grammar.THROUGHPUT_QUOTAS
        ]
    known = {"cost": grammar.COST_SETTINGS, "agent": grammar.AGENT_SETTINGS, "judge": grammar.JUDGE_SETTINGS}.get(
        name, {}
    )
    return [(key, field.meaning, field.type) for key, field in known.items()]


def sections() -> str:
    """The settings of budget.toml."""
    parts = []
    shown = {"price": '[prices."MODEL"]', "alert": "[[alert]]", "runbook": "[[runbook]]", "waiver": "[[waiver]]"}
    for name, fields in grammar.SECTIONS.items():
        rows = [
            (
                f"`{key}`" + (" (required)" if field.required else ""),
                ", ".join(f"`{c}`" for c in field.choices) or field.type,
                field.meaning,
            )
            for key, field in fields.items()
        ]
        parts.append(f"### `{shown.get(name, f'[{name}]')}`\n\n{table(('key', 'value', 'meaning'), rows)}")
    return "\n\n".join(parts)


def _schema_rows(schema: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for key, spec in schema["properties"].items():
        kinds = spec.get("type", "")
        kind = " or ".join(kinds) if isinstance(kinds, list) else kinds
        if "enum" in spec:
            kind = ", ".join(f"`{value}`" for value in spec["enum"])
        mark = " (required)" if key in schema.get("required", ()) else ""
        rows.append((f"`{key}`{mark}", kind, spec.get("description", "")))
    return rows


def golden_set() -> str:
    """The keys of set.yaml."""
    return table(("key", "value", "meaning"), _schema_rows(golden_schema.SET_SCHEMA))


def golden_case() -> str:
    """The keys of a case."""
    return table(("key", "value", "meaning"), _schema_rows(golden_schema.CASE_SCHEMA))


def commands() -> str:
    """The command line; not argparse's own help text, which changes from one Python to the next."""
    return "\n\n".join(_command(*found) for found in _parsers(cli.build_parser()))


def _parsers(parser: argparse.ArgumentParser, about: str = "") -> Iterable[tuple[argparse.ArgumentParser, str]]:
    children = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not children:
        yield parser, about
    for action in children:
        helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
        for name, child in action.choices.items():
            yield from _parsers(child, helps.get(name, ""))


def _command(parser: argparse.ArgumentParser, about: str) -> str:
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        value = str(action.metavar or (", ".join(action.choices) if action.choices else "") or "")
        if action.option_strings:
            shown = ", ".join(f"`{flag}`" for flag in action.option_strings)
            shown += f" `{value}`" if value and action.nargs != 0 else ""
        else:
            shown = f"`{value or action.dest}`"
        rows.append((shown, action.help or ""))
    said = f"{about[:1].upper()}{about[1:]}."
    words = table(("argument", "meaning"), rows) if rows else "No arguments."
    return f"### `{parser.prog}`\n\n{said}\n\n{words}"


def scorers() -> str:
    """The built-in scorers: what they say, and their options."""
    blind = tomllib.loads(CANNOT_SEE.read_text("utf-8"))
    return "\n\n".join(_scorer(name, blind[name]) for name in registry.BUILTIN)


def _scorer(name: str, cannot_see: str) -> str:
    module, cls = registry.BUILTIN[name]
    found = getattr(importlib.import_module(f"pytest_llmwatch.scorers.{module}"), cls)
    said = re.split(r"\n\s*Raises:", found.__doc__)[0].replace("``", "`")
    paragraphs = [" ".join(p.split()) for p in re.split(r"\n\s*\n", said) if p.strip()]
    rows = [
        (f"`{f.name}`", _kind(f.metadata["kind"]), _default(f))
        for f in dataclasses.fields(found)
        if "kind" in f.metadata
    ]
    words = table(("option", "value", "default"), rows) if rows else "No options."
    when = "Runs by itself where it applies." if name in registry.UNASKED else "Runs where it is named."
    blind = f"**Cannot see:** {cannot_see[0].lower()}{cannot_see[1:]}"
    version = f"version {found.version}" if isinstance(found.version, str) else "version made of its options"
    return f"### `{name}` ({version})\n\n" + "\n\n".join([*paragraphs, blind, when, words])


def _kind(kind: str | tuple[str, ...]) -> str:
    return ", ".join(f"`{word}`" for word in kind) if isinstance(kind, tuple) else scorer_options.KINDS[kind][0]


def _default(field: Any) -> str:
    if field.default is dataclasses.MISSING or field.default in (None, ()):
        return ""
    value = field.default
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    return ", ".join(f"`{v}`" for v in value) if isinstance(value, tuple) else f"`{shown}`" if shown else ""


def peers() -> str:
    """The kinds of the peers, and what checks them here."""
    parts = []
    for tool, kinds in tomllib.loads(PEERS.read_text("utf-8")).items():
        rows = [
            (f"`{kind}`", f"`{row['write']}`" if "write" in row else f"`budget.toml`: `{row['budget']}`")
            for kind, row in kinds.items()
        ]
        parts.append(f"### {tool}\n\n{table(('there', 'here'), rows)}")
    return "\n\n".join(parts)


PARTS: dict[str, Callable[[], str]] = {
    "options": options,
    "ini": ini,
    "markers": markers,
    "rules": rules,
    "sections": sections,
    "golden_set": golden_set,
    "golden_case": golden_case,
    "commands": commands,
    "scorers": scorers,
    "peers": peers,
}


def fill(page: str) -> str:
    """Return ``page`` with its generated parts made anew.

    Raises:
        KeyError: The page asks for a part that does not exist.
    """
    pattern = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda m: f"{m[1]}\n{PARTS[m[2]]()}\n\n{m[3]}", page)


def sort_messages(page: str) -> str:
    """Return the page of messages with its sections sorted by slug, each once."""
    head, *parts = re.split(r"^(?=## )", page, flags=re.MULTILINE)
    kept = {part.splitlines()[0].strip("# `"): part.strip() for part in parts}
    return "\n\n".join([head.strip(), *(kept[slug] for slug in sorted(kept))]) + "\n"


def pages() -> Iterable[tuple[Path, str]]:
    """Yield each page of the reference with what it should say."""
    for path in [*sorted(REFERENCE.glob("*.md")), MIGRATE]:
        text = fill(path.read_text("utf-8"))
        yield path, sort_messages(text) if path.name == "messages.md" else text


def main() -> int:
    """Write the pages, or with ``--check`` only tell which are behind the code."""
    check = "--check" in sys.argv[1:]
    stale = [(path, text) for path, text in pages() if path.read_text("utf-8") != text]
    for path, text in stale:
        if not check:
            path.write_text(text, "utf-8")
        print(f"{'stale' if check else 'wrote'}: {path.name}", file=sys.stderr)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
