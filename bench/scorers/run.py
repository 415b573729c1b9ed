"""Every scorer against people's labels: python bench/scorers/run.py [--only FAMILY] [--write-docs]

Prints one table, set x scorer: the AUROC (label 1 = bad) or what else the set allows, with its 95 % interval
bootstrapped over source documents, and answers a second. A family of scorers is a module ``family_NAME.py`` (see
table.py); a set or a package that is not there is said and left out. ``--write-docs`` puts the table into
docs/explanation/scores.md.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import table  # noqa: E402

PAGE = HERE.parents[1] / "docs" / "explanation" / "scores.md"
_BLOCK = re.compile(r"(<!-- measured: table -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def families() -> list[str]:
    """Return the families there are."""
    return table.ordered(path.stem.removeprefix("family_") for path in HERE.glob("family_*.py"))


def conditions() -> str:
    """Return what the speeds were measured on."""
    return (
        f"Python {platform.python_version()}, one core of {os.cpu_count()}, "
        f"load average {os.getloadavg()[0]:.1f} while measuring"
    )


def write(measured: dict[str, list[table.Row]]) -> None:
    """Put the table into the page, families that were not measured now as they were kept."""
    known = table.keep(measured)
    rows = [row for family in table.ordered(known) for row in known[family]]
    text = PAGE.read_text("utf-8")
    body = f"{table.markdown(rows)}\n\n{conditions()}.\n"
    made, n = _BLOCK.subn(lambda m: m[1] + body + m[3], text)
    if n != 1:
        raise SystemExit(f"{PAGE}: no place for the table (<!-- measured: table --> ... <!-- end -->)")
    PAGE.write_text(made, "utf-8")
    print(f"Wrote {len(rows)} rows into {PAGE.relative_to(HERE.parents[1])}.")


def main() -> int:
    """Measure; exit 0 also where data are absent, after saying so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=families(), help="measure this family (repeatable)")
    parser.add_argument("--write-docs", action="store_true", help="put the table into the page")
    given = parser.parse_args()
    measured: dict[str, list[table.Row]] = {}
    for family in given.only or families():
        measured[family] = list(importlib.import_module(f"family_{family}").rows())
    print(table.plain([row for rows in measured.values() for row in rows]))
    print(conditions())
    if given.write_docs:
        write(measured)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
