"""Our fields and the OpenTelemetry GenAI names: the only place that knows the latter.

Pinned to semantic conventions 1.41.1. Cost and prompt version have no standard name; ours are labelled as such.
"""

from __future__ import annotations

from typing import NamedTuple

SEMCONV_VERSION = "1.41.1"


class Attribute(NamedTuple):
    """One attribute: its OpenTelemetry name, the unit, and an older name that backends still read."""

    name: str
    unit: str | None = None
    legacy: str | None = None


CALL_ATTRIBUTES: dict[str, Attribute] = {
    "operation": Attribute("gen_ai.operation.name"),
    "provider": Attribute("gen_ai.provider.name", legacy="gen_ai.system"),
    "model": Attribute("gen_ai.request.model"),
    "response_model": Attribute("gen_ai.response.model"),
    "request_id": Attribute("gen_ai.response.id"),
    "finish_reason": Attribute("gen_ai.response.finish_reasons"),
    "input_tokens": Attribute("gen_ai.usage.input_tokens", "{token}", "gen_ai.usage.prompt_tokens"),
    "output_tokens": Attribute("gen_ai.usage.output_tokens", "{token}", "gen_ai.usage.completion_tokens"),
    "cached_tokens": Attribute("gen_ai.usage.cache_read.input_tokens", "{token}"),
    "cache_write_tokens": Attribute("gen_ai.usage.cache_creation.input_tokens", "{token}"),
    "reasoning_tokens": Attribute("gen_ai.usage.reasoning.output_tokens", "{token}"),
    "ttft": Attribute("gen_ai.response.time_to_first_chunk", "s"),
    "session": Attribute("gen_ai.conversation.id"),
    "server_address": Attribute("server.address"),
    "server_port": Attribute("server.port"),
    "error_type": Attribute("error.type"),
    "temperature": Attribute("gen_ai.request.temperature"),
    "top_p": Attribute("gen_ai.request.top_p"),
    "max_tokens": Attribute("gen_ai.request.max_tokens"),
    "seed": Attribute("gen_ai.request.seed"),
    "prompt_name": Attribute("gen_ai.prompt.name"),
    "tool_name": Attribute("gen_ai.tool.name"),
    "tool_call_id": Attribute("gen_ai.tool.call.id"),
    "nodeid": Attribute("test.case.name"),
    # no standard exists for these
    "prompt_version": Attribute("llmwatch.prompt.version"),
    "cost_usd": Attribute("llmwatch.cost.usd", "USD"),
    "capture_mode": Attribute("llmwatch.capture.mode"),
    "feature": Attribute("llmwatch.feature"),
    "team": Attribute("llmwatch.team"),
    "latency": Attribute("llmwatch.latency", "s"),
    "status": Attribute("llmwatch.status"),
    "call_id": Attribute("llmwatch.call.id"),
    "set": Attribute("test.suite.name"),
    "case": Attribute("llmwatch.case.id"),
    "sample": Attribute("llmwatch.case.sample"),
    "retries": Attribute("llmwatch.retries"),
    "stream": Attribute("gen_ai.request.stream"),
    "environment": Attribute("deployment.environment.name"),
    "tenant": Attribute("llmwatch.tenant"),
    "user": Attribute("llmwatch.user.hash"),
    "stage": Attribute("llmwatch.stage"),
    "role": Attribute("llmwatch.role"),
}
"""Attributes of a call's span. Those that begin with ``llmwatch`` are ours: no standard has them."""

OPERATIONS = {"responses": "chat", "tool": "execute_tool", "agent": "invoke_agent"}
"""Our operations that the conventions call otherwise; the rest have one name."""

PARAMETERS = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "max_output_tokens": "gen_ai.request.max_tokens",
    "seed": "gen_ai.request.seed",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "n": "gen_ai.request.choice.count",
}
"""Parameters of a request that the conventions name."""

SPAN_ATTRIBUTES = {
    "agent_name": "gen_ai.agent.name",
    "tool_name": "gen_ai.tool.name",
    "tool_call_id": "gen_ai.tool.call.id",
    "tool_type": "gen_ai.tool.type",
    "tool_arguments": "gen_ai.tool.call.arguments",
    "tool_result": "gen_ai.tool.call.result",
    "query": "gen_ai.retrieval.query.text",
    "documents": "gen_ai.retrieval.documents",
    "source": "gen_ai.data_source.id",
    "input_messages": "gen_ai.input.messages",
    "output_messages": "gen_ai.output.messages",
    "test_status": "test.case.result.status",
    "retrieved": "llmwatch.retrieval.documents",
    "kind": "llmwatch.span.kind",
    "repeat": "llmwatch.case.sample",
    "attempt": "llmwatch.case.attempt",
    "outcome": "llmwatch.case.outcome",
}
"""Attributes of other spans: tests, tools, retrievals, agents; and contents, where they are asked for."""

RESOURCE_ATTRIBUTES = {
    "service": "service.name",
    "version": "service.version",
    "run_id": "llmwatch.run.id",
    "verdict": "llmwatch.run.verdict",
    "commit": "vcs.ref.head.revision",
    "branch": "vcs.ref.head.name",
    "pipeline": "cicd.pipeline.name",
    "pipeline_run": "cicd.pipeline.run.id",
}
"""Attributes of the resource: what all spans of a run share."""

SCHEMA_URL = f"https://opentelemetry.io/schemas/{SEMCONV_VERSION}"

DURATION_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Seconds: what the conventions advise for ``gen_ai.client.operation.duration``."""
FIRST_TOKEN_BUCKETS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
"""Seconds: what the conventions advise for ``gen_ai.server.time_to_first_token``."""

EVALUATION_EVENT = "gen_ai.evaluation.result"
EVALUATION_ATTRIBUTES = {
    "name": Attribute("gen_ai.evaluation.name"),
    "value": Attribute("gen_ai.evaluation.score.value"),
    "label": Attribute("gen_ai.evaluation.score.label"),
    "explanation": Attribute("gen_ai.evaluation.explanation"),
    "threshold": Attribute("llmwatch.evaluation.threshold"),
    "version": Attribute("llmwatch.evaluation.version"),
    "response_id": Attribute("gen_ai.response.id"),
}


READ_ATTRIBUTES = {
    "gen_ai.input.messages": "input",
    "gen_ai.output.messages": "output",
    "gen_ai.prompt": "input",
    "gen_ai.completion": "output",
    "gen_ai.tool.call.arguments": "input",
    "gen_ai.tool.call.result": "output",
}
"""Contents that are read from other people's spans and never written: attribute -> our field."""

INDEXED_PREFIXES = ("gen_ai.prompt.", "gen_ai.completion.")
"""Where instrumentations write messages as ``<prefix><number>.<part>``."""


class Indexed(NamedTuple):
    """Where an indexed attribute belongs: our field, which message, and which part of it."""

    field: str
    number: int
    part: str


def indexed(name: str) -> Indexed | None:
    """Return the place of an indexed attribute (``gen_ai.prompt.0.content``), None where ``name`` is none."""
    for prefix, ours in zip(INDEXED_PREFIXES, ("input", "output"), strict=True):
        if name.startswith(prefix):
            number, _, part = name.removeprefix(prefix).partition(".")
            return Indexed(ours, int(number), part) if number.isdecimal() and len(number) < 6 and part else None
    return None


def field_of(name: str) -> str | None:
    """Return our field for an OpenTelemetry attribute name (current or legacy), or None."""
    return _BY_NAME.get(name) or READ_ATTRIBUTES.get(name)


_BY_NAME = {
    alias: ours
    for ours, attribute in CALL_ATTRIBUTES.items()
    for alias in (attribute.name, attribute.legacy)
    if alias is not None
}

OPENINFERENCE = {
    "llm.model_name": "model",
    "embedding.model_name": "model",
    "llm.provider": "provider",
    "llm.token_count.prompt": "input_tokens",
    "llm.token_count.completion": "output_tokens",
    "llm.token_count.total": "total_tokens",
    "llm.token_count.prompt_details.cache_read": "cached_tokens",
    "llm.token_count.prompt_details.cache_write": "cache_write_tokens",
    "llm.token_count.completion_details.reasoning": "reasoning_tokens",
    "llm.cost.total": "cost_usd",
    "llm.finish_reason": "finish_reason",
    "llm.prompt_template.version": "prompt_version",
    "session.id": "session",
    "user.id": "user",
}
"""Names of OpenInference (Phoenix and its instrumentations) that are read, never written -> our field."""

MODEL_NAMES = ("gen_ai.request.model", "gen_ai.response.model", "llm.model_name", "llm.request.model")
"""A span with one of these is a call of a model, where it does not say what it is."""
INPUT_MESSAGES = ("gen_ai.input.messages", "gen_ai.prompt")
OUTPUT_MESSAGES = ("gen_ai.output.messages", "gen_ai.completion")
