"""The start of a run that is watched: its state, and the hooks that it needs."""

from __future__ import annotations

import pytest

from pytest_llmwatch.errors import InfrastructureError, UsageError
from pytest_llmwatch.plugin import ci, progress
from pytest_llmwatch.plugin.hooks import RunHooks
from pytest_llmwatch.plugin.session import LlmSession, clean_usage_errors
from pytest_llmwatch.plugin.settings import GATE_EXIT


def open_session(config: pytest.Config) -> LlmSession:
    """Read settings and budget, start capture, register the run's hooks.

    Raises:
        pytest.UsageError: Something the user gave is wrong; one clean line.
        pytest.exit.Exception: The store cannot be reached: exit 7, before anything is paid for.
    """
    try:
        session = LlmSession(config)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    except InfrastructureError as error:
        pytest.exit(str(error), returncode=GATE_EXIT)
    if session.distributes:
        from pytest_llmwatch.plugin.named import named_sets

        with clean_usage_errors():
            for file in named_sets(config):
                session.load_golden(file)
    hooks = RunHooks(session)
    config.pluginmanager.register(hooks, "llmwatch-run")
    config.pluginmanager.register(hooks.wider, "llmwatch-wide")
    config.pluginmanager.register(ci.CiHooks(session), "llmwatch-ci")
    progress.register(session, config.pluginmanager)
    if session.rounds is not None:
        from pytest_llmwatch.plugin.rounds_hooks import register

        register(session, session.rounds)
    config.add_cleanup(session.close)
    return session
