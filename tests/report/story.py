"""A report with all that a page can show: a baseline with answers, a history, traces, retrievals, an incident."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from types import ModuleType
from typing import Any

from pytest_llmwatch.measure import aggregates
from pytest_llmwatch.model import Call, Incident, Report, Retrieval, Run, Span, Verdict

RUNS = 26


def story(factory: ModuleType, calls: int = 412, *, hostile: bool = False) -> Report:
    """Return the factory's report with the past of it: what it was compared with, and 26 earlier runs."""
    report = factory.make_report(calls, hostile=hostile)
    before = factory.make_run(calls, seed=11, hostile=hostile)
    before = replace(before, run_id="41ab9e07c210", results=tuple(_better(r) for r in before.results))
    traced, spans = _traced(factory, report.run, hostile=hostile)
    run = replace(report.run, calls=traced, spans=spans)
    sentence = (
        "4 of 16 rules broke: calls are slower than latency.p95 allows, and answers are less grounded than before."
    )
    return replace(
        report, run=run, sentence=sentence, aggregates=aggregates(run), before=before,
        history=_history(report), verdicts=(*report.verdicts, *_drift(report)),
        incidents=(Incident("inc-20261120-1", "SEV2", "quality", "Groundedness fell under its floor",
                            ("quality.groundedness",), "detected", "2026-11-20T02:05:00Z"),),
    )  # fmt: skip


_BEFORE = {
    "refund": "Refunds are paid within 14 days, no questions asked. Orders above 200 euros need the approval of a "
    "team lead.",
    "shipping": "Standard shipping costs 4.90 euros and takes 3 to 5 working days. "
    "Express shipping costs 12.50 euros.",
    "account": "The link is valid for 30 minutes, and your account will be locked for an hour "
    "after 5 failed attempts.",
}


def _better(result: Any) -> Any:
    topic = result.case.split("-")[0]
    scores = tuple(replace(s, value=max(s.value, 0.93)) if s.value is not None else s for s in result.scores)
    return replace(result, outcome="passed", output=_BEFORE.get(topic, result.output), scores=scores)


def _traced(factory: ModuleType, run: Run, *, hostile: bool) -> tuple[tuple[Call, ...], tuple[Span, ...]]:
    calls, spans = list(run.calls), []
    for i, call in enumerate(calls):
        if i % 9 != 1 and not (hostile and i < 60):
            continue
        trace, start = f"t{i:04d}", factory.START + timedelta(seconds=i * 0.093)
        word = call.output if hostile and call.output else "handbook"
        given = {
            "trace_id": trace,
            "nodeid": call.nodeid,
            "case": call.case,
            "set": call.set,
            "repeat": call.repeat,
        }
        times = [(start + timedelta(seconds=s)).isoformat() for s in (0, 0.02, 0.31)]
        own = call.latency or 0.4
        spans += [
            Span(f"a{i}", "answer", "agent", time=times[0], latency=own + 0.4, **given),
            Span(f"r{i}", "retrieve", "retrieval", parent_id=f"a{i}", time=times[1], latency=0.24,
                 retrieval=Retrieval("What about my order?", (word[:60], "faq-3") if i % 27 != 1 else (),
                                     scores=(0.81, 0.62), source="index", top_k=4), **given),
            Span(f"p{i}", word[:90] if hostile else "parse the answer", parent_id=f"a{i}",
                 time=(start + timedelta(seconds=0.32 + own)).isoformat(), latency=0.03,
                 error=word[:80] if hostile or i % 36 == 1 else None, **given),
        ]  # fmt: skip
        calls[i] = replace(call, trace_id=trace, span_id=f"c{i}", parent_id=f"a{i}", time=times[2])
    return tuple(calls), tuple(spans)


def _history(report: Report) -> tuple[dict[str, Any], ...]:
    rng = random.Random(3)
    now = report.aggregates
    out = []
    for i in range(RUNS):
        late = i >= RUNS - 6
        ground = rng.gauss(0.9, 0.006) - (0.045 if late else 0)
        p50 = rng.gauss(0.80, 0.012)
        out.append({
            "run_id": f"run-{i:02d}", "verdict": "pass",
            "time": f"2026-11-{i // 2 + 1:02d}T{12 * (i % 2):02d}:04:11+00:00",
            "environment": {"commit": f"{rng.getrandbits(40):010x}"},
            "aggregates": {
                "calls": 412, "failed": rng.randint(6, 12), "cost_usd": rng.gauss(0.078, 0.001),
                "executions": 412, "passed": rng.randint(360, 380),
                "latency": {"p50": p50}, "ttft": {"p50": p50 * 0.27},
                "scores": {name: {"mean": ground if name == "groundedness" else rng.gauss(0.88, 0.004)}
                           for name in now.get("scores", {"groundedness": 0, "relevance": 0, "composite": 0})},
            },
        })  # fmt: skip
    return tuple(out)


def _drift(report: Report) -> tuple[Verdict, ...]:
    low = sorted((s.value, r.call_ids[0]) for r in report.run.results
                 if (s := r.score("groundedness")) and s.value is not None)  # fmt: skip

    def rule(metric: str, grade: str, delta: float, ci: tuple[float, float], **more: Any) -> Verdict:
        given = {"family": "quality", "direction": "floor", "layer": "quality", "n": 103, "n_cases": 103} | more
        layer = given.pop("layer")
        return Verdict(
            f"drift.{metric}",
            metric,
            grade,
            layer,
            "test",
            f"{metric} moved by {delta:+.3f} (n = 103 cases, p = 0.0004)",
            delta=delta,
            ci=ci,
            **given,
        )  # type: ignore[arg-type]

    slow = {"family": "latency", "direction": "ceiling", "layer": "availability", "unit": "s"}
    return (
        rule("groundedness", "fail", -0.051, (-0.078, -0.024), baseline=0.893, candidate=0.842, observed=0.842,
             worst=tuple(i for _, i in low[:5])),
        rule("relevance", "pass", 0.004, (-0.006, 0.014), baseline=0.84, candidate=0.844, observed=0.844),
        rule("composite", "warn", -0.021, (-0.045, 0.003), baseline=0.87, candidate=0.849, observed=0.849),
        rule("latency", "inconclusive", 0.06, (-0.02, 0.15), baseline=0.78, candidate=0.83, observed=0.83, **slow),
        rule("cost_usd", "pass", -0.02, (-0.03, -0.01), baseline=0.00019, candidate=0.000186, observed=0.000186,
             **(slow | {"family": "cost", "layer": "cost", "unit": "usd"})),
    )  # fmt: skip
