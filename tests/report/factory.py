"""A realistic report, made up deterministically: hundreds of calls, broken rules, evidence, hostile outputs."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pytest_llmwatch.measure_calls import is_unpriced
from pytest_llmwatch.model import (
    Attempt,
    Call,
    CaseResult,
    Cost,
    Evidence,
    Problem,
    Report,
    Run,
    Score,
    ToolCall,
    Usage,
    Verdict,
    Waiver,
)

START = datetime(2026, 11, 20, 2, 4, 11, tzinfo=UTC)

HOSTILE = (
    "<script>window.pwned = 1; fetch('https://evil.invalid/s')</script>",
    "<img src='https://evil.invalid/p.png' onerror='window.pwned=2'>",
    '"><svg onload="window.pwned=3"><style>body{display:none}</style>',
    "</script></textarea></title><iframe src='https://evil.invalid/f'></iframe>",
    "{{ 7*7 }} {% raw %} ${7*7} <a href='javascript:window.pwned=4'>click</a>",
    "transfer \u202egnp.exe\u202c to \u2066admin\u2069 \u200bnow \U000e0041\U000e0042 \x1b[31mred\x1b[0m \ud800",
    "![x](https://evil.invalid/t.png) [login](https://evil.invalid) @everyone </details> | a | b | `tick`",
    "<!-- --><base href='https://evil.invalid/'><link rel=stylesheet href='https://evil.invalid/c.css'>"
    "<meta http-equiv=refresh content='0;url=https://evil.invalid/'>",
)

_DOCS = {
    "refund": (
        "Refunds are paid to the original payment method within 14 days of the returned parcel arriving. "
        "Orders above 200 euros need the approval of a team lead.",
        "Gift cards cannot be refunded. A damaged item is replaced free of charge if reported within 7 days.",
    ),
    "shipping": (
        "Standard shipping takes 3 to 5 working days inside the EU and costs 4.90 euros.",
        "Express shipping takes 1 working day and costs 12.50 euros. Islands have standard shipping only.",
    ),
    "account": (
        "A password reset link is valid for 30 minutes. After 5 failed attempts it is locked for an hour.",
    ),
}
_GOOD = {
    "refund": "The refund is paid to the original payment method within 14 days of the returned parcel arriving.",
    "shipping": "Standard shipping takes 3 to 5 working days inside the EU and costs 4.90 euros.",
    "account": "The reset link is valid for 30 minutes. After 5 failed attempts it is locked for an hour.",
}
_BAD = {
    "refund": "Refunds are always paid within 48 hours, no questions asked. "
    "Orders above 200 euros need the approval of a team lead. Mr. Calder signs them personally.",
    "shipping": "Shipping is free for everyone and takes 1 to 2 days. Express shipping costs 12.50 euros.",
    "account": "The link never expires, and your account will be locked for 24 hours after 3 failed attempts.",
}
_WRONG = {
    "refund": ("always paid within 48 hours", "48 hours", "Mr. Calder"),
    "shipping": ("free for everyone", "1 to 2 days"),
    "account": ("never expires", "24 hours", "3 failed attempts"),
}
MODELS = ("gpt-5-mini-2026-08-07", "smollm2-135m-instruct")


def make_run(calls: int = 412, *, seed: int = 7, hostile: bool = True, bodies: bool = True) -> Run:
    """Return a run of about ``calls`` calls over four golden sets, four repeats each."""
    rng = random.Random(seed)
    made: list[Call] = []
    results: list[CaseResult] = []
    cases = max(1, calls // 4)
    topics = sorted(_DOCS)
    number = 0
    for index in range(cases):
        topic = topics[index % 3]
        for repeat in range(4):
            if number >= calls:
                break
            call, result = _one(rng, number, index, repeat, topic, bodies=bodies)
            if hostile and number < len(HOSTILE):
                call, result = _poison(call, result, HOSTILE[number])
            made.append(call)
            results.append(result)
            number += 1
    if hostile and made:
        long = "word " * 50 + "x" * 100_000
        made[-1] = replace(made[-1], output=long, output_chars=len(long))
        results[-1] = replace(results[-1], output=long, scores=(Score("json", 0.0, explanation="Not JSON."),))
    return Run(
        run_id="9f3c1e7ab204",
        time=START.isoformat(),
        calls=tuple(made),
        results=tuple(results),
        problems=(
            Problem("missing_recording", "no recording matches the request of refund-99; record it with "
                    "--llm-record=new", "golden_sets/support/set.yaml::refund-99"),
            Problem("unpriced", "smollm2-135m-instruct has no price; add it under [prices]"),
        ) if hostile else (),
        duration=38.4,
        environment={
            "pytest": "9.2.0", "python": "3.12.4", "pytest-llmwatch": "0.1.0", "platform": "Linux x86_64",
            "branch": "main", "commit": "41ab9e3", "record": "none",
        },
    )  # fmt: skip


def _one(
    rng: random.Random, number: int, index: int, repeat: int, topic: str, *, bodies: bool
) -> tuple[Call, CaseResult]:
    model = MODELS[index % 5 == 0]
    bad = rng.random() < (0.24 if index % 4 == 1 else 0.04)
    text = (_BAD if bad else _GOOD)[topic]
    latency = math.exp(rng.gauss(-0.25 + (0.9 if model == MODELS[1] else 0), 0.55))
    roll = rng.random()
    status = (
        "timeout" if roll < 0.012 else "rate_limited" if roll < 0.02 else "error" if roll < 0.026 else "success"
    )
    case = f"{topic}-{index:02d}"
    nodeid = f"golden_sets/support/set.yaml::{case}[{repeat}]"
    tokens = (rng.randint(180, 420), rng.randint(18, 130))
    usd = None if model == MODELS[1] and index % 10 == 0 else tokens[0] * 2.5e-7 + tokens[1] * 2e-6
    ok = status == "success"
    call = Call(
        id=f"{rng.getrandbits(64):016x}",
        nodeid=nodeid, set="support", case=case, repeat=repeat,
        time=(START + timedelta(seconds=number * 0.093)).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        provider="openai", operation="responses", model=model.rsplit("-2026", 1)[0], response_model=model,
        prompt_name="support", prompt_version="v7" if index % 3 else "v6",
        parameters={"temperature": 0.7, "seed": repeat},
        input=f"system: Answer.\nuser: What about my {topic} (ticket {index})?" if bodies else None,
        context=_DOCS[topic] if bodies else (),
        output=(text if ok else None) if bodies else None,
        input_chars=90, output_chars=len(text) if ok else 0,
        usage=Usage(*tokens, sum(tokens), rng.choice((0, 0, 128))) if ok else Usage(),
        tool_calls=(ToolCall("lookup_order", f'{{"order": {index}}}', "t1", True, "shipped", None, 0.08),)
        if index % 9 == 0 else (),
        finish_reason="stop" if ok else None,
        request_id=f"req_{number:05d}",
        status=status,
        error_type=None if ok else {"timeout": "APITimeoutError", "rate_limited": "RateLimitError",
                                    "error": "InternalServerError"}[status],
        error=None if ok else f"{status.replace('_', ' ')} after {latency:.1f} s",
        latency=latency if ok else latency + 8, ttft=latency * rng.uniform(0.15, 0.4) if ok else None,
        attempts=(Attempt(429, 0.1, None, 1.0), Attempt(200 if ok else 429, latency)) if roll > 0.97 or not ok
        else (Attempt(200, latency),),
        stream=True, cost=Cost(usd, source="genai-prices", date="2026-10-01") if ok else Cost(),
        capture_mode="replayed",
        feature=("chat", "refunds", "search")[index % 3], team=("support", "growth")[index % 2],
        user=f"u{index % 17:02x}", tags=("german",) if index % 6 == 0 else (), environment="ci",
    )  # fmt: skip
    scores = _scores(rng, text, topic, bad) if ok else ()
    passed = ok and not any(s.required and s.passed is False for s in scores)
    reason = None
    if not ok:
        reason = f"{call.error_type}: {call.error}"
    elif not passed:
        worst = min((s for s in scores if s.passed is False), key=lambda s: s.value or 0)
        reason = f"{worst.name} {worst.value:.2f} is below {worst.threshold}"
    result = CaseResult(
        nodeid=nodeid, set="support", case=case, repeat=repeat,
        outcome="passed" if passed else "failed" if ok else "error", reason=reason, scores=scores,
        call_ids=(call.id,), input=f"What about my {topic} (ticket {index})?" if bodies else None,
        output=call.output, context=call.context, reference=_GOOD[topic] if bodies else None, tags=call.tags,
        duration=latency + 0.01,
    )  # fmt: skip
    return call, result


def _scores(rng: random.Random, text: str, topic: str, bad: bool) -> tuple[Score, ...]:
    evidence = []
    for wrong in _WRONG[topic]:
        at = text.find(wrong)
        if at >= 0:
            kind = (
                "absent_number"
                if any(c.isdigit() for c in wrong)
                else ("absent_name" if wrong[:2] == "Mr" else "unsupported")
            )
            evidence.append(Evidence(kind, wrong, "output", at, at + len(wrong)))
    support = _DOCS[topic][0][:40]
    evidence.append(Evidence("support", support, "context", 0, 40, document=0))
    grounded = max(0.0, rng.uniform(0.05, 0.45)) if bad else rng.uniform(0.86, 1.0)
    relevance = rng.uniform(0.45, 0.75) if bad else rng.uniform(0.7, 1.0)
    missing = (Evidence("missing", "team lead", "item"),) if bad else ()
    wrong = f"{len(evidence) - 1} of 3 sentences are not supported by the context"
    why = wrong if bad else "Every sentence is supported by the context."
    return (
        Score("groundedness", grounded, None, why, tuple(evidence), "2", 0.4, 0.6, True),
        Score("relevance", relevance, None, "Answers the question's words: refund, days.", (), "1", 0.3, 0.4),
        Score("json_schema", None, "not_assessable", "The case has no schema."),
        Score("must_mention", 0.5 if bad else 1.0, None, "1 of 2 facts named." if bad else "2 of 2 facts named.",
              missing, "1", 0.3, 0.5),
        Score("composite", 0.57 * grounded + 0.43 * relevance, None, "format left out: not assessable.",
              coverage=0.7),
    )  # fmt: skip


def _poison(call: Call, result: CaseResult, payload: str) -> tuple[Call, CaseResult]:
    text = f"{payload} and the rest of the answer {payload}"
    mark = Evidence("unsupported", payload, "output", 0, len(payload), note=payload)
    score = Score("groundedness", 0.02, None, f"Nothing supports {payload}", (mark,), "2", 0.4, 0.6, True)
    call = replace(call, output=text, output_chars=len(text), model=call.model, error=None, status="success",
                   tags=(payload[:40],))  # fmt: skip
    result = replace(result, output=text, scores=(score,), outcome="failed", reason=f"groundedness: {payload}",
                     input=payload, reference=payload, context=(payload, *result.context))  # fmt: skip
    return call, result


def quantile(values: list[float], q: float) -> float | None:
    """Return the inverse-CDF quantile."""
    values = sorted(values)
    return values[max(0, math.ceil(q * len(values)) - 1)] if values else None


def aggregates(run: Run) -> dict[str, Any]:
    """Return the aggregates of run.json as the measuring stage gives them."""

    def spread(values: list[float]) -> dict[str, float | int | None]:
        mean = sum(values) / len(values) if values else None
        return {"mean": mean, "p50": quantile(values, 0.5), "p95": quantile(values, 0.95),
                "p99": quantile(values, 0.99), "n": len(values)}  # fmt: skip

    priced = [c.cost.usd for c in run.calls if c.cost.usd is not None]
    return {
        "calls": len(run.calls),
        "failed": sum(c.failed for c in run.calls),
        "cost_usd": sum(priced) if priced else None,
        "unpriced": sum(map(is_unpriced, run.calls)),
        "input_tokens": sum(c.usage.input_tokens or 0 for c in run.calls),
        "output_tokens": sum(c.usage.output_tokens or 0 for c in run.calls),
        "latency": spread([c.latency for c in run.calls if c.latency is not None]),
        "ttft": spread([c.ttft for c in run.calls if c.ttft is not None]),
    }


def make_report(calls: int = 412, *, seed: int = 7, hostile: bool = True, bodies: bool = True) -> Report:
    """Return a failing report with every kind of rule in it."""
    run = make_run(calls, seed=seed, hostile=hostile, bodies=bodies)
    totals = aggregates(run)
    return Report(
        run=run,
        verdict="fail",
        sentence="3 of 11 rules broke: calls are slower than latency.p95 allows, and answers are less grounded in "
        "their documents than quality.groundedness asks.",
        exit_code=1,
        verdicts=(*_availability(run, totals), *_cost(run, totals), *_quality(run)),
        aggregates=totals,
        notes=("quality.must_mention is waived until 2026-12-01: two facts moved to another page",),
        budget="budget.toml",
        alpha_by_family={"quality": 0.005, "latency": 0.002, "cost": 0.0015, "errors": 0.0015},
    )


def _availability(run: Run, totals: dict[str, Any]) -> tuple[Verdict, ...]:
    n, latency = len(run.calls), totals["latency"]
    slow = sorted(run.calls, key=lambda c: -(c.latency or 0))[:20]
    over = sum((c.latency or 0) > 1.8 for c in run.calls)

    def rule(name: str, metric: str, grade: str, because: str, **more: Any) -> Verdict:
        family = "errors" if metric == "errors" else "latency"
        unit = "ratio" if metric == "errors" else "s"
        return Verdict(name, metric, grade, "availability", "test", because, family=family, unit=unit, **more)

    return (
        rule(
            "latency.p95", "latency", "fail",
            f"{over} of {n} calls took longer than 1.80 s; at most 5 % may (p = 0.0002, alpha 0.002).",
            observed=latency["p95"], limit=1.8, warn_limit=1.5, tier="fail", n=n, p=0.0002, line=12,
            ci=(latency["p95"] * 0.92, latency["p95"] * 1.13), action="Scale out, set a timeout.",
            worst=tuple(c.id for c in slow),
        ),
        rule(
            "latency.p50", "latency", "pass", "p50 is inside the budget; more than 1.20 s is ruled out (95 %).",
            observed=latency["p50"], limit=1.2, n=n, p=1.0, line=11,
            ci=(latency["p50"] * 0.95, latency["p50"] * 1.06),
        ),
        rule(
            "latency.ttft_p95", "ttft", "inconclusive", "8 calls streamed; a p95 needs 59.", limit=0.6,
            reason="too_few", n=8, n_needed=59, line=13,
        ),
        rule(
            "errors.rate", "errors", "pass", f"{totals['failed']} of {n} calls failed; no evidence of over 5 %.",
            observed=totals["failed"] / n, limit=0.05, warn_limit=0.02, n=n, ci=(0.01, 0.041), p=0.99, line=20,
        ),
    )  # fmt: skip


def _cost(run: Run, totals: dict[str, Any]) -> tuple[Verdict, ...]:
    n = len(run.calls)
    dear = sorted(run.calls, key=lambda c: -(c.cost.usd or 0))[:5]
    return (
        Verdict(
            "cost.per_call_usd", "cost_usd", "warn", "cost", "fact",
            "The mean cost of a call reached the warn limit, not the fail limit.", family="cost", unit="usd",
            observed=(totals["cost_usd"] or 0) / n, limit=0.0004, warn_limit=0.00019, tier="warn", n=n, line=25,
            action="Route to a cheaper model.", worst=tuple(c.id for c in dear),
        ),
        Verdict(
            "cost.run_usd", "cost_usd", "inconclusive", "cost", "fact",
            f"{totals['unpriced']} calls have no known price, so a limit on the sum cannot be enforced: give "
            "their prices under [prices].", family="cost", unit="usd", observed=totals["cost_usd"], limit=2.0,
            reason="unenforceable", n=n, line=26,
        ),
        Verdict(
            "tokens.output_per_call", "output_tokens", "pass", "cost", "fact", "Mean output 74 tokens.",
            unit="tokens", observed=73.8, limit=120.0, n=n, line=30,
        ),
    )  # fmt: skip


def _quality(run: Run) -> tuple[Verdict, ...]:
    n = len(run.calls)
    scored = [(s.value, r.call_ids[0]) for r in run.results if (s := r.score("groundedness"))]
    low = sorted((value, call) for value, call in scored if value is not None)
    mean = sum(value for value, _ in low) / max(1, len(low))

    def rule(name: str, metric: str, grade: str, because: str, **more: Any) -> Verdict:
        more = {"family": "quality", "direction": "floor", "unit": "ratio", **more}
        return Verdict(name, metric, grade, "quality", "fact", because, **more)

    return (
        rule(
            "quality.groundedness", "groundedness", "fail",
            f"The mean over cases is {mean:.3f}, under the floor of 0.880.", observed=mean, limit=0.88,
            tier="fail", n=len(low), n_cases=len({r.case for r in run.results}), line=40,
            action="Look for prompt drift and a model change.", worst=tuple(i for _, i in low[:17]),
        ),
        rule("quality.relevance", "relevance", "pass", "Above the floor.", observed=0.8437, limit=0.8,
             warn_limit=0.84, n=n, line=41),
        rule(
            "quality.must_mention", "must_mention", "warn",
            "The mean over cases is 0.93, under the floor of 0.950.", observed=0.9301, limit=0.95,
            tier="fail", reason="waived", n=n, line=42,
            waiver=Waiver("quality.must_mention", "two facts moved to another page", "2026-12-01", 60),
        ),
        rule(
            "scope.feature:refunds.quality.groundedness", "groundedness", "fail",
            "The mean over cases is 0.79999, under the floor of 0.8.", observed=0.79999, limit=0.8, tier="fail",
            scope="feature:refunds", n=137, line=70, action="Look for prompt drift.",
            worst=tuple(i for _, i in low[1:4]),
        ),
    )  # fmt: skip


def passing_report(calls: int = 60) -> Report:
    """Return a report in which every rule holds."""
    report = make_report(calls, hostile=False)
    run = replace(
        report.run,
        calls=tuple(replace(c, status="success", error=None, error_type=None) for c in report.run.calls),
        results=tuple(replace(r, outcome="passed", reason=None) for r in report.run.results),
    )
    holds = tuple(v for v in report.verdicts if v.verdict == "pass")
    sentence = f"{len(holds)} rules hold over {len(run.calls)} calls."
    return replace(report, run=run, verdict="pass", exit_code=0, verdicts=holds, notes=(), sentence=sentence,
                   aggregates=aggregates(run))  # fmt: skip
