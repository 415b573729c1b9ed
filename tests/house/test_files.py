"""House rules that are read off the files: sizes, words that may not stand there, tests that check something."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 70
CODE = ("pytest_llmwatch", "tests", "bench", "golden_sets", ".ci")

# Spelt in pieces, so that this file does not hold what it forbids.
UNFINISHED = re.compile(
    r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error"]) + r")\b"
)
FOREIGN = re.compile(
    "|".join(
        ["py" + r"pi\.org", r"python" + r"hosted\.org", r"registry\.npm" + "js", "/wo" + "rk/", "/ro" + "ot/"]
    )
)

# A test checks something if it calls or uses one of these.
CHECKS = re.compile(
    r"^(assert|check|expect|verify|golden$|raises$|warns$|deprecated_call$|fail$|fnmatch_lines|no_fnmatch|re_match|no_re_match|demand$)"
)


def long_functions(source: str) -> list[tuple[str, int]]:
    """Return (name, lines) of each function in ``source`` that is longer than the house allows."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    sizes = [(f.name, (f.end_lineno or f.lineno) - f.lineno + 1) for f in functions]
    return [(name, size) for name, size in sizes if size > MAX_FUNCTION_LINES]


def bare_excepts(source: str) -> list[int]:
    """Return the lines of handlers that catch everything without naming it."""
    tree = ast.parse(source)
    return [n.lineno for n in ast.walk(tree) if isinstance(n, ast.ExceptHandler) and n.type is None]


def checkless_tests(source: str) -> list[str]:
    """Return the names of test functions that check nothing, neither themselves nor in a helper of their file."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = {n.name: n for n in ast.walk(ast.parse(source)) if isinstance(n, kinds)}
    checking: set[str] = set()
    while more := {n for n, f in functions.items() if n not in checking and _checks(f, checking)}:
        checking |= more
    return [name for name in functions if name.startswith("test_") and name not in checking]


def _checks(function: ast.AST, helpers: set[str]) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in helpers or CHECKS.match(name.lstrip("_")):
                return True
    return False


@pytest.fixture(scope="module")
def tracked(project_root: Path) -> list[Path]:
    """Every file of the project that git knows, or would take; all files where this is no clone."""
    if (project_root / ".git").exists():
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        listed = subprocess.run(command, cwd=project_root, capture_output=True, text=True, check=True).stdout
        files = [project_root / name for name in listed.split("\0") if name]
    else:
        files = [f for f in project_root.rglob("*") if not {".venv", "build", "dist"} & set(f.parts)]
    return sorted(f for f in files if f.is_file())


def _python(tracked: list[Path], root: Path) -> Iterator[tuple[str, str]]:
    for file in tracked:
        name = file.relative_to(root).as_posix()
        if file.suffix == ".py" and name.startswith(CODE):
            yield name, file.read_text("utf-8")


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError:
        return ""


def test_files_and_functions_stay_short(tracked: list[Path], project_root: Path) -> None:
    sources = dict(_python(tracked, project_root))
    assert {n: s.count("\n") for n, s in sources.items() if s.count("\n") > MAX_FILE_LINES} == {}
    assert {n: long for n, s in sources.items() if (long := long_functions(s))} == {}


def test_nothing_is_left_unfinished(tracked: list[Path], project_root: Path) -> None:
    sources = dict(_python(tracked, project_root))
    marks = {name: UNFINISHED.findall(source) for name, source in sources.items()}
    assert {name: found for name, found in marks.items() if found} == {}
    assert {name: lines for name, source in sources.items() if (lines := bare_excepts(source))} == {}


def test_no_file_names_a_registry_or_a_machine(tracked: list[Path], project_root: Path) -> None:
    found = {f.relative_to(project_root).as_posix(): sorted(set(FOREIGN.findall(_text(f)))) for f in tracked}
    assert {name: hits for name, hits in found.items() if hits} == {}


def test_every_test_checks_something(tracked: list[Path], project_root: Path) -> None:
    tests = {n: s for n, s in _python(tracked, project_root) if n.startswith("tests/") and "/test_" in n}
    assert len(tests) >= 3
    assert {name: bare for name, source in tests.items() if (bare := checkless_tests(source))} == {}


SLUG = re.compile(r"[a-z]+(-[a-z0-9]+)+")
RAISES = re.compile(r"^_?(error|bad|unknown|.*Error|.*Found|.*Recording|.*Reached|Problem)$")


def slugs_in(source: str) -> set[str]:
    """Return every slug that ``source`` gives an error, by keyword or in place, or writes out in brackets."""
    found = set(re.findall(r"\[llmwatch:([a-z0-9-]+)\]", source)) - {"slug"}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.arguments):
            pairs = zip(node.kwonlyargs, node.kw_defaults, strict=True)
            found |= {d.value for a, d in pairs if a.arg == "slug" and isinstance(d, ast.Constant)}
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = [k.value for k in node.keywords if k.arg == "slug"] + (node.args if RAISES.match(name) else [])
        values = [value.value for value in given if isinstance(value, ast.Constant)]
        found |= {value for value in values if isinstance(value, str) and SLUG.fullmatch(value)}
    return found


def test_every_message_is_documented(tracked: list[Path], project_root: Path) -> None:
    sources = {n: s for n, s in _python(tracked, project_root) if n.startswith("pytest_llmwatch/")}
    slugs = {slug: name for name, source in sources.items() for slug in slugs_in(source)}
    page = (project_root / "docs/reference/messages.md").read_text("utf-8")
    documented = set(re.findall(r"^## `?([a-z0-9-]+)`?$", page, flags=re.MULTILINE))
    assert "plugin-import" in slugs
    assert {slug: where for slug, where in slugs.items() if slug not in documented} == {}
    assert documented - set(slugs) == set(), "documented, but nothing says it"


def test_the_checks_see_what_they_look_for() -> None:
    body = "    x = 1\n"
    assert long_functions("def f():\n" + body * 80) == [("f", 81)]
    assert long_functions("def f():\n" + body * 60) == []
    assert bare_excepts("try:\n    pass\nexcept:\n    pass\n") == [3]
    assert bare_excepts("try:\n    pass\nexcept OSError:\n    pass\n") == []
    assert checkless_tests("def test_a():\n    run()\n") == ["test_a"]
    assert checkless_tests("def test_a():\n    with pytest.raises(ValueError):\n        run()\n") == []
    assert checkless_tests("def helper():\n    assert x\n\ndef test_a():\n    helper()\n") == []
    assert UNFINISHED.search("# TO" + "DO later")
    assert not UNFINISHED.search("todo list")
    assert FOREIGN.search("see https://py" + "pi.org/simple")
    assert not FOREIGN.search("a framework/tool")
    assert slugs_in('raise UsageError("x", slug="map-option")\nself.error(path, "no", "budget-key")') == {
        "map-option",
        "budget-key",
    }
    assert slugs_in('header.get("content-type")\nprint("well-known")') == set()
