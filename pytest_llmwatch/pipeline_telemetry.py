"""Telemetry of a judged run: the files beside the report, and what is sent to other systems, bounded in time."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from pytest_llmwatch.budget_types import TelemetryOptions
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.model import Call, Report, Run

EVENTS, METRICS, TRACE = "events.jsonl", "metrics.prom", "trace.otlp.json"
_PAUSE = 0.5


class Sent(NamedTuple):
    """What became of one delivery: where to (without credentials), and why not, None where it arrived."""

    what: str
    where: str
    problem: str | None

    @property
    def text(self) -> str:
        """One line for a reader."""
        if self.problem is None:
            return f"{self.what} sent to {self.where}"
        return f"{self.what} not sent to {self.where}: {self.problem} [llmwatch:telemetry-delivery]"


def chosen(options: TelemetryOptions, environment: Mapping[str, str] = os.environ) -> TelemetryOptions:
    """Return the options with the endpoints that the environment names instead."""
    return dataclasses.replace(
        options,
        otlp=environment.get("LLMWATCH_OTLP_ENDPOINT") or options.otlp,
        pushgateway=environment.get("LLMWATCH_PUSHGATEWAY") or options.pushgateway,
    )


def check(options: TelemetryOptions) -> None:
    """Refuse, before anything is run, endpoints that cannot be meant and an extra that is missing.

    Raises:
        UsageError: What is wrong.
    """
    for key in ("otlp", "pushgateway"):
        url = getattr(options, key)
        if url is not None and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
            raise UsageError(
                f"telemetry.{key} must be an address such as http://localhost:4318 (got {_bare(url)!r})",
                slug="telemetry-url",
            )
    if options.otlp is not None:
        from pytest_llmwatch.export import otel

        otel.check()


def write(report: Report, folder: Path, options: TelemetryOptions | None = None) -> dict[str, Path]:
    """Write the log, the metrics and the trace of ``report``; return their paths by name."""
    from pytest_llmwatch import atomic
    from pytest_llmwatch.export import log_file, logs, otlp_json, prometheus, sampling

    options = options or TelemetryOptions()
    lines = logs.render(report, share=options.log_share)
    log_file.write(folder / EVENTS, lines, max_bytes=options.log_max_bytes, files=options.log_files)
    atomic.write_text(folder / METRICS, prometheus.render(report, limit=options.max_labels))
    traced = sampling.thinned(report, options.trace_share)
    with atomic.replacing(folder / TRACE) as file:
        for piece in otlp_json.pieces(traced, service=options.job, bodies=options.bodies):
            file.write(piece.encode("ascii"))
    return {"events": folder / EVENTS, "metrics": folder / METRICS, "trace": folder / TRACE}


def log_call(run_id: str, call: Call) -> bool:
    """Log the events of a call that has just ended; return whether they were. Never raises."""
    from pytest_llmwatch.export import log_file, logs

    try:
        return log_file.emit(logs.of_call(run_id, call)) > 0
    except Exception:  # a handler of the application's own; the end of the run tells again
        return False


def deliver(
    report: Report | Run, options: TelemetryOptions, told: Container[str] = frozenset()
) -> tuple[Sent, ...]:
    """Send the run to all endpoints that ``options`` name, at once, within its time; never raises.

    What fails is tried again while there is time. What hangs is left behind when the time is over. ``told`` are
    ids of calls that `log_call` logged.
    """
    from pytest_llmwatch.export import log_file, logs

    events = logs.events(report, share=options.log_share)
    log_file.emit(e for e in events if e["event"] not in logs.LIVE or e.get("call_id") not in told)
    jobs: list[tuple[str, str, Callable[[float], object]]] = []
    if options.pushgateway is not None:
        gateway = options.pushgateway

        def push(timeout: float) -> None:
            from pytest_llmwatch.export import prometheus

            prometheus.push(report, gateway, job=options.job, timeout=timeout, limit=options.max_labels)

        jobs.append(("metrics", gateway, push))
    if options.otlp is not None:
        endpoint = options.otlp

        def send(timeout: float) -> None:
            from pytest_llmwatch.export import otel, sampling

            traced = sampling.thinned(report, options.trace_share)
            otel.send(traced, endpoint, service=options.job, bodies=options.bodies, timeout=timeout)

        jobs.append(("spans", endpoint, send))
    if options.join:
        jobs.append(("spans", "the application's tracer provider", lambda left: _join(report, options, left)))
    return _all(jobs, options.timeout)


def _join(report: Report | Run, options: TelemetryOptions, left: float) -> None:
    from pytest_llmwatch.export import otel, sampling

    into = otel.provider()
    if into is None:
        raise OSError("no OpenTelemetry SDK tracer provider is set in this process")
    otel.join(sampling.thinned(report, options.trace_share), into, bodies=options.bodies, timeout=left)


def _all(jobs: list[tuple[str, str, Callable[[float], object]]], timeout: float) -> tuple[Sent, ...]:
    deadline = time.monotonic() + timeout
    outcome: dict[int, str | None] = {}
    threads = []
    for number, (_, _, job) in enumerate(jobs):
        # a daemon: what hangs in a socket must not keep the build from ending
        thread = threading.Thread(target=_try, args=(job, deadline, outcome, number), daemon=True)
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = f"no answer within {timeout:g} s"
    return tuple(Sent(what, _bare(where), outcome.get(n, late)) for n, (what, where, _) in enumerate(jobs))


def _try(job: Callable[[float], object], deadline: float, outcome: dict[int, str | None], number: int) -> None:
    problem = "there was no time for it"
    while (left := deadline - time.monotonic()) > 0:
        try:
            job(left)
        except Exception as error:  # whatever a library raises: telemetry never breaks a build
            problem = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        else:
            outcome[number] = None
            return
        # noted before the pause, so that the reason is known when the time is over
        outcome[number] = problem
        time.sleep(min(_PAUSE, max(0.0, deadline - time.monotonic())))


def _bare(url: str) -> str:
    """Return an address without user, password and query, which may hold a key."""
    parts = urlsplit(url)
    if not parts.scheme or not parts.netloc:
        return url
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def delivered(report: Report, options: TelemetryOptions, told: Container[str] = frozenset()) -> Report:
    """Send the run and return the report with a note on each delivery that failed."""
    failed = [sent.text for sent in deliver(report, options, told) if sent.problem is not None]
    return dataclasses.replace(report, notes=(*report.notes, *failed)) if failed else report


def text(report: Report, to: str, options: TelemetryOptions) -> str:
    """Return ``report`` as ``prometheus`` text, ``otlp`` JSON, or the lines of ``logs``."""
    from pytest_llmwatch.export import logs, otlp_json, prometheus, sampling

    if to == "prometheus":
        return prometheus.render(report, limit=options.max_labels)
    if to == "otlp":
        return otlp_json.render(
            sampling.thinned(report, options.trace_share), service=options.job, bodies=options.bodies
        )
    return "".join(f"{line}\n" for line in logs.render(report, share=options.log_share))
