"""A run's spans through the OpenTelemetry SDK: to an OTLP/HTTP endpoint, or into a tracer provider that is there.

The only importer of ``opentelemetry``; extra ``otel``.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_llmwatch import __version__, semconv
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.export.spans import OutSpan, Value, resource, spans
from pytest_llmwatch.model import Report, Run

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext, TracerProvider

_BATCH = 256


def endpoint(url: str) -> str:
    """Return where spans are posted: ``/v1/traces`` below a bare address, any other path as it is."""
    from urllib.parse import urlsplit, urlunsplit

    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    if not path.endswith("/v1/traces"):
        path += "/v1/traces"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def check() -> None:
    """Raise UsageError where the extra ``otel`` is not installed."""
    from importlib.util import find_spec

    for name in ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"):
        try:
            found = find_spec(name)
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise UsageError(
                f"sending spans needs {name}; install it: pip install 'pytest-llmwatch[otel]'",
                slug="otel-extra",
            )


def send(
    source: Report | Run, url: str, *, service: str = "llmwatch", bodies: bool = False, timeout: float = 10.0
) -> int:
    """Send the spans of a run to an OTLP/HTTP endpoint (protobuf) and return how many there were.

    Headers such as a key come from ``OTEL_EXPORTER_OTLP_HEADERS``, as everywhere in OpenTelemetry.

    Args:
        source: A report or a run.
        url: The endpoint; ``/v1/traces`` is added where it is missing.
        service: ``service.name`` of the spans.
        bodies: Whether texts are sent too.
        timeout: Seconds for one request with its retries.

    Raises:
        UsageError: The extra is not installed.
        OSError: The endpoint could not be reached, or refused the spans.
    """
    check()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import SpanExportResult

    made = readable(source, service=service, bodies=bodies)
    exporter = OTLPSpanExporter(endpoint=endpoint(url), timeout=max(1, round(timeout)))
    try:
        with _reasons() as said:
            for start in range(0, len(made), _BATCH):
                if exporter.export(made[start : start + _BATCH]) is not SpanExportResult.SUCCESS:
                    raise OSError(said[0] if said else "the endpoint could not be reached, or refused the spans")
    finally:
        exporter.shutdown()  # type: ignore[no-untyped-call]
    return len(made)


class _Keep(logging.Handler):
    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())


@contextlib.contextmanager
def _reasons() -> Iterator[list[str]]:
    """Collect what the exporters log: they say why a request failed nowhere else, and to nobody's terminal."""
    logger = logging.getLogger("opentelemetry.exporter")
    said: list[str] = []
    handler, before = _Keep(said), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield said
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


def readable(source: Report | Run, *, service: str = "llmwatch", bodies: bool = False) -> list[ReadableSpan]:
    """Return the spans of a run as the SDK's exporters take them, with the ids that the files have too."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link, SpanKind, Status, StatusCode

    # with what OTEL_RESOURCE_ATTRIBUTES adds
    shared = Resource.create(dict(resource(source, service)), semconv.SCHEMA_URL)
    scope = InstrumentationScope("pytest-llmwatch", __version__, semconv.SCHEMA_URL)
    return [
        ReadableSpan(
            name=span.name,
            context=_context(span.trace_id, span.span_id),
            parent=_context(span.trace_id, span.parent_id) if span.parent_id else None,
            resource=shared,
            attributes=dict(span.attributes),
            events=[Event(e.name, dict(e.attributes), e.time) for e in span.events],
            links=[Link(_context(*link)) for link in span.links],
            kind=SpanKind.CLIENT if span.kind == "client" else SpanKind.INTERNAL,
            instrumentation_scope=scope,
            status=Status(StatusCode.OK) if span.error is None else Status(StatusCode.ERROR, span.error),
            start_time=span.start,
            end_time=span.end,
        )
        for span in spans(source, bodies=bodies)
    ]


def _context(trace: str, own: str) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(int(trace, 16), int(own, 16), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def provider() -> TracerProvider | None:
    """Return the tracer provider that the application set up in this process, None without one.

    Nothing is imported: where nobody imported OpenTelemetry, nobody set a provider.
    """
    trace: Any = sys.modules.get("opentelemetry.trace")
    sdk: Any = sys.modules.get("opentelemetry.sdk.trace")
    if trace is None or sdk is None:
        return None
    found = trace.get_tracer_provider()
    return found if isinstance(found, sdk.TracerProvider) else None


def join(source: Report | Run, into: TracerProvider, *, bodies: bool = False, timeout: float = 10.0) -> int:
    """Make the spans of a run with a tracer provider, whose sampler, processors and exporters then have them.

    The provider gives the ids; the tree stays. What belongs to a trace of the application (a remote parent) stays
    in that trace. Returns how many spans there were.
    """
    made: dict[tuple[str, str], Any] = {}
    tracer = into.get_tracer("pytest-llmwatch", __version__, schema_url=semconv.SCHEMA_URL)
    count = 0
    shared = {k: v for k, v in resource(source).items() if not k.startswith("service.")}
    for span in spans(source, bodies=bodies):
        made[span.trace_id, span.span_id] = _start(tracer, span, made, shared)
        count += 1
    flush = getattr(into, "force_flush", None)
    if flush is not None:
        flush(max(1, int(timeout * 1000)))
    return count


def _start(
    tracer: Any, span: OutSpan, made: Mapping[tuple[str, str], Any], shared: Mapping[str, Value]
) -> SpanContext:
    from opentelemetry.context import Context
    from opentelemetry.trace import (
        Link,
        NonRecordingSpan,
        SpanKind,
        Status,
        StatusCode,
        set_span_in_context,
    )

    above = None
    if span.parent_id is not None:
        above = made.get((span.trace_id, span.parent_id)) or _context(span.trace_id, span.parent_id)
    links: Sequence[Link] = [Link(made.get(link) or _context(*link)) for link in span.links]
    started = tracer.start_span(
        span.name,
        context=Context() if above is None else set_span_in_context(NonRecordingSpan(above), Context()),
        kind=SpanKind.CLIENT if span.kind == "client" else SpanKind.INTERNAL,
        attributes={**shared, **span.attributes},
        links=links,
        start_time=span.start,
    )
    for event in span.events:
        started.add_event(event.name, dict(event.attributes), event.time)
    started.set_status(Status(StatusCode.OK) if span.error is None else Status(StatusCode.ERROR, span.error))
    started.end(span.end)
    context: SpanContext = started.get_span_context()
    return context
