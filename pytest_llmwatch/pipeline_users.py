"""Users in a run: kept as keyed hashes, named in clear in a budget."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pytest_llmwatch.budget import Budget
from pytest_llmwatch.budget_types import Scope
from pytest_llmwatch.capture.labels import hashed_user
from pytest_llmwatch.store.user_key import UserKey

DEFAULT_STORE = ".llmwatch"

HashUser = Callable[[str], str]


def key_of(url: str | None, root: Path, *, report: Path) -> UserKey:
    """Return the key of a test run: in its store, or in ``.llmwatch`` where the store is no folder of its own.

    Args:
        url: The store as it was asked for, None for none.
        root: The root directory of the run.
        report: The folder of the report, which others get to see.
    """
    folder = (root / (url if url and "://" not in url else DEFAULT_STORE)).resolve()
    if folder.is_relative_to(report):
        folder = (root / DEFAULT_STORE).resolve()
    return UserKey(folder)


@functools.cache
def key_in(store: Path) -> UserKey:
    """Return the key kept in a store that is only read."""
    return UserKey(store, create=False)


def hash_with(key: UserKey) -> HashUser:
    """Return the function that hashes a user's id."""
    return lambda user: hashed_user(user, key) or ""


def with_hashed_users(budget: Budget, hash_user: HashUser) -> Budget:
    """Return ``budget`` with the hash of each user that a scope names in clear, so that it finds its calls."""

    def hashed(scope: Scope | None) -> Scope | None:
        if scope is None or scope.kind != "user" or "*" in scope.value:
            return scope
        return replace(scope, also=hash_user(scope.value))

    scopes = [*(x.scope for x in budget.limits), *(x.scope for x in budget.drifts)]
    if not any(s is not None and s.kind == "user" for s in scopes):
        return budget
    return replace(
        budget,
        limits=tuple(replace(x, scope=hashed(x.scope)) for x in budget.limits),
        drifts=tuple(replace(x, scope=hashed(x.scope)) for x in budget.drifts),
    )
