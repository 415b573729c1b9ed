"""metrics.prom: the Prometheus text format, and the push to a Pushgateway, both by prometheus_client."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pytest_llmwatch.export.metrics import Family, families
from pytest_llmwatch.model import Report, Run

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric


def render(source: Report | Run, *, limit: int = 50) -> str:
    """Return all metrics of a run in the Prometheus text format, in stable order."""
    from prometheus_client import generate_latest

    return generate_latest(registry(families(source, limit=limit))).decode("utf-8")


def push(source: Report | Run, url: str, *, job: str, timeout: float, limit: int = 50) -> None:
    """Replace what a Pushgateway holds of ``job`` by the metrics of a run.

    Args:
        source: A report, or a run that nobody judged.
        url: Address of the Pushgateway; with ``user:password@`` for basic authentication.
        job: Value of the label ``job``.
        timeout: Seconds that one operation on the connection may take.
        limit: Distinct values of one label.

    Raises:
        OSError: It could not be reached, or refused.
    """
    from prometheus_client import push_to_gateway
    from prometheus_client.exposition import basic_auth_handler, default_handler

    bare, user, password = _credentials(url)

    def with_password(url: str, method: str, timeout: float | None, headers: Any, data: bytes) -> Any:
        return basic_auth_handler(url, method, timeout, headers, data, user, password)

    handler = with_password if user is not None else default_handler
    made = registry(families(source, limit=limit))
    push_to_gateway(bare, job=job, registry=made, timeout=timeout, handler=handler)


def _credentials(url: str) -> tuple[str, str | None, str | None]:
    from urllib.parse import unquote, urlsplit, urlunsplit

    parts = urlsplit(url)
    if parts.username is None:
        return url, None, None
    host = parts.netloc.rpartition("@")[2]
    bare = urlunsplit((parts.scheme, host, parts.path, "", ""))
    return bare, unquote(parts.username), unquote(parts.password or "")


def registry(found: Iterable[Family]) -> CollectorRegistry:
    """Return a registry that holds ``found`` and nothing else (none of the process's own metrics)."""
    from prometheus_client import CollectorRegistry

    made = CollectorRegistry(auto_describe=False)
    made.register(_Given(list(found)))
    return made


class _Given:
    """A collector of families that are there already."""

    def __init__(self, found: list[Family]) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        for family in self._found:
            yield _metric(family)

    def describe(self) -> list[Metric]:
        return []


def _metric(family: Family) -> Metric:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.meaning, labels=family.labels)
        for labels, values in sorted(family.histograms.items()):
            histogram.add_metric(labels, buckets=values.buckets(), sum_value=values.total)
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.meaning, labels=family.labels)
    for labels, value in sorted(family.values.items()):
        if math.isfinite(value):
            metric.add_metric(labels, value)
    return metric
