"""What pytest loads at start-up: options, markers, fixtures, and nothing that a run without LLM calls pays for.

Everything else is imported by :func:`activate`, when the run asks for it: a budget or another option that
needs calls to be captured, a golden set on the command line, or the first use of one of the fixtures.
"""

from __future__ import annotations

from typing import Any

import pytest

_SESSION: pytest.StashKey[Any] = pytest.StashKey()
# options that ask for capture of the whole run, or that a controller must know; the rest change how capture works
_ASKING = ("llm_budget", "llm_report", "llm_record", "llm_max_cost", "llm_store", "llm_variant", "llm_repeats")

_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "--llm-budget",
        {"metavar": "FILE", "help": "gate the run against FILE (budget.toml); captures every LLM call"},
    ),
    (
        "--llm-record",
        {
            "metavar": "MODE",
            "choices": ["none", "once", "new", "all", "off"],
            "help": "none: replay only; once: record what has no cassette; new: replay what matches, record the "
            "rest; all: record again; off: live, no cassettes (default: once; none where CI is set)",
        },
    ),
    (
        "--llm-report",
        {"metavar": "DIR", "help": "folder for report.html, run.json, ... (default: llmwatch-report)"},
    ),
    (
        "--llm-gate",
        {
            "metavar": "MODE",
            "choices": ["on", "off", "defer"],
            "default": "on",
            "help": "off: measure, judge nothing; defer: record for a later merge, leave the exit code alone",
        },
    ),
    ("--llm-max-cost", {"metavar": "USD", "help": "stop spending at this sum; what was not run is reported"}),
    (
        "--llm-repeats",
        {
            "metavar": "N|auto",
            "help": "samples per golden case (over the marker's and the set's); auto: in whole rounds, the next "
            "one only while a rule is undecided",
        },
    ),
    ("--llm-concurrency", {"metavar": "N", "help": "live calls in flight (default: 4 golden cases at a time)"}),
    ("--llm-rpm", {"metavar": "N", "help": "live calls a minute at most (default: no limit)"}),
    (
        "--llm-baseline",
        {
            "metavar": "REF",
            "help": "what [drift] compares with: baseline file, stored run, store URL, COMMIT:path in git, "
            "concurrent[:VARIANT] to ask it in this very run (default: budget.toml's)",
        },
    ),
    ("--llm-shard", {"metavar": "K/N", "help": "this job is the K-th of N that are merged later"}),
    (
        "--llm-store",
        {
            "metavar": "URL",
            "help": "where runs are kept: a folder, sqlite:///file.db, postgresql+psycopg://user@host/database "
            "(default: not kept)",
        },
    ),
    (
        "--llm-alerts",
        {
            "choices": ["on", "off", "dry"],
            "help": "send the budget's [[alert]]s, or say what would be sent (default: on in CI, dry elsewhere)",
        },
    ),
    (
        "--llm-variant",
        {"metavar": "NAME", "help": "run golden sets with the prompt variant NAME of their set.yaml"},
    ),
)
_INI = {
    "llm_budget": "as --llm-budget",
    "llm_record": "as --llm-record",
    "llm_report": "as --llm-report",
    "llm_baseline": "as --llm-baseline",
    "llm_store": "as --llm-store",
    "llm_golden_paths": "folders of golden sets (default: golden_sets)",
    "llm_golden_collect": "collect golden sets even when they are not named on the command line",
}
_MARKERS = (
    "llm(feature=, team=, prompt_version=, ...): labels for every LLM call of the test (pytest-llmwatch)",
    "llm_golden(set, repeats=N): one test per case and repeat of a golden set (pytest-llmwatch)",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("llmwatch", "LLM quality, latency and cost gates")
    for flag, options in _OPTIONS:
        group.addoption(flag, **options)
    for name, text in _INI.items():
        kind: Any = {"llm_golden_paths": "paths", "llm_golden_collect": "bool"}.get(name, "string")
        parser.addini(name, text, type=kind, default=[] if kind == "paths" else False if kind == "bool" else None)


def pytest_configure(config: pytest.Config) -> None:
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    config.pluginmanager.register(_Late(config), "llmwatch-late")
    asked = any(config.getoption(name) is not None for name in _ASKING) or config.getini("llm_budget")
    if (asked or hasattr(config, "workerinput")) and not config.option.help and _wants(config, bool(asked)):
        activate(config)
    elif getattr(config.option, "tx", None) and not hasattr(config, "workerinput"):
        # a controller collects nothing: the sets that the command line names are checked before workers start
        from pytest_llmwatch.plugin.named import named_sets

        if next(named_sets(config), None) is not None:
            activate(config)


def _wants(config: pytest.Config, asked: bool) -> bool:
    worker = getattr(config, "workerinput", None)
    return asked if worker is None else bool(worker.get("llmwatch"))


def activate(config: pytest.Config) -> Any:
    """Return the run's session object, made at the first call.

    Raises:
        pytest.UsageError: An option, the budget or a golden set is wrong; one clean line.
    """
    session = config.stash.get(_SESSION, None)
    if session is None:
        from pytest_llmwatch.plugin.opening import open_session

        session = config.stash[_SESSION] = open_session(config)
    return session


class _Late:
    """Notices, on the controller of a distributed run, that a worker has something to say."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if hasattr(report, "llmwatch"):
            activate(self.config)


def pytest_collect_file(file_path: Any, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.name != "set.yaml":
        return None
    from pytest_llmwatch.plugin.named import asked

    if not asked(parent.config, file_path):
        return None
    from pytest_llmwatch.plugin.collect import collect_set

    return collect_set(file_path, parent)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("llm_golden")
    if marker is not None:
        from pytest_llmwatch.plugin.collect import parametrize_golden

        parametrize_golden(metafunc, marker)


@pytest.fixture
def llm_call(request: pytest.FixtureRequest) -> Any:
    """A monitored call through the OpenAI client: ``llm_call(prompt, model=...) -> Reply``."""
    from pytest_llmwatch.plugin import fixtures

    return fixtures.llm_call(request, activate(request.config))


@pytest.fixture
def llm_client(request: pytest.FixtureRequest) -> Any:
    """A monitored ``openai.OpenAI`` client to inject into the application."""
    from pytest_llmwatch.plugin import fixtures

    yield from fixtures.llm_client(request, activate(request.config))


@pytest.fixture
def async_llm_client(request: pytest.FixtureRequest) -> Any:
    """A monitored ``openai.AsyncOpenAI`` client to inject into the application."""
    from pytest_llmwatch.plugin import fixtures

    return fixtures.async_llm_client(request, activate(request.config))


@pytest.fixture
def llm_watch(request: pytest.FixtureRequest) -> Any:
    """What the application called in this test: ``.calls .spans .cost_usd``, spans, tags, metrics, outcomes."""
    from pytest_llmwatch.plugin import fixtures

    return fixtures.llm_watch(request, activate(request.config))


@pytest.fixture
def llm_fault(request: pytest.FixtureRequest) -> Any:
    """Let the next calls meet a fault: ``llm_fault("timeout")``, ``llm_fault(429, retry_after=1)``, ..."""
    from pytest_llmwatch.plugin import fixtures

    yield from fixtures.llm_fault(request, activate(request.config))


@pytest.fixture
def llm_case(request: pytest.FixtureRequest) -> Any:
    """The golden case of a test marked ``llm_golden``, with ``.check(reply)``."""
    from pytest_llmwatch.plugin import fixtures

    return fixtures.llm_case(request, activate(request.config))
