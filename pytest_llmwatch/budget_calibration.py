"""``judge.json``: how well judges agree with people, as `llmwatch judge calibrate` writes and budgets read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_llmwatch.budget_types import Calibration
from pytest_llmwatch.errors import BudgetError

FILE = "judge.json"
SCHEMA_VERSION = 1


def read(path: Path, display: str | None = None) -> dict[str, Calibration]:
    """Return the calibrations of a file by the judge's version.

    Raises:
        BudgetError: It cannot be read, or is not of this form.
    """
    name = display or str(path)
    try:
        whole = json.loads(path.read_bytes())
        judges = whole["judges"]
        return {version: _calibration(version, entry) for version, entry in judges.items()}
    except OSError as error:
        message = (
            f"cannot read the calibration of the judge ({error.strerror}); `llmwatch judge calibrate` makes it"
        )
        raise BudgetError(message, slug="judge-calibration", file=name) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        message = f"is no calibration of a judge ({type(error).__name__}: {str(error)[:80]}); "
        message += "`llmwatch judge calibrate` writes it"
        raise BudgetError(message, slug="judge-calibration", file=name) from None


def _calibration(version: str, entry: Mapping[str, Any]) -> Calibration:
    low, high = entry["kappa_ci"]
    kappa = entry["kappa"]
    for value in (kappa, low, high):
        if value is not None and (isinstance(value, bool) or not -1 <= float(value) <= 1):
            raise ValueError(f"kappa must be in [-1, 1] (got {value!r})")
    n = entry["n"]
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise ValueError(f"n must be a whole number (got {n!r})")
    return Calibration(
        version=version,
        name=str(entry.get("name", "")),
        model=entry.get("model"),
        n=n,
        kappa=None if kappa is None else float(kappa),
        low=None if low is None else float(low),
        high=None if high is None else float(high),
    )
