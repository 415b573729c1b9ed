"""Secrets: how many keys are hidden, and how many look-alikes with them.

No public set of real secrets may be kept, so keys are made (made_keys.py): in the forms that vendors document, and
from the rules of gitleaks, another tool's list of forms, of which one half was looked at while the patterns were
written and the other was not. What gitleaks' own tests hold to be secrets and not are the third part. Gitleaks is
read from a clone in ``$LLMWATCH_GITLEAKS``; without one its rows are left out, which is said.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import made_keys
from family_safety import recall
from labels import SETS, read, text
from table import Row

from pytest_llmwatch.redact import Redactor

_ELEMENT = re.compile(r'^\s*(?:`([^`]{12,})`|"((?:[^"\\\n]|\\.){12,})"),?\s*(?://.*)?$', re.MULTILINE)


@functools.cache
def redactor() -> Redactor:
    """Return what the scorer searches with."""
    return Redactor()


def hidden(key: str, where: str) -> bool:
    """Whether a key that stands in a text is found whole."""
    return key not in redactor().text(where)


def alarmed(where: str) -> bool:
    """Whether the scorer finds a secret in a text."""
    return any(not found.personal for found in redactor().find(where))


def made() -> Iterator[Row]:
    """Keys that were made in documented forms, and look-alikes."""
    for name, keys in (
        ("keys by vendors' forms", made_keys.keys()),
        ("keys that a name tells", made_keys.named_keys()),
    ):
        items: list[dict[str, Any]] = [
            {"hit": hidden(key, where), "group": kind, "kind": kind} for kind, key, where in keys
        ]
        missed = Counter(item["kind"] for item in items if not item["hit"])
        note = "missed: " + ", ".join(f"{kind} {n}" for kind, n in missed.items()) if missed else ""
        yield recall(f"made {name}", "secrets", items, lambda item: item["hit"], note, rated=False)
    wrong = Counter(kind for kind, where in made_keys.look_alikes() if alarmed(where))
    n = sum(1 for _ in made_keys.look_alikes())
    note = ", ".join(f"{kind} {count}" for kind, count in wrong.items())
    yield Row("made look-alikes", "secrets", n, sum(wrong.values()) / n, measure="false alarms", note=note)


def looked_at(name: str) -> bool:
    """Whether a rule is of the half that was looked at."""
    return hashlib.sha256(name.encode()).digest()[0] % 2 == 1


def rules(clone: Path) -> Iterator[Row]:
    """Keys made from the rules of gitleaks."""
    known = tomllib.loads((clone / "config" / "gitleaks.toml").read_text("utf-8"))["rules"]
    items = [
        {"hit": hidden(key, where), "group": rule, "named": named, "seen": looked_at(rule)}
        for rule, key, where, named in made_keys.rule_keys(known)
    ]
    for named, what in ((False, "forms of their own"), (True, "that a name tells")):
        for seen, half in ((True, "half looked at"), (False, "other half")):
            part = [item for item in items if item["named"] == named and item["seen"] == seen]
            note = f"{len({item['group'] for item in part})} rules"
            name = f"gitleaks' rules, {what}, {half}"
            yield recall(name, "secrets", part, lambda item: item["hit"], note, rated=False)


def examples(clone: Path) -> Iterator[Row]:
    """Texts that gitleaks' own tests hold to be secrets, and to be none."""
    true: list[dict[str, Any]] = []
    false: list[str] = []
    for file in sorted((clone / "cmd" / "generate" / "config" / "rules").glob("*.go")):
        source = re.sub(r"(?m)^\s*//.*$", "", file.read_text("utf-8"))
        for function in source.split("\nfunc ")[1:]:
            first, _mark, rest = function.partition("fps ")
            given = first.partition("tps")[2]
            true += [{"text": a or b, "group": file.stem} for a, b in _ELEMENT.findall(given)]
            false += [a or b for a, b in _ELEMENT.findall(rest)]
    if not true:
        return
    hits = sum(alarmed(item["text"]) for item in true)
    wrong = sum(map(alarmed, false))
    note = f"precision {hits / (hits + wrong):.3f}: {wrong} false alarms in {len(false)} examples of none"
    yield recall("gitleaks' examples", "secrets", true, lambda item: alarmed(item["text"]), note, rated=False)


def others() -> Iterator[Row]:
    """Contexts and answers of other sets, in which nobody planted anything."""
    texts: set[str] = set()
    for name in (*SETS, "halueval_general", "haluquestqa", "llmdrift"):
        for row in read(name):
            texts |= {text(row, "context"), text(row, "output"), text(row, "input")}
    texts -= {""}
    if texts:
        wrong = sum(map(alarmed, texts))
        yield Row(
            "texts of eight other sets", "secrets", len(texts), wrong / len(texts), measure="false alarms",
            note=f"{wrong} texts",
        )  # fmt: skip


def rows() -> Iterator[Row]:
    """Yield all of them."""
    yield from made()
    clone = Path(os.environ.get("LLMWATCH_GITLEAKS", ""))
    if (clone / "config" / "gitleaks.toml").is_file():
        yield from rules(clone)
        yield from examples(clone)
    else:
        print("SKIPPED gitleaks: no clone of it in $LLMWATCH_GITLEAKS; nothing was measured on its rules.")
    yield from others()
