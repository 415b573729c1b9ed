"""``--llm-repeats=auto``: golden cases in whole rounds of repeats, the next one only while a rule is undecided.

The process that gates (the only one, or xdist's controller) looks at what it has after each round, and decides.
Rounds whose calls are all replayed cost nothing: they are always run, and looked at all the same.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmwatch import format as fmt
from pytest_llmwatch import gate_rounds, pipeline, pipeline_users
from pytest_llmwatch.baseline import FEW_SESSIONS
from pytest_llmwatch.plugin.golden_run import GoldenCase

if TYPE_CHECKING:
    from pytest_llmwatch.golden import GoldenSet
    from pytest_llmwatch.model import Run, Verdict
    from pytest_llmwatch.plugin.session import LlmSession

DEFAULT_ROUNDS = 5
_FILE = "rounds.json"
_NAMED = 3


class Fence(pytest.Item):
    """Stands between two rounds: a worker of xdist runs a test once it knows what comes next. Runs nothing."""

    def runtest(self) -> None:
        """Do nothing."""

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return where session fixtures are torn down, should that fail: after the last round."""
        return self.config.rootpath, None, "after the last round of repeats"


@dataclasses.dataclass(frozen=True, slots=True)
class Planned:
    """One golden test: its round (from 0), its case (``set NUL id``, redacted), whether it asks its model."""

    nodeid: str
    round: int
    case: str
    live: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What may be run: ``of`` rounds at most; ``unrecorded`` counts tests that a replay has no recordings for."""

    tests: tuple[Planned, ...] = ()
    of: int = 1
    unrecorded: int = 0

    @property
    def rounds(self) -> int:
        """How many rounds there are tests for."""
        return max((t.round for t in self.tests), default=0) + 1

    def live(self, number: int) -> bool:
        """Whether any test of a round (from 0) asks its model."""
        return any(t.live for t in self.tests if t.round == number)


class Rounds:
    """What is planned, what was begun, and why it ended."""

    def __init__(self, session: LlmSession) -> None:
        self._session = session
        self._plan: Plan | None = None
        self.of = 1
        self.begun = 1
        self.early: dict[int, list[str]] = {}
        self.why: str | None = None
        self.open: tuple[str, ...] = ()
        self._spent = 0.0

    # -- before the tests

    def most(self, golden: GoldenSet, marked: int | None = None) -> int:
        """Return how many rounds a set may have: the marker's repeats, the set's, ``[drift] repeats``, or 5."""
        drifts = [d.repeats for d in self._session.budget.drifts if d.scope is None]
        own = golden.repeats if golden.repeats > 1 else None
        count = marked or own or max(drifts, default=DEFAULT_ROUNDS)
        self.of = max(self.of, count)
        return count

    def arrange(self, items: list[pytest.Item]) -> None:
        """Put tests into rounds: other tests with the first; drop repeats that a replay has no recording of."""
        kept = [i for i in items if self._available(i)]
        tests = tuple(self._planned(i) for i in kept if case_of(i) is not None)
        self._plan = Plan(tests, self.of, len(items) - len(kept))
        items[:] = sorted(kept, key=round_of)

    def _available(self, item: pytest.Item) -> bool:
        case = case_of(item)
        if case is None or case.repeat == 0 or self._session.settings.record not in ("none", "once"):
            return True
        recorded = recorded_repeats(self._session, case)
        if recorded is None:
            return self._session.settings.record == "once"
        return case.repeat in recorded

    def _planned(self, item: pytest.Item) -> Planned:
        from pytest_llmwatch.plugin.estimate import goes_live

        case = case_of(item)
        assert case is not None
        live = self._session.settings.record != "none" and goes_live(self._session, case)
        key = f"{case.set.name}\0{self._session.redacted(case.case).id}"
        return Planned(item.nodeid, case.repeat, key, live)

    def send(self) -> None:
        """Leave the plan where the controller finds it."""
        folder = self._session.spool_folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _FILE).write_text(json.dumps(dataclasses.asdict(self.plan)), encoding="utf-8")

    @property
    def plan(self) -> Plan:
        """The plan: of this process's tests, or what a worker left; empty where there is none."""
        if self._plan is None:
            try:
                data = json.loads((self._session.spool_folder / _FILE).read_text(encoding="utf-8"))
            except (OSError, ValueError):
                return Plan()
            tests = tuple(Planned(**t) for t in data["tests"])
            self._plan = Plan(tests, data["of"], data["unrecorded"])
        return self._plan

    # -- between rounds

    def another(self) -> bool:
        """Decide after a round, whose tests have all ended, whether there is a next one."""
        done, plan = self.begun, self.plan
        if done >= plan.rounds:
            return False
        not_run = any(r.outcome == "not_run" for r in self._session.results.values())
        verdicts = self._look()
        looks = gate_rounds.Looks(done, plan.of)
        alpha = gate_rounds.level(self._session.budget.gate.alpha, looks, done)
        failed = [v.rule for v in gate_rounds.failed(verdicts)]
        undecided = gate_rounds.open_rules(verdicts, alpha=alpha, looks=looks, sessions=self._sessions())
        self.open = tuple(v.rule for v in undecided)
        if not_run:
            self.why = "not_run"
        elif not plan.live(done):
            if failed:
                self.early[done] = failed
        elif failed:
            self.why, self.open = "failed", tuple(failed)
        elif not undecided:
            self.why = "decided" if any(v.kind == "test" and v.p is not None for v in verdicts) else "no_test"
        elif not self._affordable():
            self.why = "max_cost"
        if self.why is None:
            self.begun += 1
        return self.why is None

    def _affordable(self) -> bool:
        ledger = self._session.ledger
        if ledger.limit is None:
            return True
        spent, unknown = ledger.read()
        cost, self._spent = spent - self._spent, spent
        return unknown is None and spent + cost <= ledger.limit

    def _look(self) -> tuple[Verdict, ...]:
        state = self._session
        if state.settings.gate == "off":
            return ()
        run = pipeline.assemble(
            run_id=state.run_id,
            started=state.started_iso,
            duration=0.0,
            calls=state.calls,
            spans=state.spans.values(),
            results=state.results.values(),
            problems=state.problems,
            partial=None,
            environment={gate_rounds.KEY: {"done": self.begun, "of": self.plan.of}},
        )
        if state.concurrent is not None:
            run = state.concurrent.joined(run)
        hash_user = pipeline_users.hash_with(state.user_key)
        return pipeline.judge(run, state.budget, baselines=state.baselines, hash_user=hash_user).verdicts

    def _sessions(self) -> int:
        if self._session.concurrent is not None:
            return FEW_SESSIONS  # none is needed where both arms are asked in one
        sets = {r.set for r in self._session.results.values()}
        return min((len(b.sessions) for name, b in self._session.baselines.items() if name in sets), default=0)

    # -- what is told

    def told(self) -> dict[str, Any] | None:
        """Return what the run keeps of its rounds, None where nothing could be repeated."""
        plan = self.plan
        if plan.of < 2 or not plan.tests:
            return None
        out: dict[str, Any] = {"done": self.begun, "of": plan.of, "why": self.why or "all"}
        if self.early:
            out["early"] = {str(k): v for k, v in self.early.items()}
        spared = self.spared()
        if spared:
            calls, usd = self._saved(spared)
            out |= {"not_needed": len(spared), "calls_saved": calls, "usd_saved": usd}
        return out

    def spared(self) -> tuple[Planned, ...]:
        """Return the tests of rounds that were not needed."""
        return tuple(t for t in self.plan.tests if t.round >= self.begun) if self.why else ()

    def _saved(self, spared: Sequence[Planned]) -> tuple[int, float | None]:
        """Return calls and US dollars that the spared tests would have taken, by what their cases took so far."""
        state = self._session
        runs: dict[str, set[tuple[str, int]]] = {}
        for r in state.results.values():
            runs.setdefault(f"{r.set}\0{r.case}", set()).add((r.nodeid, r.repeat))
        calls: dict[str, int] = {}
        usd: dict[str, list[float]] = {}
        unpriced = False
        for c in state.calls:
            if c.attempt == 0:
                key = f"{c.set}\0{c.case}"
                calls[key] = calls.get(key, 0) + 1
                usd.setdefault(key, []).append(c.cost.usd or 0.0)
                unpriced = unpriced or (c.cost.usd is None and not c.failed)
        live = [t.case for t in spared if t.live]
        number = math.fsum(calls.get(k, 0) / len(runs[k]) for k in live if k in runs)
        money = math.fsum(math.fsum(usd.get(k, ())) / len(runs[k]) for k in live if k in runs)
        return round(number), None if unpriced else round(money, 9)

    def sentence(self, run: Run) -> str | None:
        """Return why it ended and what that saved, for the terminal; None where nothing could be repeated."""
        told = self.told()
        if told is None:
            return None
        done, of = told["done"], fmt.plural(told["of"], "round")
        text = {
            "decided": f"decided after {done} of {of}",
            "failed": f"decided after {done} of {of}: {named(self.open)} failed",
            "no_test": f"stopped after {done} of {of}: no rule is open that more repeats could decide",
            "max_cost": f"stopped after {done} of {of}: --llm-max-cost leaves too little for another one; "
            f"undecided: {named(self.open)}",
            "not_run": f"stopped in round {done} of {of}: not all of its tests could be run",
            "all": self._to_the_end(run, done, of),
        }[told["why"]]
        if told.get("not_needed"):
            text += f"; {fmt.plural(told['not_needed'], 'test')} not needed"
        if told.get("calls_saved"):
            usd = told["usd_saved"]
            money = "" if usd is None else f" and {fmt.value(usd, 'usd')}"
            text += f", {fmt.plural(told['calls_saved'], 'call')}{money} saved"
        return text

    def _to_the_end(self, run: Run, done: int, of: str) -> str:
        if run.partial:
            return f"cut short in round {done} of {of}"
        looks = gate_rounds.Looks(done, self.plan.of)
        report = self._session.report
        alpha = gate_rounds.level(self._session.budget.gate.alpha, looks, done)
        # every round was run: what is still open is open for good
        whole = dataclasses.replace(looks, of=done) if done == looks.of else looks
        left = gate_rounds.open_rules(report.verdicts, alpha=alpha, looks=whole, sessions=self._sessions())
        undecided = f"; undecided: {named([v.rule for v in left])}" if left else ""
        replayed = self.plan.tests and not any(t.live for t in self.plan.tests)
        if done < looks.of and not self.plan.unrecorded:
            return f"ran the {fmt.plural(done, 'selected round')} of {looks.of}{undecided}"
        if done < looks.of:
            more = "; --llm-record=new asks for more" if left else ""
            return f"replayed the {fmt.plural(done, 'recorded round')} of {looks.of}{undecided}{more}"
        return f"{'replayed' if replayed else 'ran'} all {of}{undecided}"


def named(rules: Sequence[str]) -> str:
    """Return the first rules, and how many more."""
    more = f" and {len(rules) - _NAMED} more" if len(rules) > _NAMED else ""
    return ", ".join(rules[:_NAMED]) + more


def case_of(item: pytest.Item) -> GoldenCase | None:
    """Return the golden case of a test, None for any other test."""
    case = getattr(item, "golden_case", None)
    if case is None:
        case = getattr(getattr(item, "callspec", None), "params", {}).get("llm_case")
    return case if isinstance(case, GoldenCase) else None


def round_of(item: pytest.Item) -> int:
    """Return the round (from 0) that a test belongs to."""
    case = case_of(item)
    return 0 if case is None else case.repeat


def recorded_repeats(session: LlmSession, case: GoldenCase) -> set[int] | None:
    """Return the repeats that a case's cassette holds, None where there is no cassette."""
    from pytest_llmwatch.golden import cassette_path

    try:
        text = cassette_path(case.set, session.redacted(case.case)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    if not text.strip():
        return None
    return {int(n) for n in re.findall(r"^ +repeat: (\d+)$", text, re.MULTILINE)}


def fenced(items: Iterable[pytest.Item], fence: Any) -> list[pytest.Item]:
    """Return tests in their rounds with a fence of ``fence()`` between two rounds."""
    out: list[pytest.Item] = []
    for _, members in itertools.groupby(items, key=round_of):
        out += [*([fence()] if out else []), *members]
    return out


def first_round(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Return the tests before the first fence."""
    return list(itertools.takewhile(lambda i: not isinstance(i, Fence), items))
