"""``llmwatch plan``: what a golden set can detect, and what it would take, before money is spent."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pytest_llmwatch import format as fmt
from pytest_llmwatch.cli_load import add_store, load, store_of
from pytest_llmwatch.errors import UsageError

if TYPE_CHECKING:
    from pytest_llmwatch.plan import Plan


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("plan", help="cases, repeats, calls, dollars and minutes to find a drop")
    parser.add_argument("run_ref", nargs="?", default="latest", metavar="RUN|RECORDS", help="default: latest")
    parser.add_argument("--drop", type=float, default=0.05, help="smallest drop to be found (default 0.05)")
    parser.add_argument("--power", type=float, default=0.9, help="chance to find it (default 0.9)")
    parser.add_argument("--alpha", type=float, default=0.01, metavar="A", help="false alarms (default 0.01)")
    parser.add_argument("--repeats", type=int, default=1, metavar="N", help="of a build (default 1)")
    parser.add_argument("--baseline-repeats", type=int, default=5, metavar="N", help="default 5")
    parser.add_argument(
        "--looks", type=int, metavar="N", help="what looking after each N-th of the cases would save"
    )
    parser.add_argument("--set", dest="set_name", metavar="NAME", help="one golden set (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_store(parser)
    parser.set_defaults(run=cmd_plan)


def cmd_plan(args: argparse.Namespace) -> int:
    """Print the plan."""
    from pytest_llmwatch import plan as planning
    from pytest_llmwatch.compare_samples import samples_of

    for name, low, high in (("drop", 0.0, 1.0), ("power", 0.0, 1.0), ("alpha", 0.0, 0.5)):
        value = getattr(args, name)
        if not low < value < high:
            raise UsageError(f"--{name} must be in ({low:g}, {high:g}) (got {value:g})", slug="plan-option")
    for name in ("repeats", "baseline_repeats"):
        if getattr(args, name) < 1:
            raise UsageError(f"--{name.replace('_', '-')} must be at least 1", slug="plan-option")
    if args.looks is not None and not 2 <= args.looks <= 20:
        raise UsageError(f"--looks must be in [2, 20] (got {args.looks})", slug="plan-option")
    run, notes = load(args.run_ref, [], store=store_of(args))
    if args.set_name:
        from dataclasses import replace

        kept = tuple(r for r in run.results if r.set == args.set_name)
        ids = {i for r in kept for i in r.call_ids}
        run = replace(run, results=kept, calls=tuple(c for c in run.calls if c.id in ids))
    side = samples_of(run)
    if not side.metrics():
        raise UsageError(f"{args.run_ref} holds nothing to plan from; run the golden set once", slug="plan-empty")
    made = planning.plan(
        side,
        planning.price_of(run),
        drop=args.drop,
        power=args.power,
        alpha=args.alpha,
        baseline_repeats=args.baseline_repeats,
        candidate_repeats=args.repeats,
    )
    parts = planning.in_parts(made, args.looks) if args.looks is not None else ()
    if args.json:
        keys = ("metric", "power", "share_if_worse", "share_if_unchanged")
        looked = {"looks": [dict(zip(keys, row, strict=True)) for row in parts]} if parts else {}
        print(json.dumps(asdict(made) | looked, indent=2))
        return 0
    print(as_text(made))
    for name, found, share, quiet in parts:
        print(
            f"{name}, looked at after each of {args.looks} parts of the cases, one repeat each: finds "
            f"{made.drop:g} in {found:.0%} of builds with {share:.0%} of the calls; an unchanged build takes "
            f"{quiet:.0%}"
        )
    for note in notes:
        print(f"note: {note}")
    return 0


def as_text(made: Plan) -> str:
    """Return the plan for people."""
    kb, kc = made.repeats
    head = [
        "metric",
        "noise",
        f"power for {made.drop:g}",
        f"detects ({made.asked:.0%})",
        "cases needed",
        "repeats",
    ]
    rows = []
    for need in made.needs:
        noise = f"{need.sd:.3g}" + (" (assumed)" if need.assumed else "")
        more = "enough" if need.enough == 1 else f"{need.enough}" if need.enough else "more cases"
        rows.append(
            [need.metric, noise, f"{need.power:.2f}", f"{need.detects:.3g}", f"{need.cases:,}", more]
        )  # fmt: skip
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [f"{fmt.plural(made.cases, 'case')}, {kb} repeats in the baseline, {kc} in a build"]
    lines += [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    ]
    lines.append(
        f"a build takes {_price(made, made.cases, kc)}; a baseline of {kb}: {_price(made, made.cases, kb)}"
    )
    if any(n.assumed for n in made.needs):
        lines.append("noise is assumed where no case was repeated: pytest golden_sets --llm-repeats=3 measures it")
    return "\n".join(lines)


def _price(made: Plan, cases: int, repeats: int) -> str:
    calls, usd, seconds = made.cost(cases, repeats)
    parts = [fmt.plural(round(calls), "call")]
    if usd is not None:
        parts.append(fmt.value(usd, "usd"))
    if seconds is not None:
        parts.append(f"{seconds / 60:.1f} minutes one call at a time")
    return ", ".join(parts)
