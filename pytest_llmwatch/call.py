"""One monitored call, as OpenTelemetry's GenAI conventions see it: frozen records, standard library only.

Seconds and US dollars unless a name says otherwise. ``None`` always means "not known", never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

CaptureMode = Literal["live", "recorded", "replayed"]
CallStatus = Literal["success", "error", "timeout", "rate_limited", "incomplete"]
Operation = Literal["chat", "responses", "embeddings", "tool", "retrieval", "agent", "other"]

JUDGE = "judge"
"""Role of a call that a scorer made to judge an answer."""

JSON = Any
"""A JSON value: dict, list, str, int, float, bool or None."""


_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one logical call, as the provider reported them.

    ``input_tokens`` includes ``cached_tokens``; ``output_tokens`` includes ``reasoning_tokens``.
    ``estimated`` is true where a local tokenizer counted because the provider did not.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    estimated: bool = False
    cache_write_tokens: int | None = None
    """The part of ``input_tokens`` that was written to a cache, None where the vendor does not say."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Price of one logical call. ``usd`` is None where the model has no known price."""

    usd: float | None = None
    input_usd: float | None = None
    output_usd: float | None = None
    source: str | None = None
    date: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call that a model asked for, and what became of it.

    ``arguments`` is the raw text that the model wrote; ``valid`` tells whether it is a JSON object
    (and fits the tool's schema where one is known), None if not checked.
    """

    name: str
    arguments: str = ""
    id: str | None = None
    valid: bool | None = None
    result: str | None = None
    error: str | None = None
    latency: float | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a request told the model of one earlier tool call.

    ``content`` is the result as the application sent it (cut after 2,000 characters), None where the request
    holds the call and no result for it: the result was lost. ``asked`` tells whether the request's own messages
    hold the call (false also where the provider keeps the history). ``failed`` is what the vendor's format says
    (Anthropic's ``is_error``), None where it has no such word.
    """

    id: str | None = None
    content: str | None = None
    asked: bool = True
    failed: bool | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP request at the transport. A logical call has one attempt and one more per retry.

    ``queue_wait`` (waiting for the rate limiter and for a place in the connection pool) and ``connect`` (opening a
    connection where none was open) come before ``latency``, which starts when the request is written; in seconds.
    """

    status_code: int | None = None
    latency: float | None = None
    error_type: str | None = None
    retry_after: float | None = None
    request_id: str | None = None
    queue_wait: float | None = None
    connect: float | None = None
    injected: bool = False
    """Whether a test asked for it (``llm_fault``); such a call counts in no limit of errors or latency."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Documents that a retrieval step returned for a query."""

    query: str | None = None
    ids: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    source: str | None = None
    top_k: int | None = None


@dataclass(frozen=True, slots=True)
class UserOutcome:
    """What became of the answer, where the test or the product knows it."""

    success: bool | None = None
    feedback: str | None = None
    reask: bool | None = None
    corrected: bool | None = None
    escalated: bool | None = None
    abandoned: bool | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One logical LLM call (all its attempts), one immutable record.

    ``user`` is a keyed hash, never the raw id. ``latency`` is first request written to last byte read,
    back-off included, the consumer's time between chunks excluded; ``ttft`` is to the first chunk that
    carries content. Both are recorded times when ``capture_mode`` is ``replayed`` and None where the
    recording holds none.
    """

    id: str
    # where it belongs
    nodeid: str | None = None
    set: str | None = None
    case: str | None = None
    repeat: int = 0
    attempt: int = 0
    index: int = 0
    trace_id: str | None = None
    span_id: str | None = None
    parent_id: str | None = None
    outer: str | None = None
    """``TRACE-SPAN`` of the application's own OpenTelemetry span around the call, None without one."""
    time: str | None = None
    """ISO 8601 UTC with milliseconds: when the first attempt started (recorded time on replay)."""
    # what was asked
    provider: str | None = None
    operation: Operation = "chat"
    server_address: str | None = None
    server_port: int | None = None
    model: str | None = None
    response_model: str | None = None
    prompt_name: str | None = None
    prompt_version: str | None = None
    parameters: Mapping[str, JSON] = field(default_factory=dict)
    input: str | None = None
    """The prompt as text, roles prefixed by ``role: `` where there is more than one message."""
    context: tuple[str, ...] = ()
    reference: str | None = None
    # what came back
    output: str | None = None
    input_chars: int | None = None
    output_chars: int | None = None
    usage: Usage = field(default_factory=Usage)
    tool_calls: tuple[ToolCall, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()
    """What the request told of earlier tool calls, in its order."""
    finish_reason: str | None = None
    request_id: str | None = None
    system_fingerprint: str | None = None
    # how it went
    status: CallStatus = "success"
    error_type: str | None = None
    error: str | None = None
    latency: float | None = None
    ttft: float | None = None
    queue_wait: float | None = None
    attempts: tuple[Attempt, ...] = ()
    stream: bool = False
    cost: Cost = field(default_factory=Cost)
    cache_hit: bool | None = None
    fallback: bool | None = None
    rate_limits: Mapping[str, str] = field(default_factory=dict)
    retrieval: Retrieval | None = None
    valid_schema: bool | None = None
    policy_ok: bool | None = None
    capture_mode: CaptureMode = "live"
    # who and what for
    feature: str | None = None
    team: str | None = None
    user: str | None = None
    tenant: str | None = None
    environment: str | None = None
    session: str | None = None
    stage: str | None = None
    tags: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()
    outcome: UserOutcome = field(default_factory=UserOutcome)
    metrics: Mapping[str, float] = field(default_factory=dict)
    role: str | None = None
    """``judge`` where a scorer asked, not the application; such calls count in the rules of ``[judge]`` only."""

    @property
    def judging(self) -> bool:
        """Whether a scorer made it, to judge an answer."""
        return self.role == JUDGE

    @property
    def retries(self) -> int:
        """Attempts beyond the first; following a redirect is none."""
        moved = sum(a.status_code in _REDIRECTS for a in self.attempts[:-1])
        return max(0, len(self.attempts) - 1 - moved)

    @property
    def rate_limited_attempts(self) -> int:
        """Attempts that were answered with status 429."""
        return sum(1 for a in self.attempts if a.status_code == 429)

    @property
    def injected(self) -> bool:
        """Whether an attempt met a fault that the test asked for."""
        return any(a.injected for a in self.attempts)

    @property
    def failed(self) -> bool:
        """Whether the logical call did not succeed (error, timeout, rate limited, incomplete)."""
        return self.status != "success"

    @property
    def tokens_per_second(self) -> float | None:
        """Output tokens over generation time (after the first token where it is known), or None."""
        tokens = self.usage.output_tokens
        if not tokens or self.latency is None:
            return None
        if self.ttft is not None and tokens > 1 and self.latency > self.ttft:
            return (tokens - 1) / (self.latency - self.ttft)
        return tokens / self.latency if self.latency > 0 else None
