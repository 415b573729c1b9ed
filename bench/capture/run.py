"""What capture costs beside the bare SDK, stock vcrpy and pytest-recording, in one run on real loopback servers.

Each round runs every subject, in random order, so that a change of the machine's load meets all alike. Times are
processor time of the client's process, which a loaded machine disturbs less than the clock; figures are medians
over rounds, ratios medians of the ratios within a round. The server runs in another process.

    python bench/capture/run.py [--quick] [--only live,replay,counts,bytecodes,ttft,...] [--json FILE]

It ends with exit code 1 where calls are lost, or where a call costs more operations than it did (`counts.py`):
these do not depend on how busy the machine is.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import bytecodes
import counts
import measures
import subjects
import suite

Rows = list[dict[str, Any]]


def main() -> None:
    """Measure, print Markdown tables, and write the figures where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="few rounds: counts and losses hold, times mean nothing"
    )
    parser.add_argument("--only", default=",".join(TABLES), help="which tables, with commas between")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    wanted = options.only.split(",")
    if unknown := set(wanted) - set(TABLES):
        raise SystemExit(f"--only knows {', '.join(TABLES)} (got {', '.join(sorted(unknown))})")
    print(machine(), flush=True)
    figures: dict[str, Rows] = {}
    server = subjects.Server()
    try:
        with tempfile.TemporaryDirectory(prefix="capture-") as name:
            for table in wanted:
                folder = Path(name) / table
                folder.mkdir()
                measure, show = TABLES[table]
                figures[table] = measure(server, folder, options.quick)
                print("\n" + show(figures[table]), flush=True)
    finally:
        server.close()
    print("\n" + machine())
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    if broken := [*_broken(figures.get("counts", [])), *_lost(figures.get("concurrent", []))]:
        raise SystemExit("\n".join(broken))


def _broken(rows: Rows) -> list[str]:
    return [f"{row['case']}: {row['broken']}" for row in rows if "broken" in row]


def _lost(rows: Rows) -> list[str]:
    out = []
    for row in rows:
        wanted = row["asked"]
        held = {k: row[k] for k in ("records", "ids", "in the cassette", "replayed equal", "replays") if k in row}
        if row["subject"] == subjects.Ours.name and (
            set(held.values()) != {wanted} or not row["in order"] or not row["same ids"]
        ):
            out.append(f"of {wanted} concurrent calls: {held}, in order {row['in order']}")
    return out


def machine() -> str:
    """Say versions, and what else the machine is doing: figures of a loaded machine are ratios at best."""
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    names = ("openai", "httpx2", "httpx", "vcrpy", "pytest")
    versions = []
    for name in names:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return f"load {load} on {os.cpu_count()} cores, Python {sys.version.split()[0]}, {', '.join(versions)}"


def table(heads: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table; all columns but the first are right-aligned."""
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def us(seconds: float) -> str:
    """Return microseconds as text."""
    return f"{seconds * 1e6:,.0f}"


def ms(seconds: float) -> str:
    """Return milliseconds as text."""
    return f"{seconds * 1e3:,.2f}"


def show_live(rows: Rows) -> str:
    """Return the table of live calls."""
    heads = [
        "CPU per live call, us",
        "bare SDK",
        "watched",
        "ratio",
        "recorded",
        "ratio",
        "saved",
        "vcrpy",
        "ratio",
        "saved",
    ]
    return table(
        heads,
        [
            [
                row["case"],
                us(row["bare"]),
                us(row["watched"]),
                f"{row['watched ratio']:.2f}",
                us(row["recorded"]),
                f"{row['recorded ratio']:.2f}",
                us(row["recorded saved"]),
                us(row["vcrpy"]),
                f"{row['vcrpy ratio']:.2f}",
                us(row["vcrpy saved"]),
            ]
            for row in rows
        ],
    )


def show_replay(rows: Rows) -> str:
    """Return the tables of replayed calls and of loading."""
    parts = []
    for key, head, unit in (
        ("replayed", "CPU per replayed call at the end, us", us),
        ("load", "CPU until a cassette can be asked, ms", ms),
        ("parse", "CPU until all of it is parsed, ms", ms),
    ):
        body = [
            [str(r["size"]), unit(r[f"ours {key}"]), unit(r[f"vcrpy {key}"]), f"{r[f'{key} ratio']:.1f}"]
            for r in rows
        ]
        parts.append(table([head, "pytest-llmwatch", "vcrpy", "times faster"], body))
    return "\n\n".join(parts)


def show_ttft(rows: Rows) -> str:
    """Return the table of errors of the time to first token."""
    heads = ["Time to first token, ms", "measured by", "server's", "error, median", "error, worst", "median share"]
    body = [
        [r["case"], r["subject"], ms(r["server"]), ms(r["error"]), ms(r["worst"]), f"{r['share']:.1%}"]
        for r in rows
    ]
    return table(heads, body)


def show_plain(first: str) -> Callable[[Rows], str]:
    """Return what shows rows as they are, one line for each figure."""

    def show(rows: Rows) -> str:
        keys = list(dict.fromkeys(key for row in rows for key in row if key != first))
        heads = [first, *(str(row[first]) for row in rows)]
        return table(heads, [[key, *(_cell(row.get(key)) for row in rows)] for key in keys])

    return show


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.4f}" if value < 0.1 else f"{value:,.2f}"
    return str(value)


TABLES: dict[str, tuple[Callable[[subjects.Server, Path, bool], Rows], Callable[[Rows], str]]] = {
    "live": (
        lambda server, folder, quick: measures.live(
            server, folder, rounds=1 if quick else 9, calls=5 if quick else 40
        ),
        show_live,
    ),
    "replay": (
        lambda server, folder, quick: measures.replay(
            server, folder, rounds=1 if quick else 5, sizes=(10, 20) if quick else (10, 100, 1000)
        ),
        show_replay,
    ),
    "counts": (
        lambda server, folder, quick: counts.operations(
            server, folder, sizes=(10, 40) if quick else (10, 100, 1000)
        ),
        show_plain("case"),
    ),
    "bytecodes": (lambda server, folder, quick: bytecodes.bytecodes(server, folder), show_plain("case")),
    "ttft": (
        lambda server, folder, quick: measures.first_token(server, folder, calls=3 if quick else 40),
        show_ttft,
    ),
    "concurrent": (
        lambda server, folder, quick: measures.concurrent(server, folder, calls=20 if quick else 1000),
        show_plain("subject"),
    ),
    "memory": (
        lambda server, folder, quick: measures.memory(
            server, folder, sizes=(20,) if quick else (1000, 10_000), rounds=1
        ),
        show_plain("calls"),
    ),
    "suite": (
        lambda server, folder, quick: suite.suite(
            server, folder, tests=5 if quick else 200, rounds=1 if quick else 5
        ),
        show_plain("subject"),
    ),
}

if __name__ == "__main__":
    main()
