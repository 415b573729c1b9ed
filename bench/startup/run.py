"""Time a one-test pytest run with the idle plugin against the same environment without it, and against a peer.

Each round runs every variant once, in random order, so that a change of the machine's load meets all alike. What
counts is the median, and the median of the ratios within a round. Two settings: bytecode cached, and
``PYTHONDONTWRITEBYTECODE=1`` as most CI images have it: there pip compiled the packages, but pytest finds no
rewritten module and keeps none, so it rewrites each plugin's modules again on every run. The ratio is given for
the time on the clock and for the processor time, which a loaded machine disturbs less.

    python bench/startup/run.py [--rounds 15] [--peer langsmith] [--json out.json]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass
from pathlib import Path

TEST = "def test_nothing():\n    assert True\n"


@dataclass(frozen=True)
class Variant:
    """One way to start pytest: a name, an interpreter, and arguments."""

    name: str
    python: str
    args: tuple[str, ...]


def main() -> None:
    """Measure, print a table, and write the figures where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--peer", action="append", default=[], help="install this beside, in an environment of its own"
    )
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    print(machine())
    figures = {}
    with tempfile.TemporaryDirectory(prefix="startup-") as name:
        folder = Path(name)
        project = folder / "project"
        project.mkdir()
        (project / "test_nothing.py").write_text(TEST, "utf-8")
        (project / "pytest.ini").write_text("[pytest]\n", "utf-8")
        variants = [
            Variant("without", sys.executable, ("-p", "no:llmwatch")),
            Variant("idle", sys.executable, ()),
        ]
        for peer in options.peer:
            python = install(peer, folder / peer)
            variants += [
                Variant(f"{peer}, off", python, ("-p", f"no:{plugin_of(peer, python)}")),
                Variant(peer, python, ()),
            ]
        for setting, extra in (("cached", {}), ("no bytecode", {"PYTHONDONTWRITEBYTECODE": "1"})):
            figures[setting] = measure(variants, project, extra, options.rounds)
            show(setting, figures[setting], options.rounds)
    print(machine())
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def machine() -> str:
    """Say what else the machine is doing: figures of a loaded machine are ratios at best."""
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return f"load {load} on {os.cpu_count()} cores, Python {sys.version.split()[0]}"


def install(peer: str, folder: Path) -> str:
    """Install ``peer`` with pytest into ``folder`` and return the interpreter."""
    print(f"installing {peer} ...", flush=True)
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "pytest", peer]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return python


def plugin_of(peer: str, python: str) -> str:
    """Return the name under which ``peer`` registers itself with pytest."""
    code = (
        "import importlib.metadata as m, sys; "
        "print([e.name for e in m.distribution(sys.argv[1]).entry_points if e.group == 'pytest11'][0])"
    )
    return subprocess.run([python, "-c", code, peer], check=True, capture_output=True, text=True).stdout.strip()


def measure(variants: list[Variant], project: Path, extra: dict[str, str], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each run, by variant, round by round; one round before is thrown away.

    Processor seconds stand under the variant's name with ``" cpu"`` behind it.
    """
    hidden = ("PYTEST_", "COV_", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
    env = {k: v for k, v in os.environ.items() if not k.startswith(hidden)} | extra
    seconds: dict[str, list[float]] = {v.name + kind: [] for v in variants for kind in ("", " cpu")}
    stale: list[Path] = []
    for round_ in range(rounds + 1):
        for variant in random.sample(variants, len(variants)):
            if extra:
                stale = stale or caches(variants)
                for cache in stale:
                    cache.unlink(missing_ok=True)
            command = [variant.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *variant.args]
            start, cpu = time.perf_counter(), processor()
            done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)
            taken, used = time.perf_counter() - start, processor() - cpu
            if done.returncode != 0:
                raise SystemExit(f"{variant.name}: exit {done.returncode}\n{done.stdout}{done.stderr}")
            if round_ > 0:
                seconds[variant.name].append(taken)
                seconds[f"{variant.name} cpu"].append(used)
    return seconds


def processor() -> float:
    """Return the processor seconds, user and system, of all finished child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def caches(variants: list[Variant]) -> list[Path]:
    """Return the files in which pytest kept rewritten plugin modules."""
    places = [Path(__file__).resolve().parents[2] / "pytest_llmwatch"]
    places += [place for v in variants for place in (Path(v.python).parent.parent / "lib").glob("*/site-packages")]
    return [file for place in sorted(set(places)) for file in place.rglob("*-pytest-*.pyc")]


def show(setting: str, seconds: dict[str, list[float]], rounds: int) -> None:
    """Print medians, spread and the ratio to the same environment without the plugin."""
    print(f"\n{setting}, {rounds} rounds")
    print(f"  {'':22} {'median s':>9} {'quartiles':>15} {'ratio':>7} {'cpu ratio':>10}")
    names = [name for name in seconds if not name.endswith(" cpu")]
    for bare, name in zip(names[::2], names[1::2], strict=True):
        for each in (bare, name):
            low, middle, high = statistics.quantiles(seconds[each], n=4)
            clock, cpu = (ratio(seconds[each + kind], seconds[bare + kind]) for kind in ("", " cpu"))
            print(f"  {each:22} {middle:9.3f} {low:7.3f}-{high:7.3f} {clock:7.3f} {cpu:10.3f}")


def ratio(these: list[float], those: list[float]) -> float:
    """Return the median of the ratios within a round."""
    return statistics.median(a / b for a, b in zip(these, those, strict=True))


if __name__ == "__main__":
    main()
