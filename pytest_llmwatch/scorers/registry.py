"""Which scorers there are: the built-in ones by module and class, and those that extensions register."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.model import ScorerSpec
from pytest_llmwatch.scorers.base import FunctionScorer, Scorer
from pytest_llmwatch.scorers.options import build, check_names, function_options, nearest

BUILTIN: dict[str, tuple[str, str]] = {
    "json": ("format", "Json"),
    "json_schema": ("format", "JsonSchema"),
    "regex": ("text", "Regex"),
    "length": ("text", "Length"),
    "equals": ("reference", "Equals"),
    "contains": ("reference", "Contains"),
    "must_mention": ("facts", "MustMention"),
    "must_not_mention": ("facts", "MustNotMention"),
    "relevance": ("relevance", "Relevance"),
    "groundedness": ("grounding", "Groundedness"),
    "markers": ("markers", "Markers"),
    "consistency": ("consistency", "Consistency"),
    "tool_calls": ("tools", "ToolCalls"),
    "refusal": ("refusal", "Refusal"),
    "injection": ("injection", "Injection"),
    "secrets": ("safety", "Secrets"),
    "pii": ("safety", "Pii"),
    "starts_with": ("affix", "StartsWith"),
    "ends_with": ("affix", "EndsWith"),
    "exact_match": ("overlap", "ExactMatch"),
    "word_f1": ("overlap", "WordF1"),
    "rouge": ("overlap", "Rouge"),
    "gleu": ("overlap", "Gleu"),
    "meteor": ("overlap", "Meteor"),
    "bleu": ("translation", "Bleu"),
    "chrf": ("translation", "Chrf"),
    "levenshtein": ("similarity", "EditDistance"),
    "numeric": ("numbers", "Numeric"),
    "list_contains": ("lists", "ListContains"),
    "json_diff": ("json_diff", "JsonDiff"),
    "json_fields": ("json_diff", "JsonFields"),
    "data_compare": ("tables", "DataCompare"),
    "yaml": ("documents", "Yaml"),
    "csv": ("documents", "Csv"),
    "python_code": ("documents", "PythonCode"),
    "xml": ("markup", "Xml"),
    "html": ("markup", "Html"),
    "markdown": ("markdown", "Markdown"),
    "sql": ("sql", "Sql"),
    "language": ("language", "Language"),
    "instructions": ("instructions", "Instructions"),
    "short_output": ("short", "ShortOutput"),
    "perplexity": ("perplexity", "Perplexity"),
    "quoted_spans": ("quotes", "QuotedSpans"),
    "context_precision": ("retrieval", "ContextPrecision"),
    "context_recall": ("retrieval", "ContextRecall"),
    "context_hit_rate": ("retrieval", "HitRate"),
    "context_mrr": ("retrieval", "Mrr"),
    "context_ndcg": ("retrieval", "Ndcg"),
    "context_use": ("retrieval", "ContextUse"),
    "tool_used": ("trajectory", "ToolUsed"),
    "tool_sequence": ("trajectory", "ToolSequence"),
    "tool_schema": ("trajectory", "ToolSchema"),
    "step_count": ("trajectory", "StepCount"),
    "finish_reason": ("finish", "FinishReason"),
    "guardrail": ("finish", "Guardrail"),
    "prompt_leak": ("quotes", "PromptLeak"),
    "policy": ("policy", "Policy"),
    "judge": ("judge", "Judge"),
    "judge_pairwise": ("judge_presets", "JudgePairwise"),
    "groundedness_embeddings": ("grounding_embeddings", "GroundednessEmbeddings"),
    "groundedness_nli": ("entailment", "GroundednessNli"),
    "similarity_embeddings": ("embeddings", "SimilarityEmbeddings"),
    "relevance_embeddings": ("embeddings", "RelevanceEmbeddings"),
    "groundedness_judge": ("judge_presets", "GroundednessJudge"),
    "factuality": ("judge_presets", "Factuality"),
    "closedqa": ("judge_presets", "ClosedQa"),
    "answer_relevance": ("judge_presets", "AnswerRelevance"),
    "context_relevance": ("judge_presets", "ContextRelevance"),
    "context_recall_judge": ("judge_presets", "ContextRecallJudge"),
    "conversation_relevance": ("judge_presets", "ConversationRelevance"),
    "goal_success": ("judge_presets", "GoalSuccess"),
    "possible": ("judge_presets", "Possible"),
    "security_judge": ("judge_presets", "SecurityJudge"),
    "moderation_judge": ("judge_presets", "ModerationJudge"),
    "sql_judge": ("judge_presets", "SqlJudge"),
    "summary_judge": ("judge_presets", "SummaryJudge"),
    "translation_judge": ("judge_presets", "TranslationJudge"),
    "function": ("dotted", "Function"),
    "deepeval": ("adapters.deepeval", "DeepEval"),
    "ragas": ("adapters.ragas", "Ragas"),
    "autoevals": ("adapters.autoevals", "AutoEvals"),
    "pydantic_evals": ("adapters.pydantic_evals", "PydanticEvals"),
    "any_of": ("groups", "AnyOf"),
    "k_of": ("groups", "KOf"),
    "all_of": ("groups", "AllOf"),
    "derived": ("derived", "Derived"),
    "composite": ("composite", "Composite"),
}
"""Name -> (module, class). The class is a dataclass whose fields are the scorer's options."""

UNASKED = frozenset(
    [
        "json",
        "json_schema",
        "regex",
        "length",
        "equals",
        "contains",
        "must_mention",
        "must_not_mention",
        "relevance",
        "groundedness",
        "markers",
        "consistency",
        "tool_calls",
        "refusal",
        "injection",
        "secrets",
        "pii",
        "composite",
    ]
)
"""Built-in scorers that run by themselves where they apply. All others are run only where somebody names them."""

MODELS = frozenset(
    ["groundedness_embeddings", "groundedness_nli", "similarity_embeddings", "relevance_embeddings"]
)
"""Built-in scorers that run a model in process."""

Factory = Callable[[Mapping[str, Any]], Scorer]

_registered: dict[str, Any] = {}


def names() -> tuple[str, ...]:
    """Return the names of all scorers, the built-in ones first."""
    return (*BUILTIN, *(n for n in _registered if n not in BUILTIN))


_UNASKED = tuple(name for name in BUILTIN if name in UNASKED)


def unasked() -> tuple[str, ...]:
    """Return the scorers that run by themselves where they apply, registered ones too."""
    return (*_UNASKED, *_registered) if _registered else _UNASKED


def register(name: str, factory: Any) -> None:
    """Add a scorer.

    Args:
        name: What golden sets and budgets call it. A built-in name cannot be taken; registering a name of
            your own again replaces it.
        factory: A function ``(output, case) -> float | bool | None | Score`` (further parameters are its
            options), an object with ``score(output, case)``, or a class of such objects, which is constructed
            with the options as keyword arguments.

    Raises:
        UsageError: The name is taken by a built-in scorer, or the factory is none of these.
    """
    if name in BUILTIN:
        raise UsageError(f"scorer {name!r} is built in; register yours under another name", slug="scorer-name")
    if not callable(factory) and not hasattr(factory, "score"):
        raise UsageError(
            f"scorer {name!r} must be a function (output, case) or an object with `score` "
            f"(got {type(factory).__name__})",
            slug="scorer-name",
        )
    _registered[name] = factory


def unregister(name: str) -> None:
    """Forget a registered scorer; built-in ones stay."""
    _registered.pop(name, None)


def get(name: str, options: Mapping[str, Any] | None = None) -> Scorer:
    """Return the scorer ``name`` with ``options``.

    Raises:
        UsageError: No such scorer (``scorer-unknown``), or options that it does not take (``scorer-option``).
    """
    options = options or {}
    if name in _registered:
        return _custom(name, _registered[name], options)
    if name not in BUILTIN:
        raise UsageError(
            f"unknown scorer {name!r}{nearest(name, names())}; known: {', '.join(names())}", slug="scorer-unknown"
        )
    if not options:
        return _cached(name, "{}")
    try:
        key = json.dumps(options, sort_keys=True)
    except (TypeError, ValueError):
        return _built(name, options)
    return _cached(name, key)


def validate(spec: ScorerSpec) -> None:
    """Check a scorer that a golden set or a test asks for, before anything runs.

    Raises:
        UsageError: The scorer is not known, or its options are wrong.
    """
    get(spec.name, spec.options)


@functools.lru_cache(maxsize=512)
def _cached(name: str, options: str) -> Scorer:
    return _built(name, json.loads(options))


def _built(name: str, options: Mapping[str, Any]) -> Scorer:
    module, cls = BUILTIN[name]
    found = getattr(importlib.import_module(f"pytest_llmwatch.scorers.{module}"), cls)
    scorer: Scorer = build(found, name, options)
    return scorer


def _custom(name: str, factory: Any, options: Mapping[str, Any]) -> Scorer:
    if inspect.isclass(factory):
        allowed = function_options_of_class(factory)
        if allowed is not None:
            check_names(name, options, allowed)
        return _adapted(name, factory(**options))
    if hasattr(factory, "score"):
        check_names(name, options, ())
        return _adapted(name, factory)
    allowed = function_options(factory)
    if allowed is not None:
        check_names(name, options, allowed)
    return FunctionScorer(name, factory, dict(options))


def function_options_of_class(cls: type[Any]) -> frozenset[str] | None:
    """Return the options that a scorer class takes when it is constructed; None where it takes any."""
    parameters = list(inspect.signature(cls).parameters.values())
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return frozenset(p.name for p in parameters if p.kind is not p.VAR_POSITIONAL)


def _adapted(name: str, found: Any) -> Scorer:
    """Give an object that only has ``score`` the rest of the protocol."""
    if isinstance(found, Scorer):
        return found
    return FunctionScorer(
        name,
        found.score,
        version=str(getattr(found, "version", "1")),
        informational=bool(getattr(found, "informational", False)),
    )
