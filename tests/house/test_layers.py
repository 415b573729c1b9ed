"""The plan of the house: which module may import which, and who may import what from outside.

``ROWS`` is the one table. A module imports only from rows above its own, and within its own family (a folder, or
the modules of one line that share a family name). Every import counts: at the top, in a function, under
``TYPE_CHECKING``, or ``importlib.import_module("...")`` with a literal name.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "pytest_llmwatch"

# Lowest first. A name is a module or a folder; "budget*" is budget.py and its helpers budget_*.py, one family.
ROWS: tuple[tuple[str, ...], ...] = (
    ("errors", "format", "imports"),
    ("call", "semconv", "schema*", "tracing*"),
    ("model",),
    ("codec", "hookspecs", "atomic", "messages"),
    ("records*",),
    ("budget*", "pricing*", "redact*", "golden*", "operations*", "stats"),
    ("capture", "scorers", "store"),
    ("measure*",),
    ("budget_suggest",),
    ("compare*",),
    ("baseline*", "plan", "history", "windows"),
    ("gate*",),
    ("incidents*",),
    ("report", "export", "alerts"),
    ("pipeline*",),
    ("scaffold", "doctor"),
    ("plugin", "cli*"),
)
PLANNED: frozenset[str] = frozenset()

# Who may import what from outside, as path prefixes in the package. Whatever is not listed may not be imported.
OWNERS: dict[str, tuple[str, ...]] = {
    "pytest": ("plugin/",),
    "_pytest": ("plugin/",),
    "xdist": ("plugin/",),
    "pluggy": ("hookspecs.py", "plugin/"),
    "openai": ("capture/",),
    "httpx": ("capture/",),
    "httpx2": ("capture/",),
    "httpcore": ("capture/",),
    "httpcore2": ("capture/",),
    "anyio": ("capture/transport",),
    "aiohttp": ("capture/transport_aiohttp",),
    "multidict": ("capture/transport_aiohttp",),  # of aiohttp's own interface, and imported once that is
    "vcr": ("capture/cassette",),
    "yaml": ("golden", "capture/cassette", "scorers/documents.py"),
    "genai_prices": ("pricing.py",),
    "scipy": ("stats/",),
    "numpy": ("stats/", "scorers/minilm.py", "scorers/embeddings.py", "scorers/entailment.py"),
    "jsonschema": ("schema.py",),
    "referencing": ("schema.py",),
    "Stemmer": ("scorers/",),
    "regex": ("scorers/", "redact"),
    # the libraries of extras: scorers/extras.py imports them by name when a scorer needs one
    "rapidfuzz": ("scorers/",),
    "sacrebleu": ("scorers/translation.py",),
    "defusedxml": ("scorers/markup.py",),
    "markdown_it": ("scorers/markdown.py",),
    "sqlglot": ("scorers/sql.py",),
    "py3langid": ("scorers/language.py",),
    # other tools' metrics as they are: one adapter imports its tool, and only when a scorer of it is made
    "deepeval": ("scorers/adapters/deepeval.py",),
    "ragas": ("scorers/adapters/ragas.py",),
    "autoevals": ("scorers/adapters/autoevals.py",),
    "pydantic_evals": ("scorers/adapters/pydantic_evals.py",),
    "tabulate": ("report/",),
    "jinja2": ("report/",),
    "markupsafe": ("report/",),
    "sqlalchemy": ("store/",),
    "apprise": ("alerts/",),
    "opentelemetry": ("export/",),
    "prometheus_client": ("export/prometheus.py",),
}
STANDARDS_PREFIX = "gen_ai" + "."
STANDARDS_OWNER = "semconv.py"


@dataclass(frozen=True)
class Place:
    row: int
    family: str


def place(name: str) -> Place | None:
    """Return where the top-level module or folder ``name`` stands; an exact entry wins over a family."""
    rows = [(row, entry) for row, entries in enumerate(ROWS) for entry in entries]
    exact = [Place(row, name) for row, entry in rows if entry == name]
    family = [
        Place(row, entry[:-1])
        for row, entry in rows
        if entry.endswith("*") and (name == entry[:-1] or name.startswith(f"{entry[:-1]}_"))
    ]
    return next(iter(exact + family), None)


def _imports(tree: ast.AST, package: list[str]) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of everything that ``tree`` imports; ``package`` resolves relative imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"
        elif isinstance(node, ast.Call) and node.args:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            first = node.args[0]
            literal = isinstance(first, ast.Constant) and isinstance(first.value, str)
            if name in ("import_module", "__import__", "importorskip") and literal:
                yield node.lineno, first.value


def _docstrings(tree: ast.AST) -> set[int]:
    found = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else []:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                found.add(id(statement.value))
    return found


def check(path: str, source: str) -> list[str]:
    """Return what the module at ``path`` (relative to the package, with /) does against the plan."""
    tree = ast.parse(source)
    parts = path.removesuffix(".py").split("/")
    top = parts[0]
    if top == "__init__":
        own = [(line, name) for line, name in _imports(tree, [PACKAGE]) if name.startswith(PACKAGE)]
        return [f"{path}:{line}: imports {name}, and must stay lazy" for line, name in own]
    here = place(top)
    if here is None:
        return [f"{path}: {top} has no place in the table of tests/house/test_layers.py"]
    out = []
    for line, name in _imports(tree, [PACKAGE, *parts[:-1]]):
        out += [f"{path}:{line}: {problem}" for problem in _judge(path, here, name)]
    if path != STANDARDS_OWNER:
        docstrings = _docstrings(tree)
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) and id(node) not in docstrings else None
            if isinstance(text, str) and STANDARDS_PREFIX in text:
                out.append(f"{path}:{node.lineno}: OpenTelemetry name {text!r} outside {STANDARDS_OWNER}")
    return out


def _judge(path: str, here: Place, name: str) -> Iterator[str]:
    first, _, rest = name.partition(".")
    if first == PACKAGE:
        target = rest.split(".")[0]
        if target in ("", "__version__"):
            return
        there = place(target)
        if there is None:
            yield f"imports {name}, which has no place in the table"
        elif there.row > here.row:
            yield f"imports {name} from a higher layer"
        elif there.row == here.row and there.family != here.family:
            yield f"imports its sibling {name}"
    elif first not in sys.stdlib_module_names:
        owners = OWNERS.get(first)
        if owners is None:
            yield f"imports {name}, which no one may (see OWNERS)"
        elif not path.startswith(owners):
            yield f"imports {name}, which only {', '.join(owners)} may"


@pytest.fixture(scope="module")
def modules(project_root: Path) -> dict[str, str]:
    package = project_root / PACKAGE
    return {f.relative_to(package).as_posix(): f.read_text("utf-8") for f in sorted(package.rglob("*.py"))}


def test_the_package_keeps_to_its_plan(modules: dict[str, str]) -> None:
    assert [problem for path, source in modules.items() for problem in check(path, source)] == []


def test_the_table_names_nothing_that_is_gone(modules: dict[str, str]) -> None:
    tops = {path.removesuffix(".py").split("/")[0] for path in modules}
    entries = {entry.removesuffix("*") for entries in ROWS for entry in entries}
    assert entries - tops == PLANNED


PLANTED = [
    ("gate.py", "from pytest_llmwatch.report import html", "higher layer"),
    ("gate.py", "def f():\n    from pytest_llmwatch import pipeline", "higher layer"),
    ("capture/watch.py", "from pytest_llmwatch.scorers import get", "sibling"),
    ("capture/watch.py", "from ..scorers import get", "sibling"),
    ("scorers/format.py", "import importlib\nm = importlib.import_module('pytest_llmwatch.gate')", "higher layer"),
    ("model.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pytest", "only plugin/"),
    ("gate.py", "def f():\n    import scipy.stats", "only stats/"),
    ("stats/rates.py", "import jsonschema", "only schema.py"),
    ("capture/client.py", "from vcr.cassette import Cassette", "only capture/cassette"),
    ("plugin/entry.py", "import openai", "only capture/"),
    ("golden.py", "import requests", "no one may"),
    ("utils.py", "", "no place"),
    ("records.py", "NAME = 'gen_ai" + ".system'", "OpenTelemetry name"),
    ("__init__.py", "from pytest_llmwatch.model import Call", "imports"),
]
ALLOWED = [
    ("plugin/entry.py", "import pytest\nfrom pytest_llmwatch import pipeline"),
    ("capture/client.py", "from .watch import Watch\nimport openai"),
    ("budget.py", "from pytest_llmwatch import budget_grammar, errors"),
    ("stats/rates.py", "import math\n\ndef f():\n    from scipy.special import betainc"),
    ("records.py", '"""Understands gen_' + 'ai.* names."""\nfrom pytest_llmwatch import semconv'),
]


@pytest.mark.parametrize(("path", "source", "says"), PLANTED)
def test_a_planted_violation_is_found(path: str, source: str, says: str) -> None:
    problems = check(path, source)
    assert len(problems) == 1, problems
    assert says in problems[0]


@pytest.mark.parametrize(("path", "source"), ALLOWED)
def test_what_the_plan_allows_is_not_flagged(path: str, source: str) -> None:
    assert check(path, source) == []
