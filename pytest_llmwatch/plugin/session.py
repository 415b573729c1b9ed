"""One run's state in one process: settings, budget, capture, and what has been collected so far."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import pytest

from pytest_llmwatch import (
    pipeline,
    pipeline_cassettes,
    pipeline_judge,
    pipeline_store,
    pipeline_telemetry,
    pipeline_users,
)
from pytest_llmwatch.errors import LlmwatchError, SpendLimitReached, UsageError
from pytest_llmwatch.model import (
    Baseline,
    Call,
    Case,
    CaseResult,
    Cost,
    Output,
    Problem,
    Run,
    Score,
    ScorerSpec,
    Span,
    Usage,
)
from pytest_llmwatch.plugin import settings as settings_module
from pytest_llmwatch.plugin.live_log import LiveLog
from pytest_llmwatch.plugin.spending import Refusals, Spending
from pytest_llmwatch.plugin.storing import Storing
from pytest_llmwatch.plugin.wire import Parcel, SpendLedger, Spool, clear_spool, read_spool, read_spooled_spans
from pytest_llmwatch.scorers.asking import Asker, asking

if TYPE_CHECKING:
    from pytest_llmwatch.capture.client import ClientSettings
    from pytest_llmwatch.capture.session import CaptureSession
    from pytest_llmwatch.capture.watch import Watch
    from pytest_llmwatch.golden import GoldenSet
    from pytest_llmwatch.plugin.concurrent import Concurrent
    from pytest_llmwatch.plugin.live import Ahead
    from pytest_llmwatch.plugin.rounds import Rounds
    from pytest_llmwatch.plugin.testrun import TestRun

T = TypeVar("T")
_OURS = frozenset({"call_id", "call_ids", "nodeid"})  # made by us; a node id is `LlmSession.shown`


class LlmSession:
    """State of one run in one process (the controller, a worker, or the only one)."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.settings = settings_module.read(config)
        worker_input = getattr(config, "workerinput", None) or {}
        shared: Mapping[str, Any] = worker_input.get("llmwatch") or {}
        self.run_id: str = shared.get("run_id") or pipeline.new_run_id()
        self.live_log = LiveLog(self.run_id, worker=self.is_worker)
        self.golden_named: Sequence[str] | None = shared.get("golden_named")
        self.started = time.time()
        self.started_iso = pipeline.now_iso()
        self.setup = pipeline.load_setup(
            self.settings.budget, self.settings.budget_display, golden=self.settings.golden_paths
        )
        self.budget = self.setup.budget
        if self.budget.report.dir and not self.settings.report_asked:
            folder = (self.settings.rootdir / self.budget.report.dir).resolve()
            self.settings = dataclasses.replace(self.settings, report=folder)
        self.store = Storing(
            pipeline_store.chosen(self.settings.store, self.budget.store.url), self.settings.rootdir
        )
        if not self.is_worker and not config.option.collectonly:
            self.store.check()
            pipeline_telemetry.check(pipeline_telemetry.chosen(self.budget.telemetry))
        self.concurrent = self._open_concurrent()
        self.baselines = {} if self.is_worker or self.concurrent is not None else self._load_baselines()
        self.asked = bool(self.settings.budget or self.settings.report_asked)
        self.calls: list[Call] = []
        self.spans: dict[str, Span] = {}
        self.results: dict[tuple[str, int, int], CaseResult] = {}
        self.problems: list[Problem] = []
        self.deselected = 0
        self.usage_errors: list[str] = []
        self.stopped: str | None = None
        self.report: Any = None
        self.outputs: dict[str, str] = {}
        self.rule_reports: list[pytest.TestReport] = []
        self.infrastructure_failures: set[str] = set()
        self.sets: dict[Path, GoldenSet] = {}
        self.spool_folder = self.settings.report / ".spool" / self.run_id
        self.spool = Spool(self.spool_folder, self.settings.worker)
        self.ledger = SpendLedger(self.spool_folder / "spent.txt", self.settings.max_cost)
        self.spending = Spending(self.ledger, self.price)
        self.refusals = Refusals()
        self.live: Ahead | None = None
        self.user_key = pipeline_users.key_of(self.store.url, self.settings.rootdir, report=self.settings.report)
        self._lock = threading.Lock()
        self.cassettes = pipeline_cassettes.Uses()
        self._wide: dict[str, Call] = {}
        self._capture: CaptureSession | None = None
        self._client: ClientSettings | None = None
        self._shown: dict[str, str] = {}
        self.rounds: Rounds | None = None
        if self.settings.auto:
            from pytest_llmwatch.plugin.rounds import Rounds

            self.rounds = Rounds(self)

    def _open_concurrent(self) -> Concurrent | None:
        if not (self.settings.baseline or "").startswith("concurrent"):
            return None
        from pytest_llmwatch.plugin import concurrent

        variant = concurrent.variant_of(self.settings.baseline)
        if variant is None:
            return None
        made = concurrent.Concurrent(self, variant)
        made.check()
        return made

    def _load_baselines(self) -> dict[str, Baseline]:
        """Read the baselines before anything is paid for: a damaged one is a usage error."""
        from pytest_llmwatch import pipeline_baseline

        return pipeline_baseline.load(
            self.settings.baseline,
            self.budget,
            self.settings.golden_paths,
            base=self.settings.rootdir,
            store=self.store.place,
        )

    # -- where it runs

    @property
    def is_worker(self) -> bool:
        """Whether this process is an xdist worker."""
        return self.settings.worker is not None

    @property
    def distributes(self) -> bool:
        """Whether this process is a controller that runs no test itself."""
        return (
            not self.is_worker
            and bool(getattr(self.config.option, "tx", None))
            and (getattr(self.config.option, "dist", "no") != "no")
        )

    # -- capture

    @property
    def capture(self) -> CaptureSession:
        """The capture session, started at first use."""
        # cases asked ahead come from several threads, and two sessions would count each call twice
        with self._lock:
            if self._capture is None:
                self._capture = pipeline.start_capture(
                    self.setup,
                    record=self.settings.record,
                    limits=self._limits(),
                    guard=self.spending.guard,
                    on_call=self._on_call,
                    on_span=self._on_span,
                    worker=self.settings.worker,
                    hash_key=self.user_key,
                    run=self.run_id,
                    cassettes=pipeline_cassettes.shared(self.budget.capture.cassettes, self.settings.rootdir),
                )
            return self._capture

    @property
    def captures_everything(self) -> bool:
        """Whether every test is watched, not only those that use a fixture."""
        return not self.distributes and (self.settings.budget is not None or self.settings.report_asked)

    @property
    def client(self) -> ClientSettings:
        """Model, base URL, key and API in force, from budget.toml and the environment."""
        if self._client is None:
            self._client = pipeline.client_settings(self.budget)
        return self._client

    def _limits(self) -> dict[str, Any]:
        return {
            "rpm": self.settings.rpm,
            "concurrency": self.settings.concurrency,
            "shared": self.spool_folder if self.is_worker else None,
            "priced_only": self.settings.max_cost is not None,
        }

    def price(self, model: str, usage: Usage) -> Cost:
        """Return what ``usage`` costs at the endpoint in force."""
        from pytest_llmwatch.capture.targets import provider
        from pytest_llmwatch.pricing import PriceBook

        host = urlsplit(self.client.resolved().base_url or "").hostname or ""
        book = PriceBook(self.budget.prices, extra=self.setup.price)
        return book.cost(model, provider(host), usage)

    def _on_call(self, call: Call) -> None:
        with self._lock:
            self.spool.write(call)
        self.spending.took(call)
        self.live_log.call(call, self.budget.telemetry)

    def _on_span(self, span: Span) -> None:
        with self._lock:
            self.spool.write(span)

    def new_watch(self, item: pytest.Item, cassette: Path | None, **where: Any) -> Watch:
        """Return a fresh watch for ``item``, with labels from its ``llm`` markers and the budget's defaults.

        Args:
            item: The test.
            cassette: Where its calls are recorded, None for nowhere (record mode ``off``).
            where: ``case``, ``repeat``, ``labels`` (they win over markers), ``sources`` (cassettes of other
                programs), ``nodeid`` (by default the test's).
        """
        from pytest_llmwatch.capture.watch import Watch
        from pytest_llmwatch.plugin.fixtures import rerun_hint

        labels: dict[str, str] = {}
        for marker in reversed(list(item.iter_markers("llm"))):
            labels.update({k: str(v) for k, v in marker.kwargs.items()})
        labels.update(where.pop("labels", None) or {})
        attempt = int(getattr(item, "execution_count", 1)) - 1
        repeat = int(where.pop("repeat", 0))
        handle = None
        if cassette is not None and self.settings.record != "off":
            handle = self.capture.open_cassette(
                cassette,
                repeat=repeat,
                attempt=attempt,
                display=self.display(cassette),
                sources=where.pop("sources", ()),
            )
        markers = tuple(sorted({m.name for m in item.iter_markers()} - {"llm", "llm_golden", "parametrize"}))
        return Watch(
            where.pop("nodeid", None) or self.shown(item),
            case=where.pop("case", None),
            repeat=repeat,
            attempt=attempt,
            labels=labels,
            markers=markers,
            cassette=handle,
            rerun_hint=rerun_hint(self, item),
        )

    def shown(self, item: pytest.Item) -> str:
        """Return the test's id as it is written: with nothing in it that redaction hides.

        Parameters are part of an id. Two that only differ in a secret stay two, even where placeholders are equal.
        """
        if not self._shown:
            seen: dict[str, int] = {}
            for other in item.session.items:
                path, mark, name = other.nodeid.partition("::")
                redacted = path + mark + self.setup.redactor.text(name)
                number = seen[redacted] = seen.get(redacted, 0) + 1
                if redacted != other.nodeid and number > 1:
                    redacted += f"-{number}"
                self._shown[other.nodeid] = redacted
        return self._shown.get(item.nodeid) or self.setup.redactor.text(item.nodeid)

    def redacted(self, record: T) -> T:
        """Return a result or a problem with its texts redacted."""
        return self.setup.redactor.record(record, leave=_OURS)

    def display(self, path: Path) -> str:
        """Return ``path`` as the user would name it: relative to the root directory where it is below it."""
        with contextlib.suppress(ValueError):
            return path.relative_to(self.settings.rootdir).as_posix()
        return str(path)

    # -- golden sets

    def load_golden(self, file: Path) -> GoldenSet:
        """Load (once) the golden set in ``file``, with the asked variant applied.

        Raises:
            GoldenError: The set is wrong.
        """
        if file not in self.sets:
            loaded = pipeline.load_golden(file, display=self.display(file))
            if self.concurrent is not None:
                self.concurrent.take(loaded)
            variant = self.settings.variant
            self.sets[file] = loaded.variant(variant) if variant else loaded
        return self.sets[file]

    def try_golden(self, find: Callable[[], Path]) -> GoldenSet | None:
        """Load the golden set that ``find`` names; note a usage error for the end of collection and return None.

        pytest turns an error in collection into exit 2; a wrong set is a usage error (4), raised by the hooks.
        """
        try:
            return self.load_golden(find())
        except UsageError as error:
            if self.is_worker:
                raise pytest.UsageError(str(error)) from None
            if str(error) not in self.usage_errors:
                self.usage_errors.append(str(error))
            return None

    def repeats_of(self, golden: GoldenSet, marked: int | None = None) -> int:
        """Return the repeats of a set's cases, at most under ``auto``: option, marker, set."""
        if self.rounds is not None:
            return self.rounds.most(golden, marked)
        return self.settings.repeats or marked or golden.repeats

    def open_live(self, items: Sequence[pytest.Item], open_test: Callable[[pytest.Item], TestRun | None]) -> None:
        """Start asking golden cases ahead of their tests."""
        from pytest_llmwatch.plugin.live import Ahead

        self.live = Ahead(self.settings.ahead, items, open_test)

    # -- scoring

    def score(
        self,
        output: Output,
        case: Case,
        specs: Sequence[ScorerSpec] | None,
        weights: Mapping[str, float] | None = None,
        asker: Asker | None = None,
    ) -> tuple[Score, ...]:
        """Score ``output``; the budget's weights apply where the set has none. Judges ask ``asker``."""
        # a replay's answers hold placeholders: scored redacted, it gets the scores of the run that recorded it
        output, case = self.redacted(output), self.redacted(case)
        with asking(asker):
            scores = pipeline.score(output, case, specs, weights=weights or self.budget.weights or None)
        return pipeline_judge.allowed(scores, self.budget)

    # -- the whole

    def collect(self, parcel: Parcel) -> None:
        """Take in what a report brought."""
        self.calls.extend(parcel.calls)
        self.spans.update((s.id, s) for s in parcel.spans)
        problems = [self.redacted(p) for p in parcel.problems]
        self.problems.extend(p for p in problems if p not in self.problems)
        if parcel.beside is not None and self.concurrent is not None:
            self.concurrent.collect(parcel.beside)
            self.collect(Parcel(problems=parcel.beside.problems))
        result = parcel.result
        if result is not None:
            self.results[(result.nodeid, result.repeat, result.attempt)] = result

    def collect_wide(self, parcels: Sequence[Parcel], problems: Sequence[Sequence[str]]) -> None:
        """Take in what a process's wider fixtures called, and what its capture reports.

        Each worker sets up the same fixture: the calls have the same ids, and what was asked wins over a replay.
        """
        for parcel in parcels:
            for call in parcel.calls:
                known = self._wide.get(call.id)
                if known is None or known.capture_mode == "replayed":
                    self._wide[call.id] = call
            self.collect(Parcel(spans=parcel.spans, problems=parcel.problems))
        self.collect(Parcel(problems=[Problem(kind, text) for kind, text in problems]))

    def capture_problems(self) -> list[tuple[str, str]]:
        """Return kind and text of what the capture of this process reports; note what it did with cassettes."""
        if self._capture is None:
            return []
        for path, use in self._capture.cassette_uses.items():
            self.cassettes.add(path, use.played, complete=use.complete)
        return [(p.slug, p.message) for p in self._capture.problems]

    def finish(self) -> Run:
        """Merge spools and part files, and return the run as measured so far."""
        self.spool.close()
        self.calls.extend(self._wide.values())
        lost = list(read_spool(self.spool_folder, (c.id for c in self.calls)))
        spooled = read_spooled_spans(self.spool_folder, self.spans)
        if self.concurrent is not None:
            asked_beside = self.concurrent.mine(lost)
            lost = [c for c in lost if c.id not in asked_beside]
            spooled = [s for s in spooled if not self.concurrent.marked(s.nodeid)]
        self.spans.update((s.id, s) for s in spooled)
        if lost:
            self.calls.extend(lost)
            self.problems.append(
                Problem("lost", f"{len(lost)} calls were recovered from a process that died before its test ended")
            )
        self.collect(Parcel(problems=[Problem(kind, text) for kind, text in self.capture_problems()]))
        written = pipeline_cassettes.merge(self.cassette_folders(), self.run_id) if self.distributes else []
        if self._capture is not None:
            written += self._capture.cassettes_written
        limit = self.budget.capture.max_set_bytes
        self.collect(Parcel(problems=pipeline_cassettes.size_problems(written, self.settings.rootdir, limit)))
        run = pipeline.assemble(
            run_id=self.run_id,
            started=self.started_iso,
            duration=time.time() - self.started,
            calls=self.calls,
            spans=self.spans.values(),
            results=self.results.values(),
            problems=self.problems,
            partial=self._partial(),
            environment=pipeline.environment(
                self.settings.rootdir,
                {
                    "record": self.settings.record,
                    "variant": self.settings.variant,
                    "workers": self._workers(),
                    "shard": self.settings.shard,
                    "budget_hash": pipeline.file_hash(self.settings.budget),
                    "rounds": self.rounds.told() if self.rounds is not None else None,
                },
            ),
        )
        return run if self.concurrent is None else self.concurrent.joined(run)

    def _workers(self) -> int:
        return len(getattr(self.config.option, "tx", None) or ()) if self.distributes else 0

    def _partial(self) -> str | None:
        if self.stopped:
            return self.stopped
        if self.deselected and not self.settings.shard:  # a shard leaves the other jobs' tests out
            return f"{self.deselected} tests were deselected"
        not_run = sum(1 for r in self.results.values() if r.outcome == "not_run")
        return f"{not_run} tests were not run" if not_run else None

    def unused_unknown(self) -> str | None:
        """Return why this run says nothing about recordings that it did not use, None where it does."""
        if self._partial():
            return f"the run was partial: {self._partial()}"
        if self.settings.record == "off":
            return "the run used no cassettes"
        if self.settings.repeats is not None or self.settings.auto:
            return "the run was given --llm-repeats"
        named = [a for a in self.config.args if "::" in str(a)]
        return f"only {named[0]} was run" if named else None

    def cassette_folders(self) -> list[Path]:
        """Folders that may hold part files of this run's workers: beside tests, sets, and the conftests above."""
        root = self.settings.rootdir
        folders = {r.parent / "cassettes" for r in self.sets} | {p.parent for p in self.cassettes.files}
        for result in self.results.values():
            parent = (root / result.nodeid.split("::")[0]).parent
            above = [p for p in parent.parents if p.is_relative_to(root)]
            folders.update(p / "cassettes" for p in (parent, *above))
        return sorted(folders)

    def clear_spool(self) -> None:
        """Remove the spool once everything it holds is in the run."""
        clear_spool(self.spool_folder)
        with contextlib.suppress(OSError):
            self.spool_folder.parent.rmdir()
            if not self.asked:
                self.settings.report.rmdir()

    def close(self) -> None:
        """Stop capture; called when pytest unconfigures."""
        self.spool.close()
        if self._capture is not None:
            self._capture.stop()


@contextlib.contextmanager
def clean_usage_errors() -> Iterator[None]:
    """Turn our usage errors into pytest's, which print as one line and exit with 4."""
    try:
        yield
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None


def problem_of(error: LlmwatchError, nodeid: str) -> Problem:
    """Return the problem that ``error`` is, for the run's list."""
    from pytest_llmwatch.errors import CassetteError, InfrastructureError

    if isinstance(error, InfrastructureError):
        kind = "infrastructure"
    elif isinstance(error, SpendLimitReached):
        kind = "not_run"
    elif isinstance(error, CassetteError):
        kind = "missing_recording"
    else:
        kind = "usage"
    return Problem(kind, error.one_line(), nodeid)
