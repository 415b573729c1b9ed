"""Kinds of answers: categories that flip while scores stay, and formats apart from what they hold."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import pytest
from scipy import stats as scipy_stats

from pytest_llmwatch import baseline as frozen
from pytest_llmwatch import baseline_file, gate
from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.compare_answers import answer_of, format_of
from pytest_llmwatch.errors import BudgetError
from pytest_llmwatch.model import Baseline, Call, CaseResult, Run, Score, Verdict
from pytest_llmwatch.stats import categories

BOTH = '[drift]\nmetrics = ["passed", "answer_distribution", "format_distribution"]\n'


@pytest.mark.parametrize(
    ("text", "answer", "form"),
    [
        ("Yes", "yes", "text"),
        ("No, because 17077 = 17 * 1004.5.", "no", "text"),
        ("Step 1: divide.\nStep 2: it is prime.\n\n[Yes]", "yes", "text"),
        ("[No] \n\nExplanation: it is even.", "no", "text"),
        ("```\nyes\n```", "yes", "fenced"),
        ('{"label": "Yes"}', "yes", "json"),
        ("**Positive**", "positive", "markdown"),
        ("The sentiment is mixed, so the final answer is: neutral.", "neutral", "text"),
        ("I'm sorry, but I can't assist with that request.", "refusal", "text"),
        ("- one\n- two", "one two", "list"),
        ("| a | b |\n|---|---|\n| 1 | 2 |\nand a good deal more to say on it", "other", "table"),
        ("A long answer that tells a story of many words, and has no label in it.", "other", "text"),
        ("  ", "empty", "empty"),
        ('{"a": 1, "b": [' + "[" * 3000, "other", "text"),
    ],
)
def test_an_answer_has_a_category_and_a_format(text: str, answer: str, form: str) -> None:
    assert (answer_of(text), format_of(text)) == (answer, form)


Case = tuple[Sequence[str], Sequence[str], str]


def noisy(rng: random.Random, cases: int, repeats: tuple[int, int], flip: float = 0.0) -> list[Case]:
    out = []
    for n in range(cases):
        yes = rng.random()
        sides = [["yes" if rng.random() < yes else "no" for _ in range(k)] for k in repeats]
        sides[1] = [("no" if x == "yes" and rng.random() < flip else x) for x in sides[1]]
        out.append((sides[0], sides[1], str(n)))
    return out


@pytest.mark.parametrize("repeats", [(1, 1), (5, 1), (5, 2)])
def test_unchanged_answers_are_called_changed_no_more_often_than_alpha(repeats: tuple[int, int]) -> None:
    builds, alpha, rng = 200, 0.05, random.Random(5)
    red = sum(categories.compare(noisy(rng, 30, repeats), seed=s, draws=199).p <= alpha for s in range(builds))
    assert red <= scipy_stats.binom.ppf(0.9999, builds, alpha)
    found = sum(categories.compare(noisy(rng, 60, repeats, 0.8), seed=s, draws=199).p <= 0.01 for s in range(20))
    assert found >= 12, "the control: what changed is found"


def test_flips_that_cancel_out_are_seen_within_cases_where_there_are_repeats() -> None:
    def swapped(repeats: int) -> list[Case]:
        kinds = [("yes", "no") if n % 2 else ("no", "yes") for n in range(30)]
        return [([a] * repeats, [b] * repeats, str(n)) for n, (a, b) in enumerate(kinds)]

    found = categories.compare(swapped(5), seed=1)
    assert found.p <= 0.001
    assert found.moved > 0.5
    assert {s[0]: s[1:] for s in found.shares} == {
        "yes": pytest.approx((0.5, 0.5)),
        "no": pytest.approx((0.5, 0.5)),
    }
    assert categories.compare(swapped(1), seed=1).p > 0.05, "one repeat a side cannot tell it from noise"


def test_many_categories_clusters_and_odd_input() -> None:
    apart = [([f"a{n}"], [f"b{n}"], "one") for n in range(200)]
    assert categories.compare(apart, seed=1).attainable == 0.5, "all of them move together"
    with pytest.raises(ValueError, match="no case"):
        categories.compare([], seed=1)
    assert categories.compare([(["x"], ["x"], "c")], seed=1).moved == 0.0


@pytest.fixture
def make() -> Callable[..., Run]:
    def run(answer: Callable[[int, int], str], *, repeats: int = 1, cases: int = 40) -> Run:
        """A classifier that is right whatever it says: the score does not move."""
        results = tuple(
            CaseResult(
                nodeid=f"c{n}[{k}]",
                set="s",
                case=f"c{n}",
                repeat=k,
                outcome="passed",
                input=f"q{n}",
                output=answer(n, k),
                scores=(Score("length", 1.0),),
                call_ids=(f"{n}-{k}",),
            )
            for n in range(cases)
            for k in range(repeats)
        )
        calls = tuple(Call(id=f"{n}-{k}", set="s", case=f"c{n}") for n in range(cases) for k in range(repeats))
        return Run("r", "2026-06-01T10:00:00.000Z", calls=calls, results=results)

    return run


def judged(run: Run, base: Baseline, budget: str = BOTH) -> dict[str, Verdict]:
    found = gate.judge(run, parse_budget(budget), today=date(2026, 6, 2), baselines={"s": base})
    return {v.rule.removeprefix("drift."): v for v in found}


def yes_or_no(n: int, k: int) -> str:
    return "Yes" if n % 4 else "No"


def test_the_flip_from_yes_to_no_fails_where_no_score_moves(make: Callable[..., Run], tmp_path: Path) -> None:
    base = frozen.make([make(yes_or_no, repeats=5)], "s")
    baseline_file.save(base, tmp_path / "baseline.json")
    base = baseline_file.load(tmp_path / "baseline.json")
    flipped = judged(make(lambda n, k: "[No]"), base)
    assert flipped["passed"].verdict == "pass"
    assert flipped["answer_distribution"].verdict == "fail"
    assert "yes 75% → 0%, no 25% → 100%" in flipped["answer_distribution"].because
    assert flipped["answer_distribution"].delta == pytest.approx(0.75)
    assert flipped["format_distribution"].verdict == "pass"

    same = judged(make(yes_or_no), base)
    assert {v.verdict for v in same.values()} == {"pass"}
    assert set(judged(make(yes_or_no), base, "[drift]\n")) == {"passed", "length", "error"}, "only where asked for"


def test_a_format_drifts_apart_from_the_content(make: Callable[..., Run]) -> None:
    base = frozen.make([make(yes_or_no, repeats=5)], "s")
    fenced = judged(make(lambda n, k: f"```\n{yes_or_no(n, k)}\n```"), base)
    assert fenced["format_distribution"].verdict == "fail"
    assert fenced["answer_distribution"].verdict == "pass"


def test_what_cannot_be_compared_is_said(make: Callable[..., Run]) -> None:
    base = frozen.make([make(yes_or_no, repeats=5)], "s")
    older = baseline_file.dumps(base).replace('"labels"', '"unread"')  # as written before there were any
    found = judged(make(yes_or_no), baseline_file.loads(older, "baseline.json"))
    assert (found["answer_distribution"].verdict, found["answer_distribution"].reason) == (
        "inconclusive",
        "not_measured",
    )
    with pytest.raises(BudgetError, match="did you mean answer_distribution"):
        parse_budget('[drift]\nmetrics = ["answers_distribution"]\n')
