"""Tokens to dollars: the user's prices first, then the genai-prices list; an unknown model has no price."""

from __future__ import annotations

import functools
import ntpath
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pytest_llmwatch.model import Cost, Price, Usage

_VERIFIED = re.compile(r"verified (?:on )?(\d{4}-\d\d-\d\d)")

_LISTED_AS = {
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "gcp.gen_ai": "google",
    "mistral_ai": "mistral",
    "x_ai": "x-ai",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "aws.bedrock": "aws",
}
"""OpenTelemetry's provider names where genai-prices has another; the rest is found as it is, or by its host."""

ExtraPrice = Callable[[str, str | None, Usage], Any]
"""``(model, provider, usage) -> Cost | None``: the hook for models that the price list does not know."""


class PriceBook:
    """What models cost.

    Args:
        overrides: Prices by model name, from ``[prices."name"]``; they win over everything.
        extra: Asked last, for models that nobody else knows.
    """

    def __init__(self, overrides: Mapping[str, Price] | None = None, *, extra: ExtraPrice | None = None) -> None:
        self._overrides = dict(overrides or {})
        self._extra = extra

    def cost(
        self,
        model: str | None,
        provider: str | None,
        usage: Usage,
        response_model: str | None = None,
        at: str | None = None,
    ) -> Cost:
        """Return the cost of one call.

        The model that answered is looked up first, then the one that was asked for; a file path, as local servers
        report it, is skipped. Without token counts or a known price, ``Cost.usd`` is None.

        Args:
            model: Model asked for.
            provider: A name of OpenTelemetry's (``openai``, ``anthropic``, ``gcp.gemini``), or a host name.
            usage: Tokens; cached tokens are a part of the input tokens.
            response_model: Model that answered, None if unknown.
            at: ISO time of the call, for prices that changed; None = now.
        """
        if usage.input_tokens is None and usage.output_tokens is None:
            return Cost()
        names = [n for n in (response_model, model) if n and not is_path(n)]
        for name in names or [base_name(n) for n in (response_model, model) if n]:
            if name in self._overrides:
                return _from_price(self._overrides[name], usage)
        for name in names:
            cost = _listed(name, provider, usage, at)
            if cost is not None:
                return cost
        for name in names if self._extra else ():
            cost = self._extra(name, provider, usage) if self._extra else None
            if isinstance(cost, Cost):
                return cost
        return Cost()


@functools.lru_cache(maxsize=256)  # asked for each name in each event of a stream
def is_path(name: str) -> bool:
    """Whether a model's name is an absolute file path, as some local servers report it."""
    return posixpath.isabs(name) or (ntpath.isabs(name) and ":" in name[:2])


def base_name(name: str) -> str:
    """Return the last part of a path-like model name; other names are returned as they are."""
    return ntpath.basename(name) if is_path(name) else name


def _from_price(price: Price, usage: Usage) -> Cost:
    read = usage.input_tokens or 0
    cached = min(usage.cached_tokens or 0, read)
    cached_price = price.input_per_million if price.cached_per_million is None else price.cached_per_million
    input_usd = ((read - cached) * price.input_per_million + cached * cached_price) / 1e6
    output_usd = (usage.output_tokens or 0) * price.output_per_million / 1e6
    return Cost(input_usd + output_usd, input_usd, output_usd, price.source, price.date)


@dataclass(frozen=True, slots=True)
class _Rates:
    """US dollars per token of a model whose price is a plain one: the same at any time and for any number."""

    read: float
    cached: float
    written: float
    output: float


def _listed(name: str, provider: str | None, usage: Usage, at: str | None) -> Cost | None:
    rates = _rates(name, provider)
    if rates is None:
        return None
    read = usage.input_tokens or 0
    cached = min(usage.cached_tokens or 0, read)
    written = min(usage.cache_write_tokens or 0, read - cached)
    output = usage.output_tokens or 0
    if isinstance(rates, _Rates):
        input_usd = (read - cached - written) * rates.read + cached * rates.cached + written * rates.written
        output_usd = output * rates.output
        return Cost(input_usd + output_usd, input_usd, output_usd, _source(), _list_date())
    found = _calculated(name, rates, (read, output, cached, written), _time(at))
    if found is None:
        return None
    return Cost(*found, _source(), _list_date())


@functools.lru_cache(maxsize=1000)
def _rates(name: str, provider: str | None) -> _Rates | dict[str, str] | None:
    """Return a model's rates, or where to ask for each call if they depend on time or size; None = not listed.

    Asking the list takes a quarter of a millisecond, which many calls of few models need not pay each time.
    """
    from genai_prices import data_snapshot, types

    for where in _wheres(provider):
        try:
            _, model = data_snapshot.get_snapshot().find_provider_model(
                name, None, where.get("provider_id"), where.get("provider_api_url")
            )
        except (LookupError, ValueError):
            continue
        prices = model.prices
        if not isinstance(prices, types.ModelPrice) or any(
            isinstance(p, types.TieredPrices) for p in vars(prices).values()
        ):
            return where
        million = 1_000_000
        probes = [
            _calculated(name, where, tokens, None)
            for tokens in (
                (million, 0, 0, 0),
                (million, 0, million, 0),
                (million, 0, 0, million),
                (0, million, 0, 0),
            )
        ]
        if any(p is None for p in probes):
            return where
        read, cached, written, output = (p[0] / million for p in probes if p is not None)
        return _Rates(read, cached, written, output)
    return None


def _wheres(provider: str | None) -> list[dict[str, str]]:
    wheres: list[dict[str, str]] = [{}]
    if provider in _LISTED_AS:
        wheres.insert(0, {"provider_id": _LISTED_AS[provider]})
    elif provider and "." in provider and not provider.replace(".", "").isdigit():
        wheres.insert(0, {"provider_api_url": f"https://{provider}"})
    elif provider and provider.isalpha():
        wheres.insert(0, {"provider_id": provider})
    if provider not in _LISTED_AS:
        wheres.append({"provider_id": "openai"})  # a gateway that relays its API; the list knows few names alone
    return wheres


def _calculated(
    name: str, where: Mapping[str, str], tokens: tuple[int, int, int, int], when: datetime | None
) -> tuple[float, float, float] | None:
    """Return what the list says of (input, output, cached, written) tokens: total, input, output US dollars."""
    import genai_prices

    read, output, cached, written = tokens
    usage = genai_prices.Usage(
        input_tokens=read, output_tokens=output, cache_read_tokens=cached, cache_write_tokens=written
    )
    try:
        found = genai_prices.calc_price(usage, name, genai_request_timestamp=when, **where)  # type: ignore[call-overload]
    except (LookupError, ValueError):
        return None
    return float(found.total_price), float(found.input_price), float(found.output_price)


@functools.cache
def _source() -> str:
    import genai_prices

    return f"genai-prices {genai_prices.__version__}"


@functools.cache
def _list_date() -> str | None:
    """Return the newest day on which a price of the list was verified, None where the list does not say.

    genai-prices carries no date of its own; its comments say when a vendor's page was last read.
    """
    from genai_prices import data_snapshot

    comments = (
        text or ""
        for provider in data_snapshot.get_snapshot().providers
        for text in (provider.price_comments, *(model.price_comments for model in provider.models))
    )
    return max((day for text in comments for day in _VERIFIED.findall(text)), default=None)


def _time(at: str | None) -> datetime | None:
    if at is None:
        return None
    try:
        return datetime.fromisoformat(at)
    except ValueError:
        return None
