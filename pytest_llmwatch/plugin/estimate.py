"""Before the first live call of a run: the calls, tokens, dollars and minutes to come, and what is not known."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmwatch import format as fmt
from pytest_llmwatch.errors import LlmwatchError
from pytest_llmwatch.golden import cassette_path
from pytest_llmwatch.model import Usage
from pytest_llmwatch.plugin.rounds import case_of

if TYPE_CHECKING:
    import pytest

    from pytest_llmwatch.golden import GoldenSet
    from pytest_llmwatch.model import Call
    from pytest_llmwatch.plugin.estimate_tests import Live
    from pytest_llmwatch.plugin.golden_run import GoldenCase
    from pytest_llmwatch.plugin.session import LlmSession

CHARACTERS_PER_TOKEN = 4
"""Assumed where no recording tells: English text has about four characters a token."""
OUTPUT_TOKENS = 256
"""Tokens of an answer, assumed where no recording tells and the set limits none."""
_SAMPLE = 20
_FILE = "estimate.json"
_LIMITS = ("max_tokens", "max_output_tokens", "max_completion_tokens")


@dataclass(frozen=True, slots=True)
class Expected:
    """What one execution of a case is expected to take: calls, and tokens and seconds a call (None = unknown)."""

    calls: float
    input_tokens: float
    output_tokens: float
    seconds: float | None
    basis: str
    """``recordings``, ``run`` or ``assumed``."""
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run is expected to take."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    """Of the calls whose price is known."""
    seconds: float | None = None
    """None where no recording tells how long a call takes."""
    sets: dict[str, int] = field(default_factory=dict)
    """Calls by golden set."""
    unpriced: dict[str, int] = field(default_factory=dict)
    """Calls whose price is not known, by model."""
    bases: tuple[str, ...] = ()
    unknown: int = 0
    """Tests of the application that have no recording, so that nothing is known of their calls."""


def estimate(session: LlmSession, items: Sequence[pytest.Item]) -> Estimate | None:
    """Return what ``items`` will take live, None where none of them is known or likely to go live."""
    from pytest_llmwatch.plugin import estimate_tests

    if session.settings.record == "none":
        return None
    live: dict[Path, list[GoldenCase]] = {}
    for item in items:
        for case in _arms(session, item):
            if goes_live(session, case):
                live.setdefault(case.set.folder, []).append(case)
    total = Estimate()
    for cases in live.values():
        total = _add(total, session, cases)
    tests = estimate_tests.live(session, items)
    if tests.calls:
        total = _add_tests(total, session, tests)
    total = dataclasses.replace(total, unknown=tests.unknown)
    return _paced(total, session) if total.calls or total.unknown else None


def _arms(session: LlmSession, item: pytest.Item) -> list[GoldenCase]:
    case = case_of(item)
    if case is None:
        return []
    return [case] if session.concurrent is None else [case, session.concurrent.case(case)]


def goes_live(session: LlmSession, case: GoldenCase) -> bool:
    """Whether a case will ask its model; under ``new`` judged by its prompt's text, not by the whole request."""
    mode = session.settings.record
    if mode in ("off", "all"):
        return True
    path = cassette_path(case.set, session.redacted(case.case))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return True
    if mode == "once" or case.set.target:
        return not text.strip()
    texts = [m.get("content") for m in session.redacted(tuple(case.messages))]
    known = all(json.dumps(t, ensure_ascii=False)[1:-1] in text for t in texts if isinstance(t, str))
    return not known or f"\n      repeat: {case.repeat}\n" not in text


# -- one set


def _add(total: Estimate, session: LlmSession, cases: Sequence[GoldenCase]) -> Estimate:
    golden = cases[0].set
    found = _from_cassettes(session, golden) or _from_run(session, golden)
    each = [found or _assumed(case) for case in cases]
    calls = max(1, round(math.fsum(e.calls for e in each)))
    read = round(math.fsum(e.calls * e.input_tokens for e in each))
    written = round(math.fsum(e.calls * e.output_tokens for e in each))
    model = golden.model or session.client.model or each[0].model
    usd = _price(session, model, read / calls, written / calls)
    seconds = None if found is None or found.seconds is None else calls * found.seconds / _at_once(session, golden)
    part = Estimate(calls, read, written, (usd or 0.0) * calls, seconds, {golden.name: calls})
    return _plus(total, part, (each[0].basis,), {model or "unknown model": calls} if usd is None else {})


def _add_tests(total: Estimate, session: LlmSession, tests: Live) -> Estimate:
    rows, scale = tests.rows, tests.scale
    usd, unpriced = 0.0, Counter[str]()
    for model, usage, _seconds in rows:
        price = None if model is None else session.price(model, usage).usd
        usd += price or 0.0
        unpriced[model or "unknown model"] += price is None
    times = [seconds for *_, seconds in rows if seconds is not None]
    part = Estimate(
        tests.calls,
        round(scale * sum(usage.input_tokens or 0 for _, usage, _ in rows)),
        round(scale * sum(usage.output_tokens or 0 for _, usage, _ in rows)),
        scale * usd,
        scale * math.fsum(times) / max(1, session.settings.workers) if len(times) == len(rows) else None,
        {"tests": tests.calls},
    )
    missing = {model: max(1, round(scale * n)) for model, n in unpriced.items() if n}
    return _plus(total, part, sorted(tests.bases, reverse=True), missing)


def _plus(total: Estimate, part: Estimate, bases: Sequence[str], unpriced: Mapping[str, int]) -> Estimate:
    """Return the sum of two; seconds are known where both parts' are."""
    known = part.seconds is not None and (total.seconds is not None or not total.calls)
    return Estimate(
        calls=total.calls + part.calls,
        input_tokens=total.input_tokens + part.input_tokens,
        output_tokens=total.output_tokens + part.output_tokens,
        usd=total.usd + part.usd,
        seconds=(total.seconds or 0.0) + (part.seconds or 0.0) if known else None,
        sets={**total.sets, **part.sets},
        unpriced=dict(Counter(total.unpriced) + Counter(unpriced)),
        bases=tuple(dict.fromkeys((*total.bases, *bases))),
    )


def _from_cassettes(session: LlmSession, golden: GoldenSet) -> Expected | None:
    """Return the means over up to 20 cassettes of the set, spread over its cases."""
    from pytest_llmwatch.capture.recorded import recorded_calls

    own = () if golden.applied is None else (golden,)
    for given in (*own, dataclasses.replace(golden, applied=None)):
        files = [p for c in golden.cases if (p := cassette_path(given, session.redacted(c))).is_file()]
        calls, executions = [], 0
        for path in files[:: max(1, math.ceil(len(files) / _SAMPLE))]:
            with contextlib.suppress(LlmwatchError):
                here = [c for c in recorded_calls(path, session.setup.redactor) if c.place[1] == 0]
                calls += here
                executions += len({c.place for c in here})
        rows = [(c.usage, c.seconds) for c in calls if c.usage.input_tokens is not None]
        if rows:
            return _mean(rows, len(calls) / executions, "recordings", calls[0].model)
    return None


def _from_run(session: LlmSession, golden: GoldenSet) -> Expected | None:
    """Return the means over the set's calls in the last run: the store's newest, else the report's."""
    calls = [c for c in last_calls(session) if c.set == golden.name and c.attempt == 0]
    rows = [(c.usage, c.latency) for c in calls if c.usage.input_tokens is not None]
    if not rows:
        return None
    executions = len({(c.nodeid, c.repeat) for c in calls})
    return _mean(rows, len(calls) / executions, "run", calls[0].model)


def last_calls(session: LlmSession) -> tuple[Call, ...]:
    """Return the calls of the last run: the store's newest, else the report's; none where there is no run."""
    from pytest_llmwatch import pipeline_store
    from pytest_llmwatch.store import files

    with contextlib.suppress(LlmwatchError, OSError):
        if session.store.url:
            return pipeline_store.load(files.LATEST, session.store.place).calls
    with contextlib.suppress(LlmwatchError, OSError):
        return files.load_run(session.settings.report).calls
    return ()


def _mean(rows: list[tuple[Usage, float | None]], calls: float, basis: str, model: str | None) -> Expected:
    times = [s for _, s in rows if s is not None]
    return Expected(
        calls,
        math.fsum(u.input_tokens or 0 for u, _ in rows) / len(rows),
        math.fsum(u.output_tokens or 0 for u, _ in rows) / len(rows),
        math.fsum(times) / len(times) if times else None,
        basis,
        model,
    )


def _assumed(case: GoldenCase) -> Expected:
    """Return what the length of the prompt and the limit of the answer say."""
    if case.set.target:
        length = len(case.case.input_text() or "")
    else:
        length = sum(len(m["content"]) for m in case.messages if isinstance(m.get("content"), str))
    limits = [v for k in _LIMITS if isinstance(v := case.set.parameters.get(k), int)]
    return Expected(1.0, length / CHARACTERS_PER_TOKEN, limits[0] if limits else OUTPUT_TOKENS, None, "assumed")


def _price(session: LlmSession, model: str | None, read: float, written: float) -> float | None:
    """Return US dollars a call, None where the price of the model is not known."""
    if model is None:
        return None
    asked, answered = math.ceil(read), math.ceil(written)
    return session.price(model, Usage(asked, answered, asked + answered)).usd


# -- the whole


def _at_once(session: LlmSession, golden: GoldenSet) -> int:
    """Return how many cases of a set are asked at a time: an application is called by one test a worker."""
    workers = max(1, session.settings.workers)
    return workers if golden.target else max(session.settings.ahead * workers, 1)


def _paced(total: Estimate, session: LlmSession) -> Estimate:
    rpm = session.settings.rpm
    slowest = max(0, total.calls - 1) * 60.0 / rpm if rpm else 0.0
    if total.seconds is None and not slowest:
        return total
    return dataclasses.replace(total, seconds=max(total.seconds or 0.0, slowest))


def show(session: LlmSession, found: Estimate | None) -> None:
    """Print an estimate through pytest's reporter; nothing for None, or where there is no reporter."""
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    if found is None or reporter is None:
        return
    reporter.ensure_newline()
    for line in lines(found, session, quiet=session.config.get_verbosity() < 0):
        reporter.write_line(line)


def lines(found: Estimate, session: LlmSession, *, quiet: bool) -> list[str]:
    """Return what the user is told; the first line is the estimate, further ones are warnings."""
    limit = session.settings.max_cost
    priced = found.calls - sum(found.unpriced.values())
    money = f"about {fmt.value(found.usd, 'usd')}" if priced else "price unknown"
    allowed = "no --llm-max-cost" if limit is None else f"--llm-max-cost {fmt.value(limit, 'usd')}"
    took = "time unknown" if found.seconds is None else f"about {_minutes(found.seconds)}"
    most = "at most " if session.settings.auto else ""
    if not found.calls:
        return [f"llm: {_unknown(found)} not estimated ({allowed})"]
    plus = f"; plus {_unknown(found)} not estimated" if found.unknown else ""
    if quiet:
        first = f"llm: {most}{fmt.plural(found.calls, 'live call')}, {money}, {took}{plus} ({allowed})"
    else:
        sets = ", ".join(f"{name} {count:,}" for name, count in list(found.sets.items())[:4])
        more = f", and {len(found.sets) - 4} more sets" if len(found.sets) > 4 else ""
        first = (
            f"llm: {most}{fmt.plural(found.calls, 'live call')} to make ({sets}{more}): "
            f"about {found.input_tokens:,} tokens in and {found.output_tokens:,} out, {money}, {took}; "
            f"{_basis(found)}{plus}; {allowed}"
        )
    return [first, *_warnings(found, limit)]


def _unknown(found: Estimate) -> str:
    return f"{fmt.plural(found.unknown, 'test')} without a recording:"


def _warnings(found: Estimate, limit: float | None) -> list[str]:
    out = []
    if found.unpriced:
        named = ", ".join(f"{model!r} ({fmt.plural(n, 'call')})" for model, n in found.unpriced.items())
        end = (
            "; under --llm-max-cost they will not be made: add [prices] to budget.toml"
            if limit is not None
            else ""
        )
        out.append(f"llm: no price is known for {named}{end}")
    if limit is not None and found.usd > limit:
        out.append(
            f"llm: the estimate, {fmt.value(found.usd, 'usd', against=limit)}, is over --llm-max-cost "
            f"{fmt.value(limit, 'usd')}: the run will stop there, and say what was not run"
        )
    return out


def _basis(found: Estimate) -> str:
    texts = {
        "recordings": "from the sets' recordings" if set(found.sets) - {"tests"} else "from recordings",
        "run": "from the last run",
        "assumed": f"assumed: {CHARACTERS_PER_TOKEN} characters a token, answers as long as their limit or "
        f"{OUTPUT_TOKENS} tokens",
    }
    return ", else ".join(texts[b] for b in ("recordings", "run", "assumed") if b in found.bases)


def _minutes(seconds: float) -> str:
    if seconds < 100:
        return f"{max(1, math.ceil(seconds))} s"
    return fmt.plural(math.ceil(seconds / 60), "minute")


# -- between the processes of a run


def send(found: Estimate | None, folder: Path) -> None:
    """Leave an estimate where the controller of the run finds it; nothing for None."""
    if found is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _FILE).write_text(json.dumps(dataclasses.asdict(found)), encoding="utf-8")


def receive(folder: Path) -> Estimate | None:
    """Take the estimate that a worker left, None if there is none."""
    file = folder / _FILE
    try:
        data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    file.unlink(missing_ok=True)
    return Estimate(**{**data, "bases": tuple(data["bases"])})
