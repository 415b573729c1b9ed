"""From verdicts to incidents: categories, correlation, severity, extent, causes."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmwatch import incidents
from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.budget_grammar import INCIDENT_CATEGORIES
from pytest_llmwatch.budget_types import IncidentPolicy
from pytest_llmwatch.errors import BudgetError
from pytest_llmwatch.incidents_catalog import categories, category, category_of, policy, runbook, runbooks
from pytest_llmwatch.incidents_causes import _ASKS
from pytest_llmwatch.model import Problem, Retrieval, Usage, UserOutcome

GOOD = '[latency]\np95 = { fail = "1 s", test = false }\n[errors]\nrate = { fail = 0.05, test = false }\n'


def test_every_category_has_a_runbook_and_every_question_an_answer() -> None:
    names = {c.id for c in categories()}
    assert len(names) == 11
    assert set(runbooks()) == names
    for name, book in runbooks().items():
        assert book.diagnosis, name
        assert book.mitigation, name
        assert book.escalation, name
        assert book.minutes, name
        assert {s.ask for s in book.diagnosis} <= set(_ASKS), name
    for kind in categories():
        assert set(kind.explains) <= names
        assert kind.symptoms, kind.id
        assert kind.causes, kind.id
        assert kind.response, kind.id
    assert set(policy()["routing"]) == {"SEV1", "SEV2", "SEV3", "SEV4"}


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("latency.p95", "latency_spike"),
        ("cost.run_usd", "cost_spike"),
        ("scope.feature:a.b.cost.run_usd", "cost_spike"),
        ("scope.tag:latency.quality.json", "output_format"),
        ("quality.groundedness_nli", "hallucination"),
        ("quality.composite", "quality"),
        ("quality.some_scorer_of_mine", "quality"),
        ("safety.pii", "guardrail_surge"),
        ("retrieval.mrr", "retrieval_failure"),
        ("agent.invalid_arguments", "tool_failure"),
        ("outcome.reask_rate", "feedback_drop"),
        ("drift.groundedness", "hallucination"),
        ("drift.input_tokens", "cost_spike"),
    ],
)
def test_a_rule_speaks_of_a_category(rule: str, name: str) -> None:
    assert category_of(rule).id == name


def test_a_run_that_holds_opens_nothing(judged: Any, call: Any) -> None:
    report = judged(GOOD, [call(i) for i in range(10)])
    assert report.verdict == "pass"
    assert incidents.detect(report) == ()


def test_a_waived_and_an_unmeasured_rule_open_nothing(judged: Any, call: Any) -> None:
    waiver = '[[waiver]]\nrule = "latency.p95"\nreason = "known"\nexpires = 2999-01-01\n'
    slow = [call(i, latency=3.0) for i in range(10)]
    assert incidents.detect(judged(f"{GOOD}[retrieval]\nmrr = 0.5\n{waiver}", slow)) == ()
    (found,) = incidents.detect(judged(GOOD, slow))
    assert found.rules == ("latency.p95",)


def test_one_cause_that_breaks_five_rules_is_one_incident(judged: Any, call: Any, result: Any) -> None:
    empty, found_some = Retrieval("q", (), ()), Retrieval("q", ("d1",), ("text",))
    bad, good = UserOutcome(feedback="thumbs_down"), UserOutcome(feedback="thumbs_up")
    calls = [call(i, retrieval=empty if i < 6 else found_some, outcome=bad if i < 6 else good) for i in range(10)]
    poor = {"groundedness": 0.1, "relevance": 0.2, "must_mention": 0.0}
    results = [result(i, **(poor if i < 6 else dict.fromkeys(poor, 1.0))) for i in range(10)]
    budget = (
        "[retrieval]\nempty_rate = 0.1\n[outcome]\nthumbs_down_rate = 0.1\n"
        "[quality]\ngroundedness = 0.8\nrelevance = 0.8\nmust_mention = 0.9\n"
    )
    report = judged(budget, calls, results)
    assert len([v for v in report.verdicts if v.verdict == "fail"]) == 5
    (found,) = incidents.detect(report)
    assert (found.category, len(found.rules), found.severity) == ("retrieval_failure", 5, "SEV2")
    assert found.triage["layer"] == "retrieval"
    assert found.triage["extent"] == "widespread"
    assert found.affected["calls"] == 6
    assert any("6 of 10 calls got nothing" in c for c in found.causes)


def test_two_causes_are_two_incidents(judged: Any, call: Any, result: Any) -> None:
    # the calls that are slow are others than those whose answers do not parse
    calls = [call(i, latency=3.0 if i < 5 else 0.5, feature="a" if i < 5 else "b") for i in range(10)]
    results = [result(i, json=1.0 if i < 5 else 0.0) for i in range(10)]
    found = incidents.detect(judged(f"{GOOD}[quality]\njson = 0.9\n", calls, results))
    assert [i.category for i in found] == ["latency_spike", "output_format"]
    slow, broken = found
    assert slow.affected["features"] == {"a": 5}
    assert any("feature b has 5 of the 5" in c for c in broken.causes)


def test_scopes_with_nothing_in_common_are_two_incidents(judged: Any, call: Any) -> None:
    calls = [call(i, latency=3.0, feature="a" if i < 5 else "b") for i in range(10)]
    rules = "".join(f'[scope."feature:{f}".latency]\np95 = {{ fail = "1 s", test = false }}\n' for f in "ab")
    found = incidents.detect(judged(rules, calls))
    assert sorted(i.scopes for i in found) == [("feature:a",), ("feature:b",)]
    (one,) = incidents.detect(judged(rules + GOOD, calls))
    assert len(one.rules) == 3


@pytest.mark.parametrize(
    ("slow", "severity"), [(1, "SEV4"), (30, "SEV3")], ids=["an edge case", "more than a few"]
)
def test_a_warning_is_raised_by_its_extent(judged: Any, call: Any, slow: int, severity: str) -> None:
    calls = [call(i, latency=3.0 if i < slow else 0.5) for i in range(100)]
    report = judged('[latency]\nmax = { warn = "1 s" }\n', calls)
    assert report.verdict == "warn"
    (found,) = incidents.detect(report)
    assert found.severity == severity
    assert incidents.detect(report, options=IncidentPolicy(open="fail")) == ()


def test_the_critical_share_of_a_cost_budget_opens_a_sev2(judged: Any, call: Any) -> None:
    calls = [call(i) for i in range(97)]
    (found,) = incidents.detect(judged("[cost]\nrun_usd = 0.1\n", calls))
    assert (found.severity, found.category, found.route) == ("SEV2", "cost_spike", "page")
    (mild,) = incidents.detect(judged("[cost]\nrun_usd = 0.115\n", calls))
    assert mild.severity == "SEV3"


def test_what_kept_all_from_being_measured_is_an_outage(judged: Any) -> None:
    report = judged(GOOD, problems=(Problem("infrastructure", "the endpoint refused the connection"),))
    (found,) = incidents.detect(report)
    assert (found.category, found.severity, found.rules) == ("outage", "SEV1", ("infrastructure",))
    assert found.what == "the endpoint refused the connection"


def test_causes_are_read_from_the_last_good_build(judged: Any, call: Any) -> None:
    before = judged(GOOD, [call(i, response_model="m-1") for i in range(10)]).run
    changed = {"prompt_version": "p2", "response_model": "m-2", "usage": Usage(300, 20, 320), "latency": 4.0}
    (found,) = incidents.detect(
        judged(GOOD, [call(i, **changed) for i in range(10)]), past=incidents.Past(before, {})
    )
    said = "\n".join(found.causes)
    assert "the prompt version changed: p1 → p2" in said
    assert "m is now answered by m-2, before by m-1" in said
    assert "input tokens a call rose from 100 to 300" in said
    # without a change none is told
    (same,) = incidents.detect(
        judged(GOOD, [call(i, latency=4.0, response_model="m-1") for i in range(10)]),
        past=incidents.Past(before, {}),
    )
    assert same.causes == ()


def test_a_budget_overrides_parts_of_a_runbook() -> None:
    given = parse_budget(
        '[[runbook]]\ncategory = "Latency spike"\nminutes = 5\nurl = "https://wiki.example/latency"\n'
        '[[runbook]]\nrule = "latency.p95"\nescalation = ["me"]\n'
        '[[runbook]]\ncategory = "none such"\nminutes = 1\n',
        display="budget.toml",
    ).runbooks
    book = runbook("latency_spike", ["latency.p95"], given)
    assert (book.minutes, book.url, book.escalation) == (5, "https://wiki.example/latency", ("me",))
    assert book.diagnosis == runbooks()["latency_spike"].diagnosis
    assert runbook("outage", [], given) == runbooks()["outage"]
    assert category("Guardrail or injection surge").id == "guardrail_surge"


def test_ten_thousand_broken_rules_stay_bounded(judged: Any, call: Any) -> None:
    import dataclasses

    calls = [call(i, latency=3.0, feature=f"f{i}") for i in range(3000)]
    report = judged(GOOD, calls)
    (rule,) = [v for v in report.verdicts if v.verdict == "fail"]
    many = tuple(
        dataclasses.replace(
            rule, rule=f"scope.feature:f{i}.latency.p95", scope=f"feature:f{i}", worst=(f"c{i:05d}",)
        )
        for i in range(3000)
    )
    index = incidents.Index(report.run)
    index._scopes.update({f"feature:f{i}": (calls[i],) for i in range(3000)})
    found = incidents.groups(report.run, many, index)
    assert len(found) == 3000
    assert {len(g.hit) for g in found} == {1}


@pytest.mark.parametrize(
    ("table", "severities"),
    [
        ("", ["SEV2", "SEV4"]),
        ('open = "fail"', ["SEV2"]),
        ('open = "off"', []),
        ('ignore = ["latency_spike"]', ["SEV4"]),
        ('fail = "SEV3"\nwarn = "SEV3"', ["SEV3", "SEV3"]),
        ("many = 0.01", ["SEV2", "SEV3"]),
        ("users = 1", ["SEV2", "SEV3"]),
        ('fail = "SEV1"', ["SEV1", "SEV4"]),
    ],
)
def test_the_budget_says_what_opens_one_and_how_severe_it_is(
    judged: Any, call: Any, table: str, severities: list[str]
) -> None:
    calls = [call(i, latency=3.0 if 50 <= i < 60 else 0.5, user="u1" if i == 0 else None) for i in range(100)]
    calls[0] = call(0, status="error", error="bad request", user="u1", latency=0.5)
    rules = '[latency]\np95 = { fail = "1 s", test = false }\n[errors]\nrate = { warn = 0.001, test = false }\n'
    text = f"{rules}[incidents]\n{table}\n"
    report = judged(text, calls)
    found = incidents.detect(report, options=parse_budget(text).incidents)
    assert [i.severity for i in found] == severities


def test_minutes_of_the_budget_stand_in_for_those_shipped_and_a_runbooks_own_win() -> None:
    own = parse_budget('[incidents]\nexpected_minutes = 90\n[[runbook]]\ncategory = "outage"\nminutes = 5\n')
    minutes = {n: runbook(n, (), own.runbooks, own.incidents.minutes).minutes for n in ("outage", "quality")}
    assert minutes == {"outage": 5, "quality": 90}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            'open = "warning"',
            "budget.toml:2: incidents.open must be one of warn, fail, off.*did you mean warn",
        ),
        ('ignore = ["latency"]', "out of outage, .*did you mean latency_spike"),
        ("expected_minutes = 0", "at least 1"),
        ("many = 5", "write 0.05 for 5 %"),
        ('opens = "fail"', "did you mean open"),
        ('warn = "SEV1"', r"incidents.warn \(SEV1\) is more severe than incidents.fail \(SEV2\)"),
    ],
)
def test_a_bad_policy_is_one_clear_line(table: str, said: str) -> None:
    with pytest.raises(BudgetError, match=said) as caught:
        parse_budget(f"[incidents]\n{table}\n", display="budget.toml")
    assert "\n" not in str(caught.value)
    assert set(INCIDENT_CATEGORIES) == {c.id for c in categories()}
