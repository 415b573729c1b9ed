"""What a run may still do live: the money that is left, and endpoints that refuse everything."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from pytest_llmwatch.errors import InfrastructureError, SpendLimitReached
from pytest_llmwatch.format import value
from pytest_llmwatch.model import Cost, Usage
from pytest_llmwatch.plugin.estimate import CHARACTERS_PER_TOKEN

if TYPE_CHECKING:
    from pytest_llmwatch.model import Call
    from pytest_llmwatch.plugin.wire import SpendLedger

_REFUSALS = frozenset({"api-key-refused", "unknown-model"})


class Spending:
    """Keep a run to ``--llm-max-cost``.

    Args:
        ledger: What the processes of the run have spent.
        price: Price of a model's tokens: ``(model, usage) -> Cost``.
    """

    def __init__(self, ledger: SpendLedger, price: Callable[[str, Usage], Cost]) -> None:
        self.ledger = ledger
        self._price = price

    def guard(self) -> None:
        """Refuse a live call that the limit does not allow.

        Raises:
            SpendLimitReached: The limit is reached, or a call was made whose cost nobody can tell.
        """
        limit = self.ledger.limit
        if limit is None:
            return
        spent, unknown = self.ledger.read()
        if unknown:
            raise SpendLimitReached(
                f"not called: what {unknown!r} costs is not known, so --llm-max-cost cannot hold; add "
                f'[prices."{unknown}"] to budget.toml, or leave --llm-max-cost out',
                slug="max-cost-unpriced",
            )
        if spent >= limit:
            # without the sum, which grows while calls in flight come back: equal lines are shown as one
            raise SpendLimitReached(f"not called: --llm-max-cost {value(limit, 'usd')} is spent", slug="max-cost")

    def took(self, call: Call) -> None:
        """Take note of a finished call; a replayed one costs nothing."""
        if self.ledger.limit is None or call.capture_mode == "replayed":
            return
        usd = call.cost.usd
        if usd is None:
            usd = self._by_length(call)
        if usd is None:
            self.ledger.add_unknown(call.response_model or call.model or "the model")
        elif usd:
            self.ledger.add(usd)

    def _by_length(self, call: Call) -> float | None:
        """Return what a call without token counts cost by the length of its texts: 0 for one that failed.

        A stream that nobody read to its end, or that was asked for no usage, is billed all the same.
        """
        if call.output is None and call.status in ("error", "timeout", "rate_limited"):
            return 0.0
        if call.input_chars is None or not call.model:
            return None
        read = math.ceil(call.input_chars / CHARACTERS_PER_TOKEN)
        written = math.ceil((call.output_chars or 0) / CHARACTERS_PER_TOKEN)
        return self._price(call.model, Usage(read, written, read + written)).usd


class Refusals:
    """Stop asking golden cases where the key or the model was refused, and never anything else, twice in a row.

    Only golden sets: what an application's own tests do with a refused key is their business.
    """

    def __init__(self, after: int = 2) -> None:
        self._after = after
        self._row: dict[str | None, list[InfrastructureError]] = {}
        self._answered: set[str | None] = set()
        self._lock = threading.Lock()

    def check(self, model: str | None) -> None:
        """Refuse to ask ``model`` where it was given up.

        Raises:
            InfrastructureError: It was.
        """
        row = self._row.get(model) or []
        if len(row) >= self._after:
            raise InfrastructureError(f"not asked: {row[0].message}", slug="endpoint-given-up")

    def answered(self, model: str | None) -> None:
        """Note that ``model`` answered: it is never given up."""
        with self._lock:
            self._answered.add(model)
            self._row.pop(model, None)

    def failed(self, model: str | None, error: InfrastructureError) -> None:
        """Note that asking ``model`` failed."""
        if error.slug in _REFUSALS and model not in self._answered:
            with self._lock:
                self._row.setdefault(model, []).append(error)
