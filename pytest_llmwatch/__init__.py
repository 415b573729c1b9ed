"""Quality, latency and cost gates for applications that call language models."""

from __future__ import annotations

__version__ = "0.1.0"

_PUBLIC = {
    "Call": "model",
    "Case": "model",
    "CaseResult": "model",
    "Cost": "model",
    "Evidence": "model",
    "Output": "model",
    "Report": "model",
    "Run": "model",
    "Score": "model",
    "ToolCall": "model",
    "Usage": "model",
    "Verdict": "model",
    "Budget": "budget",
    "load_budget": "budget",
    "GoldenSet": "golden",
    "load_set": "golden",
    "Scorer": "scorers",
    "score": "scorers",
    "agent": "tracing",
    "retrieval": "tracing",
    "span": "tracing",
    "tag": "tracing",
    "tool": "tracing",
    "LlmwatchError": "errors",
    "UsageError": "errors",
}

__all__ = ["__version__", *sorted(_PUBLIC)]  # noqa: PLE0604


def __getattr__(name: str) -> object:
    # PEP 562: an idle plugin imports this module and must not pay for the rest.
    module = _PUBLIC.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
