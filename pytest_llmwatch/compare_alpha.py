"""Who may spend how much of the chance that an unchanged build goes red."""

from __future__ import annotations

from collections.abc import Collection

from pytest_llmwatch.budget_grammar import FAMILY_SHARES


def split_alpha(alpha: float, families: Collection[str | None]) -> dict[str, float]:
    """Return what each used family of tests may spend.

    Quality .50, latency .20, cost .15, errors .15 of ``alpha``; the shares of unused families go to the used
    ones in proportion, so the sum is ``alpha`` wherever there is a test, and the whole-build bound holds.
    Which families are used may depend on the budget and on what was measured, never on how it came out.
    """
    total = sum(share for family, share in FAMILY_SHARES.items() if family in families)
    return {f: alpha * share / total for f, share in FAMILY_SHARES.items() if f in families}
