"""Every figure of ``[retrieval]``, by golden documents given as ids or texts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.measure import figure, slice_of
from pytest_llmwatch.measure_figure import Figure
from pytest_llmwatch.measure_retrieval import NAMES, scores, values
from pytest_llmwatch.model import Call, CaseResult, Retrieval, Run, Score, Span

TEXT = "The river rises in the northern hills and reaches the sea after ninety miles."


def of(run: Run, key: str) -> Figure:
    return figure(parse_budget(f"[retrieval]\n{key} = 0.5").limits[0], slice_of(run))


def task(i: int, *found: Retrieval, golden: tuple[str, ...] | None = ("d1",), **fields: Any) -> dict[str, Any]:
    node = f"t.py::t[{i}]"
    call = Call(f"c{i}", nodeid=node, status=fields.pop("status", "success"))
    result = CaseResult(node, set="s", case=f"case{i}", call_ids=(call.id,), expected_documents=golden, **fields)
    spans = [Span(f"s{i}.{j}", "retrieve", "retrieval", nodeid=node, retrieval=r) for j, r in enumerate(found)]
    return {"calls": [call], "results": [result], "spans": spans}


def run_of(*tasks: dict[str, Any]) -> Run:
    parts = {k: tuple(x for t in tasks for x in t[k]) for k in ("calls", "results", "spans")}
    return Run("r", "", **parts)


def ids(*names: str) -> Retrieval:
    return Retrieval(ids=names)


@pytest.mark.parametrize(
    ("golden", "found", "expected"),
    [
        (("d1",), ids("d1", "d2"), (1, 1, 1, 0.5, 1)),
        (("d1",), ids("d2", "d1"), (1, 0, 0.5, 0.5, 1)),
        (("d1", "d3"), ids("d2", "d4", "d3"), (1, 0, 1 / 3, 1 / 3, 0.5)),
        (("d1",), ids("d2"), (0, 0, 0, 0, 0)),
        (("d1",), Retrieval(), (0, 0, 0, 0, 0)),
        ((" D1 ",), ids("d1"), (1, 1, 1, 1, 1)),
        (("northern hills and",), Retrieval(documents=(TEXT,)), (1, 1, 1, 1, 1)),
        ((TEXT,), Retrieval(documents=("x y", "rises in the  Northern hills and")), (1, 0, 0.5, 0.5, 1)),
        (("hills",), Retrieval(documents=(TEXT,), ids=("d9",)), (0, 0, 0, 0, 0)),
        (("d1",), ids("d1", "d1"), (1, 1, 1, 1, 1)),
    ],
)
def test_one_retrieval(golden: tuple[str, ...], found: Retrieval, expected: tuple[float, ...]) -> None:
    got = values(golden, found)
    assert got is not None
    assert tuple(got[n] for n in NAMES) == pytest.approx(expected)


def test_ids_cannot_be_held_against_texts() -> None:
    assert values(("d1",), Retrieval(documents=(TEXT,))) is None
    assert values((TEXT,), ids("d1")) is None
    assert values(("d1", TEXT), ids("d2")) is not None
    assert values(("d1",), Retrieval(documents=("d2", "d3"))) == dict.fromkeys(NAMES, 0)
    found = scores(("d1",), [Retrieval(documents=(TEXT,))])
    assert {(s.value, s.label) for s in found} == {(None, "not_assessable")}


def test_means_over_retrievals_and_recall_over_the_task() -> None:
    run = run_of(
        task(0, ids("d1", "d2"), ids("d4", "d3"), golden=("d1", "d3")),
        task(1, ids("d9"), golden=("d1",)),
        task(2, ids("d9"), golden=None),
    )
    assert of(run, "hit_rate").value == 0.5
    assert of(run, "hit_at_1").value == 0.25
    assert of(run, "mrr").value == pytest.approx((0.75 + 0) / 2)
    assert of(run, "recall_at_k").value == 0.5
    assert of(run, "precision_at_k").value == 0.25
    assert of(run, "documents").value == (2 + 2 + 1 + 1) / 4
    assert of(run, "hit_rate").worst == ("c1",)


def test_empty_retrievals() -> None:
    run = run_of(task(0, ids("d1")), task(1, Retrieval()))
    assert (of(run, "empty_rate").value, of(run, "hit_rate").value) == (0.5, 0.5)
    assert of(run, "empty_rate").worst == ("c1",)


def test_a_task_that_retrieved_nothing_is_a_miss_and_an_errored_one_is_missing() -> None:
    run = run_of(task(0, ids("d1")), task(1), task(2, status="error", outcome="error"))
    found = of(run, "hit_rate")
    assert found.value == 0.5
    assert found.missing == pytest.approx(1 / 3)
    assert "1 task without a retrieval counted as 0" in found.why
    assert "1 errored" in found.why


@pytest.mark.parametrize("key", [*NAMES, "empty_rate", "documents"])
def test_without_retrievals_nothing_is_measured(key: str) -> None:
    assert of(run_of(task(0)), key).reason == "not_measured"
    assert of(run_of(), key).reason == "not_measured"


def test_without_golden_documents_scores_that_the_records_bring_count() -> None:
    bare = run_of(task(0, ids("d1"), golden=None))
    assert "expected_documents" in of(bare, "mrr").why
    scored = run_of(task(0, golden=None, scores=(Score("mrr", 0.25),)))
    assert of(scored, "mrr").value == 0.25


def test_the_span_and_the_call_that_carry_one_retrieval_are_one() -> None:
    given = task(0, ids("d1"))
    given["calls"] = [Call("c0", nodeid="t.py::t[0]", retrieval=ids("d1"))]
    assert of(run_of(given), "empty_rate").n == 1
    given["calls"] *= 2
    assert of(run_of(given), "empty_rate").n == 1
    given["calls"] = [Call("c0", nodeid="t.py::t[0]", retrieval=ids("d2"))]
    assert of(run_of(given), "empty_rate").n == 2
    given["spans"] *= 2
    assert of(run_of(given), "empty_rate").n == 3


DOCUMENTS = st.lists(st.sampled_from(["d1", "d2", "d3", "d4"]), max_size=4, unique=True)


@given(
    st.lists(st.sampled_from(["d1", "d2"]), min_size=1, max_size=2, unique=True), st.lists(DOCUMENTS, max_size=3)
)
@settings(max_examples=80, deadline=None)
def test_scores_figures_and_records_agree(golden: list[str], found: list[list[str]]) -> None:
    retrievals = [ids(*f) for f in found]
    live = run_of(task(0, *retrievals, golden=tuple(golden)))
    lines = [Call("a", trace_id="t")]
    lines += [Call(f"r{j}", operation="retrieval", trace_id="t", retrieval=r) for j, r in enumerate(retrievals)]
    results = tuple(CaseResult(c.id, call_ids=(c.id,)) for c in lines[1:])
    first = CaseResult("a", set="s", case="case0", call_ids=("a",), expected_documents=tuple(golden))
    log = Run("r", "", calls=tuple(lines), results=(first, *results))
    told = {s.name: s.value for s in scores(golden, retrievals)}
    for name in NAMES:
        assert of(live, name).value == of(log, name).value == (pytest.approx(told[name]) if told else None)
