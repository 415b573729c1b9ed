"""``llmwatch judge``: how well a judge agrees with people."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmwatch.cli_load import rename_map
from pytest_llmwatch.errors import UsageError

if TYPE_CHECKING:
    from pytest_llmwatch.model import ScorerSpec
    from pytest_llmwatch.pipeline_calibrate import Report

MODES = ("none", "once", "new", "all", "off")


def add(commands: Any) -> None:
    """Add the command to the parser."""
    judge = commands.add_parser("judge", help="how well a judge agrees with people")
    inner = judge.add_subparsers(title="commands", metavar="COMMAND", required=True)
    parser = inner.add_parser("calibrate", help="compare a judge with human labels, and keep what came out")
    parser.add_argument("labels", type=Path, metavar="LABELS", help="JSON lines: RECORDS fields and `label`")
    parser.add_argument("--set", dest="golden", type=Path, metavar="SET", help="golden set that uses the judge")
    parser.add_argument("--score", metavar="NAME", help="name of its score, where the set uses several, or stored")
    parser.add_argument("--scorer", metavar="NAME", help="the judge without a set: judge, factuality, ...")
    parser.add_argument("--options", metavar="JSON", help="its options")
    parser.add_argument(
        "--budget", type=Path, metavar="FILE", help="with [judge] (default: budget.toml, if there)"
    )
    parser.add_argument("--model", help="model that judges, before that of the budget")
    parser.add_argument("--base-url", metavar="URL", help="where it is")
    parser.add_argument(
        "--cassette", type=Path, metavar="FILE", help="record the questions there, and replay them"
    )
    parser.add_argument("--record", choices=MODES, help="as --llm-record (default: once; none where CI is set)")
    parser.add_argument("--repeats", type=int, default=1, metavar="N", help="ask N times: self-consistency")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N labels")
    parser.add_argument(
        "--threshold", type=float, default=0.5, metavar="T", help="score that counts as good (0.5)"
    )
    parser.add_argument("--map", action="append", default=[], metavar="OLD=NEW", help="rename a key of LABELS")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: judge.json beside the budget")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=cmd_calibrate)


def cmd_calibrate(args: argparse.Namespace) -> int:
    """Compare, keep, print; the exit code does not depend on how well the judge did."""
    from pytest_llmwatch import pipeline, pipeline_calibrate, pipeline_judge

    if args.repeats < 1 or (args.limit is not None and args.limit < 2):
        raise UsageError("--repeats must be at least 1, --limit at least 2", slug="judge-labels")
    if not 0 < args.threshold <= 1:
        raise UsageError(f"--threshold must be in (0, 1] (got {args.threshold:g})", slug="judge-labels")
    budget_file = args.budget or (Path("budget.toml") if Path("budget.toml").is_file() else None)
    setup = pipeline.load_setup(budget_file, golden=[Path("golden_sets")])
    setup = pipeline_judge.with_model(setup, model=args.model, base_url=args.base_url)
    spec = _spec(args)
    name = args.score or ((spec.label or spec.name) if spec is not None else "judge")
    found = pipeline_calibrate.rows(args.labels, name, rename=rename_map(args.map), limit=args.limit)
    if all(r.stored is not None for r in found):
        report = pipeline_judge.from_stored(found, setup, spec, name=name, threshold=args.threshold)
    else:
        report = pipeline_judge.from_questions(
            found,
            setup,
            _known(spec),
            cassette=args.cassette,
            record=args.record or ("none" if os.environ.get("CI") else "once"),
            repeats=args.repeats,
            threshold=args.threshold,
            progress=_progress if sys.stderr.isatty() else None,
        )
    target = args.output or (budget_file.parent if budget_file else Path()) / "judge.json"
    if report.version is not None:
        made = datetime.datetime.now(datetime.UTC).date().isoformat()
        pipeline_calibrate.keep(target, report, made)
    if args.json:
        print(json.dumps(_as_json(report), indent=2))
    else:
        print(as_text(report, target if report.version is not None else None))
    return 0


def _known(spec: ScorerSpec | None) -> ScorerSpec:
    if spec is None:
        raise UsageError(
            "LABELS holds answers without a score of the judge, and no judge is named: give --set, or --scorer",
            slug="judge-scorer",
        )
    return spec


def _spec(args: argparse.Namespace) -> ScorerSpec | None:
    """Return the judge that the command line names, None where it names none."""
    from pytest_llmwatch import pipeline, pipeline_judge
    from pytest_llmwatch.model import ScorerSpec

    if args.scorer:
        try:
            options = json.loads(args.options or "{}")
        except ValueError as error:
            raise UsageError(f"--options must be JSON ({error})", slug="judge-scorer") from None
        if not isinstance(options, dict):
            raise UsageError(f"--options must be a JSON object (got {args.options!r:.60})", slug="judge-scorer")
        return pipeline_judge.checked(ScorerSpec(args.scorer, options))
    if args.golden is None:
        return None
    file = args.golden / "set.yaml" if args.golden.is_dir() else args.golden
    judges = [s for s in pipeline.load_golden(file).scorers if pipeline_judge.is_judge(s)]
    named = [s for s in judges if args.score in (None, s.label or s.name)]
    if len(named) != 1:
        names = ", ".join(s.label or s.name for s in judges) or "none"
        what = f"no judge {args.score!r}" if args.score else "not one judge, so --score must name which"
        raise UsageError(f"{file} has {what}; it has: {names}", slug="judge-scorer")
    return named[0]


def _progress(done: int, total: int) -> None:
    print(f"\rasked {done:,} of {total:,}", end="" if done < total else "\n", file=sys.stderr, flush=True)


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "version": report.version,
        **report.data,
        "may_gate": report.version is not None and report.objection is None,
        "because": report.objection,
    }


def as_text(report: Report, kept: Path | None) -> str:
    """Return the report for people."""
    data = report.data
    model = f" by {data['model']}" if data["model"] else ""
    lines = [f"{data['name']}{model} ({report.version or 'version not known'}) against {data['n']:,} labels"]
    lost = ", ".join(f"{n:,} {label}" for label, n in data["missing"].items())
    if lost:
        lines.append(f"  without a score    {lost}")
    low, high = data["kappa_ci"]
    kappa = "not defined" if data["kappa"] is None else f"{data['kappa']:.3f} [{low:.3f}, {high:.3f}]"
    weighted = "weighted, " if data["weighted"] else ""
    lines.append(f"  Cohen's kappa      {kappa} ({weighted}95 % bootstrap; 0 is chance, 1 is full agreement)")
    low, high = data["accuracy_ci"]
    lines.append(
        f"  accuracy           {data['accuracy']:.3f} [{low:.3f}, {high:.3f}]; always naming the most frequent "
        f"class: {data['majority_baseline']:.3f}"
    )
    if data["auroc"] is not None:
        lines.append(f"  AUROC              {data['auroc']:.3f}")
    if data["ece"] is not None:
        lines.append(f"  calibration error  {data['ece']:.3f}")
    for key, words in (("position_bias", "position bias"), ("self_consistency", "self-consistency")):
        if data[key] is not None:
            lines.append(f"  {words:<18} {data[key]['rate']:.3f} of {data[key]['n']:,} answers")
    if data.get("calls"):
        usd = data["cost_usd"]
        lines.append(f"  asked              {data['calls']:,} questions" + (f", {usd:.4f} USD" if usd else ""))
    lines += ["", *_table(data["confusion"]), ""]
    if report.version is None:
        lines.append("Not kept: which judge made these scores is not known; name it by --set or --scorer.")
    elif report.objection is None:
        lines.append(f"This judge may fail a build. Kept in {kept}.")
    else:
        lines.append(f"This judge may only warn: {report.objection}. Kept in {kept}.")
    return "\n".join(lines)


def _table(confusion: Mapping[str, Any]) -> list[str]:
    names = [str(c).lower() if isinstance(c, bool) else f"{c:g}" if isinstance(c, float) else str(c)[:20]
             for c in confusion["classes"]]  # fmt: skip
    rows = [["people \\ judge", *names]]
    rows += [[n, *map(str, r)] for n, r in zip(names, confusion["people_by_judge"], strict=True)]
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    return ["  " + "  ".join(c.rjust(w) for c, w in zip(r, widths, strict=True)) for r in rows]
