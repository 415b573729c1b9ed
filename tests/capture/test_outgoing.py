"""Requests to OpenAI carry test, feature, run and hashed user, and recordings do not know it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.capture import outgoing
from pytest_llmwatch.capture.exchange import Sent
from pytest_llmwatch.errors import BudgetError

ON = {"request_metadata": ("metadata", "safety_identifier", "user"), "run": "run-7"}


@pytest.fixture
def bodies(api: Any, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The bodies that the server got."""
    seen: list[dict[str, Any]] = []
    real = api.answer

    def answer(method: str, path: str, query: str, body: bytes, kind: str) -> Any:
        seen.append(json.loads(body))
        return real(method, path, query, body, kind)

    monkeypatch.setattr(api, "answer", answer)
    return seen


@pytest.mark.parametrize("way", ["ask", "aio"])
def test_the_server_gets_them_and_a_replay_matches_without(
    bench: Any, api: Any, bodies: list[dict[str, Any]], way: str
) -> None:
    bench.base_url = api.base_url
    labels = {"feature": "support", "user": "ann@example.org"}
    act = getattr(bench, way)(api="chat", store=True)
    first = bench.run(act, "once", options=ON, labels=labels)
    assert first.error is None
    (body,) = bodies
    assert body["metadata"] == {
        "llmwatch_test": "tests/test_app.py::test_case",
        "llmwatch_run": "run-7",
        "llmwatch_feature": "support",
    }
    assert len(body["safety_identifier"]) == 16
    assert body["user"] == body["safety_identifier"]
    assert "ann" not in json.dumps(body)
    cassette = bench.cassette("case").read_text("utf-8")
    assert "llmwatch_test" not in cassette
    assert "safety_identifier" not in cassette
    for options in (ON, {**ON, "run": "run-8"}, {}):
        again = bench.run(act, "none", options=options, labels=labels)
        assert again.error is None, again.error
    assert len(bodies) == 1


def test_nothing_goes_out_unasked(bench: Any, api: Any, bodies: list[dict[str, Any]]) -> None:
    bench.base_url = api.base_url
    bench.run(bench.ask(api="chat", store=True), "off", labels={"user": "ann"})
    assert set(bodies[0]) == {"model", "messages", "store"}


def sent(path: str, body: dict[str, Any], **headers: str) -> Sent:
    return Sent("POST", f"https://api.example/v1/{path}", headers, json.dumps(body).encode())


def test_what_the_application_set_stays_and_limits_hold() -> None:
    def fill(path: str, body: dict[str, Any], **headers: str) -> dict[str, Any] | None:
        facts = {"test": "t" * 600, "run": "r", "feature": None}
        found = outgoing.fill(sent(path, body, **headers), outgoing.KINDS, facts=facts, user="hash")
        return json.loads(found) if found is not None else None

    full = {f"k{i}": "v" for i in range(15)}
    body = fill("responses", {"metadata": full, "user": "own"})
    assert body is not None
    assert len(body["metadata"]) == 16
    assert len(body["metadata"]["llmwatch_test"]) == 512
    assert (body["user"], body["safety_identifier"]) == ("own", "hash")
    body = fill("chat/completions", {"messages": []})
    assert body is not None
    assert "metadata" not in body
    assert fill("embeddings", {"input": "x"}) is None
    assert fill("responses", {}, **{"content-encoding": "gzip"}) is None
    assert outgoing.fill(sent("responses", {}), ("user",), facts={}, user=None) is None


def test_the_option_knows_its_parameters() -> None:
    budget = parse_budget('[capture]\nrequest_metadata = ["metadata", "safety_identifier"]')
    assert budget.capture.request_metadata == ("metadata", "safety_identifier")
    with pytest.raises(BudgetError, match="request_metadata"):
        parse_budget('[capture]\nrequest_metadata = ["meta"]')
