"""Prices: the user's first, then the list; an unknown model has no price, never a price of zero."""

from __future__ import annotations

import re

import pytest

from pytest_llmwatch.model import Cost, Price, Usage
from pytest_llmwatch.pricing import PriceBook, base_name

USAGE = Usage(input_tokens=1_000_000, output_tokens=1_000_000, total_tokens=2_000_000)


def test_a_known_model_has_a_price_with_source_and_date() -> None:
    cost = PriceBook().cost("gpt-4o-mini", "openai", USAGE, "gpt-4o-mini-2024-07-18")
    assert cost.input_usd == pytest.approx(0.15)
    assert cost.output_usd == pytest.approx(0.60)
    assert cost.usd == pytest.approx(0.75)
    assert cost.source is not None
    assert re.fullmatch(r"genai-prices \d+\.\d+.*", cost.source)
    assert cost.date is not None
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", cost.date)


def test_cached_tokens_are_cheaper() -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=0, cached_tokens=1_000_000)
    assert PriceBook().cost("gpt-4o-mini", "openai", usage).usd == pytest.approx(0.075)


def test_overrides_win_and_know_cached_tokens() -> None:
    book = PriceBook({"gpt-4o-mini": Price(1.0, 2.0, 0.5, date="2026-01-01"), "mine": Price(3.0, 0.0)})
    usage = Usage(input_tokens=1000, output_tokens=500, cached_tokens=400)
    cost = book.cost("gpt-4o-mini", "openai", usage)
    assert cost == Cost(pytest.approx(0.0018), pytest.approx(0.0008), 0.001, "budget.toml", "2026-01-01")
    assert book.cost("mine", "127.0.0.1", usage).usd == pytest.approx(0.003)


def test_an_unknown_model_or_no_usage_has_no_price() -> None:
    assert PriceBook().cost("smollm2-135m", "127.0.0.1", USAGE) == Cost()
    assert PriceBook().cost("ft:gpt-4o-mini:acme::1", "openai", USAGE).usd is None
    assert PriceBook().cost("gpt-4o-mini", "openai", Usage()).usd is None
    assert PriceBook().cost(None, None, USAGE).usd is None


def test_a_file_path_as_model_name_falls_back_to_the_model_asked_for() -> None:
    book = PriceBook({"smollm2": Price(1.0, 1.0)})
    assert book.cost("smollm2", "127.0.0.1", USAGE, "/models/SmolLM2.gguf").usd == pytest.approx(2.0)
    assert base_name("/models/SmolLM2.gguf") == "SmolLM2.gguf"
    assert base_name(r"C:\models\SmolLM2.gguf") == "SmolLM2.gguf"
    assert base_name("org/model") == "org/model"


def test_other_vendors_are_priced_by_their_host() -> None:
    assert PriceBook().cost("llama-3.3-70b-versatile", "api.groq.com", USAGE).usd
    assert PriceBook().cost("gpt-4o", "azure", USAGE).usd
    # a proxy on one's own machine: the model's name still tells
    assert PriceBook().cost("gpt-4o", "127.0.0.1", USAGE).usd


def test_an_extension_is_asked_last() -> None:
    asked: list[str] = []

    def extra(model: str, provider: str | None, usage: Usage) -> Cost | None:
        asked.append(model)
        return Cost(1.5, source="mine") if model == "in-house" else None

    book = PriceBook(extra=extra)
    assert book.cost("in-house", "llm.example", USAGE).usd == 1.5
    assert book.cost("other", "llm.example", USAGE).usd is None
    assert book.cost("gpt-4o", "openai", USAGE).source != "mine"
    assert asked == ["in-house", "other"]


def test_a_gateway_that_relays_openai_is_priced_like_it() -> None:
    book, usage = PriceBook(), Usage(1000, None, 1000)
    direct = book.cost("text-embedding-3-small", "openai", usage).usd
    assert book.cost("text-embedding-3-small", "127.0.0.1", usage).usd == direct
    assert direct is not None
    assert book.cost("house-1", "127.0.0.1", usage).usd is None
