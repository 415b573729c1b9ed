"""The order of everything, on one screen: what the plugin and the command line both call.

budget and extensions -> capture -> run -> gate -> report -> files. Rooms below are imported when their step
is reached, so that a run pays only for what it uses.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import os
import platform
import secrets
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmwatch import __version__, pipeline_incidents, pipeline_own, pipeline_store, pipeline_users
from pytest_llmwatch import format as fmt
from pytest_llmwatch.budget import Budget, check_scorers, empty_budget, load_budget
from pytest_llmwatch.budget_types import TelemetryOptions
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.model import (
    Baseline,
    Call,
    Case,
    CaseResult,
    Output,
    Presentation,
    Problem,
    Report,
    Run,
    Score,
    ScorerSpec,
    Span,
)
from pytest_llmwatch.redact import Redactor

if TYPE_CHECKING:
    from pytest_llmwatch.capture.client import ClientSettings
    from pytest_llmwatch.capture.session import CaptureSession
    from pytest_llmwatch.golden import GoldenSet


@dataclass(frozen=True, slots=True)
class Setup:
    """What a run starts from: the budget, the redactor, and the extensions' scorers and price source."""

    budget: Budget
    scorers: Mapping[str, Callable[..., Any]]
    redactor: Redactor
    price: Callable[..., Any] | None


def now_iso() -> str:
    """Return the time as ISO 8601 UTC with milliseconds."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_run_id() -> str:
    """Return a run id that sorts by time: ``20260102-030405-ab12cd``."""
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    return f"{stamp}-{secrets.token_hex(3)}"


def load_setup(path: Path | None, display: str | None = None, *, golden: Sequence[Path] = ()) -> Setup:
    """Read the budget (or an empty one) and load its extensions; register their scorers.

    Args:
        path: The budget file, None for none.
        display: Its name as the user gave it.
        golden: Folders of golden sets, whose labels are names of scores as well.

    Raises:
        UsageError: The budget or an extension cannot be used, or a rule names no scorer.
    """
    budget = load_budget(path, display=display, defer_scorers=True) if path else empty_budget()
    scorers: dict[str, Callable[..., Any]] = {}
    patterns = list(budget.redact.patterns)
    price = None
    manager = None
    if budget.plugins.modules or _has_extensions():
        from pytest_llmwatch.hookspecs import load_extensions

        manager = load_extensions(budget.plugins.modules)
        for found in manager.hook.llmwatch_scorers():
            scorers.update(found or {})
        for more in manager.hook.llmwatch_redaction_patterns():
            patterns.extend(more or ())
        if manager.hook.llmwatch_price.get_hookimpls():
            price = manager.hook.llmwatch_price
    if scorers:
        from pytest_llmwatch import scorers as room

        for name, factory in scorers.items():
            room.register(name, factory)
    if path is not None:
        _check_scorers(budget, golden)
    redactor = Redactor(patterns, pii=budget.redact.pii, salt=os.environ.get("LLMWATCH_REDACT_SALT"))
    redactor.learn_environment(os.environ)
    pipeline_own.take(manager, redactor)
    return Setup(budget, scorers, redactor, price)


def _check_scorers(budget: Budget, golden: Sequence[Path]) -> None:
    from pytest_llmwatch import scorers as room

    known = set(room.names())
    try:
        check_scorers(budget, known)
    except UsageError:
        # a label in a golden set may be what the budget means; sets are read only where that is the question
        labels = set(_labels(golden))
        if not labels:
            raise
        check_scorers(budget, known | labels)


def _labels(roots: Sequence[Path]) -> Iterator[str]:
    for root in roots:
        for file in sorted(root.glob("*/set.yaml")):
            try:
                yield from (s.label for s in load_golden(file).scorers if s.label)
            except UsageError:
                continue  # the set itself is refused when it is collected


def _has_extensions() -> bool:
    from importlib.metadata import entry_points

    return bool(entry_points(group="llmwatch"))


def load_golden(path: Path, *, display: str | None = None) -> GoldenSet:
    """Read a golden set, with its scorers checked against the registry.

    Raises:
        GoldenError: The set cannot be used.
    """
    from pytest_llmwatch import scorers
    from pytest_llmwatch.golden import load_set

    return load_set(path, display=display, validate_scorer=scorers.validate)


def score(
    output: Output,
    case: Case,
    specs: Sequence[ScorerSpec] | None = None,
    *,
    weights: Mapping[str, float] | None = None,
) -> tuple[Score, ...]:
    """Score one answer; with ``specs`` None by all scorers that apply."""
    from pytest_llmwatch import scorers

    return scorers.score(output, case, specs, weights=weights)


def start_capture(
    setup: Setup,
    *,
    record: str,
    limits: Mapping[str, Any],
    guard: Callable[[], None],
    on_call: Callable[[Call], None],
    worker: str | None,
    on_span: Callable[[Span], None] | None = None,
    hash_key: Callable[[], bytes | None] | None = None,
    run: str = "",
    cassettes: Sequence[Path] = (),
) -> CaptureSession:
    """Start capturing LLM calls in this process.

    Args:
        setup: Budget and extensions.
        record: Record mode.
        limits: Of `CaptureOptions`: ``rpm``, ``concurrency`` and what belongs to them.
        guard: Called before each live attempt; may raise to prevent it.
        on_call: Called with each finished call, already priced and redacted.
        worker: xdist's worker id, None elsewhere.
        on_span: Called with each finished span, already redacted.
        hash_key: How to get the key that user ids are hashed with; without it they are dropped.
        run: Id of the run, the same in all its processes.
        cassettes: Files of other programs that any test may replay from.
    """
    from pytest_llmwatch.capture.session import CaptureOptions, CaptureSession
    from pytest_llmwatch.pricing import PriceBook

    budget = setup.budget
    capture = budget.capture
    base_urls = tuple(
        u for u in (budget.model.base_url, os.environ.get("OPENAI_BASE_URL"), *capture.base_urls) if u
    )
    options: dict[str, Any] = dict(limits)
    if capture.max_cassette_bytes is not None:
        options["cassette_max_bytes"] = capture.max_cassette_bytes
    session = CaptureSession(
        CaptureOptions(
            record=record,  # type: ignore[arg-type]
            base_urls=base_urls,
            include=capture.include,
            exclude=capture.exclude,
            worker=worker,
            run=run,
            cassettes=tuple(cassettes),
            request_metadata=capture.request_metadata,
            **options,
        ),
        prices=PriceBook(budget.prices, extra=setup.price),
        redactor=setup.redactor,
        guard=guard,
        on_call=on_call,
        on_span=on_span,
        hash_key=hash_key,
    )
    session.start()
    return session


def client_settings(budget: Budget) -> ClientSettings:
    """Return the client's defaults: budget.toml, then ``OPENAI_*``."""
    from pytest_llmwatch.capture.client import ClientSettings

    return ClientSettings(
        model=budget.model.model or os.environ.get("OPENAI_MODEL"),
        base_url=budget.model.base_url or os.environ.get("OPENAI_BASE_URL"),
        api_key=os.environ.get("OPENAI_API_KEY"),
        api=budget.model.api or "responses",
        prompt_version=budget.model.prompt_version,
    )


def assemble(
    *,
    run_id: str,
    started: str,
    duration: float,
    calls: Iterable[Call],
    spans: Iterable[Span] = (),
    results: Iterable[CaseResult],
    problems: Iterable[Problem],
    partial: str | None,
    environment: Mapping[str, Any],
) -> Run:
    """Return the run in its stable order, the same for any number of workers."""
    from pytest_llmwatch.scorers import over_repeats

    unique = {c.id: c for c in calls}
    return Run(
        run_id=run_id,
        time=started,
        duration=round(duration, 3),
        calls=tuple(
            sorted(
                unique.values(), key=lambda c: (c.nodeid or "", c.repeat, c.attempt, c.index, c.time or "", c.id)
            )
        ),
        spans=tuple(sorted(spans, key=lambda s: (s.nodeid or "", s.repeat, s.attempt, s.index, s.id))),
        results=over_repeats(sorted(results, key=lambda r: (r.nodeid, r.repeat, r.attempt))),
        problems=tuple(sorted(problems, key=lambda p: (p.kind, p.nodeid or "", p.message))),
        partial=partial is not None,
        partial_reason=partial,
        environment=environment,
    )


def file_hash(path: Path | None) -> str | None:
    """Return a short hash of a file's content, None without a file: tells whether two jobs had one budget."""
    return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def environment(root: Path, extra: Mapping[str, Any] = {}) -> dict[str, Any]:
    """Return what a reader needs to know about where the run was made."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": platform.python_version(), "pytest-llmwatch": __version__}
    for name in ("pytest", "openai", "vcrpy", "genai-prices"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    out: dict[str, Any] = {"platform": f"{platform.system()} {platform.machine()}", "versions": versions}
    out.update({k: v for k, v in extra.items() if v is not None})
    out["ci"] = bool(os.environ.get("CI"))
    commit = os.environ.get("GITHUB_SHA") or os.environ.get("CI_COMMIT_SHA") or _git(root, "rev-parse", "HEAD")
    if commit:
        out["commit"] = commit
        branch = os.environ.get("GITHUB_REF_NAME") or os.environ.get("CI_COMMIT_REF_NAME")
        out["branch"] = branch or _git(root, "rev-parse", "--abbrev-ref", "HEAD")
    return out


def _git(root: Path, *args: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603
            ["git", *args],  # noqa: S607
            cwd=root,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def judge(
    run: Run,
    budget: Budget,
    *,
    spent: Mapping[str, float] | None = None,
    tests_failed: int = 0,
    baselines: Mapping[str, Baseline] | None = None,
    hash_user: Callable[[str], str] | None = None,
) -> Report:
    """Gate ``run`` and return the one report that every renderer takes. Pure but for today's date.

    Args:
        run: The run.
        budget: The rules; an empty budget gives verdict ``none``.
        spent: US dollars already spent ``day`` and ``month``, from the store.
        tests_failed: Tests that failed on their own, for the sentence.
        baselines: Frozen references by golden set, for ``[drift]``.
        hash_user: How user ids were hashed, for scopes that name one in clear; by default with the key in the
            environment or in ``.llmwatch``.
    """
    from pytest_llmwatch import gate, measure

    aggregates = measure.aggregates(run)
    if budget.path is None and budget.empty:
        return Report(run, "none", "no budget: measured, not judged", 0, aggregates=aggregates)
    today = datetime.datetime.now(datetime.UTC).date()
    hash_user = hash_user or pipeline_users.hash_with(pipeline_users.key_in(Path(pipeline_users.DEFAULT_STORE)))
    budget = pipeline_users.with_hashed_users(budget, hash_user)
    verdicts = gate.judge(run, budget, today=today, spent=spent, baselines=baselines)
    end = gate.conclude(run, budget, verdicts, tests_failed=tests_failed)
    return Report(
        run,
        end.verdict,
        end.sentence,
        end.exit_code,
        verdicts=verdicts,
        aggregates=aggregates,
        notes=(*end.notes, *_beside(run)),
        budget=budget.path,
        alpha_by_family=end.alpha_by_family,
        presentation=Presentation(budget.report.title, budget.report.body_share, budget.report.max_bodies),
        baselines={str(b.set): b for b in run.concurrent} or baselines or {},
    )


def _beside(run: Run) -> Iterator[str]:
    told = run.environment.get("concurrent")
    if isinstance(told, Mapping) and told.get("calls"):
        which = f"variant {told['variant']}" if told.get("variant") else "set as it is"
        usd = f", {fmt.value(float(told['usd']), 'usd')} more" if told.get("usd") else ""
        calls = fmt.plural(int(told["calls"]), "call")
        yield f"the baseline ({which}) was asked beside the run: {calls}{usd}, none of them among its own figures"


def write_outputs(report: Report, folder: Path, telemetry: TelemetryOptions | None = None) -> dict[str, Path]:
    """Write every output of ``report`` into ``folder``, each atomically; run.json last.

    Returns:
        Paths by name: ``report``, ``summary``, ``events``, ``metrics``, ``trace``, ``calls``, ``run``, ``gitlab``.
    """
    from pytest_llmwatch import atomic, pipeline_telemetry
    from pytest_llmwatch.records import to_records
    from pytest_llmwatch.report import gitlab, html, markdown, run_json
    from pytest_llmwatch.store import files

    folder.mkdir(parents=True, exist_ok=True)
    report = dataclasses.replace(report, notes=(*report.notes, *pipeline_incidents.write(report, folder)))
    report = pipeline_own.with_sections(report)
    atomic.write_text(folder / "report.html", html.render(report))
    atomic.write_text(folder / "summary.md", markdown.render(report))
    atomic.write_text(folder / "gitlab-metrics.txt", gitlab.render(report))
    written = pipeline_telemetry.write(report, folder, telemetry)
    files.write_run(folder, run_json.render(report), to_records(report.run), report.run.spans)
    return {
        "report": folder / "report.html",
        "run": folder / "run.json",
        "summary": folder / "summary.md",
        **written,
        "calls": folder / files.CALLS,
        "gitlab": folder / "gitlab-metrics.txt",
    }


def load_any(
    ref: str, store: str | Path, *, rename: Mapping[str, str] | None = None, setup: Setup | None = None
) -> tuple[Run, tuple[str, ...]]:
    """Return the run that ``ref`` names (a RUN, see `pipeline_store.find`, or a RECORDS file), and notes on it.

    With ``setup``, calls that hold tokens but no cost are priced as live ones are, with its prices.

    Raises:
        RecordsError: It does not exist or cannot be read.
    """
    run, notes, _ = load_judged(ref, store, rename=rename)
    return _priced(run, setup), notes


def load_judged(
    ref: str, store: str | Path, *, rename: Mapping[str, str] | None = None
) -> tuple[Run, tuple[str, ...], frozenset[str]]:
    """Return the run that ``ref`` names, notes on it, and the records of which nobody said whether they passed.

    Raises:
        RecordsError: It does not exist or cannot be read.
    """
    path = Path(ref)
    if path.is_file() and path.name != "run.json":
        from pytest_llmwatch.records import read_records, to_run
        from pytest_llmwatch.store.files import spans_beside

        records = read_records(path, rename=rename, display=ref)
        run = to_run(
            records,
            run_id=path.name.split(".")[0],
            hash_user=pipeline_users.hash_with(pipeline_users.key_in(pipeline_store.key_folder(store))),
        )
        silent = frozenset(r.result.nodeid for r in records if r.result is not None and r.passed is None)
        spans, notes = spans_beside(path, run.calls, display=ref)
        return dataclasses.replace(run, spans=spans), (*records.notes, *notes), silent
    return pipeline_store.load(ref, store), (), frozenset()


def _priced(run: Run, setup: Setup | None) -> Run:
    if setup is None:
        return run
    from pytest_llmwatch.pricing import PriceBook

    book = PriceBook(setup.budget.prices, extra=setup.price)
    calls = tuple(
        dataclasses.replace(
            c, cost=book.cost(c.model, c.provider, c.usage, response_model=c.response_model, at=c.time)
        )
        if c.cost.usd is None and c.model and c.usage.input_tokens is not None
        else c
        for c in run.calls
    )
    return dataclasses.replace(run, calls=calls)


def stored_report(run: Run, ref: str, store: str | Path) -> Report:
    """Return the report of a stored run with the verdicts that it was stored with."""
    from pytest_llmwatch import measure
    from pytest_llmwatch.codec import decode
    from pytest_llmwatch.model import Incident, Verdict

    aggregates = measure.aggregates(run)
    if Path(ref).is_file() and Path(ref).name != "run.json":
        return Report(run, "none", "no budget: measured, not judged", 0, aggregates=aggregates)
    data = pipeline_store.run_json(ref, store)
    return Report(
        run,
        data.get("verdict", "none"),
        str(data.get("sentence", "")),
        int(data.get("exit_code", 0)),
        verdicts=tuple(decode(Verdict, {k: v for k, v in d.items() if v is not None}) for d in data["verdicts"]),
        aggregates=aggregates,
        notes=tuple(data.get("notes", ())),
        budget=data.get("budget"),
        alpha_by_family=data.get("alpha_by_family") or {},
        incidents=tuple(decode(Incident, d) for d in data.get("incidents") or ()),
        presentation=decode(Presentation, data.get("presentation") or {}),
    )
