"""Extension points (pluggy). The plugin and the command line load the same extensions.

An extension is a module named in ``[plugins] modules`` of budget.toml, or registered under the entry-point
group ``llmwatch``; it implements any of these with ``@pytest_llmwatch.hookspecs.hookimpl``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pluggy

hookspec = pluggy.HookspecMarker("llmwatch")
hookimpl = pluggy.HookimplMarker("llmwatch")


@hookspec
def llmwatch_scorers() -> Mapping[str, Callable[..., Any]] | None:
    """Return scorers by name: ``(output, case) -> float | bool | Score``, or objects with ``score``."""


@hookspec
def llmwatch_redaction_patterns() -> Sequence[tuple[str, str]] | None:
    """Return (name, regular expression) pairs of secrets that must never reach disk."""


@hookspec(firstresult=True)
def llmwatch_price(model: str, provider: str | None, usage: Any) -> Any:
    """Return a ``Cost`` for a model that the price list does not know, or None."""


@hookspec
def llmwatch_alert_channels() -> Mapping[str, Callable[[Mapping[str, Any]], None]] | None:
    """Return channels of alerts by name, for ``to = ["plugin:NAME"]``.

    A channel takes one message: ``title``, ``body``, ``kind`` (alert, reminder or recovery), ``key`` (the same for
    each message about one cause), ``severity``, ``category``, ``rules``, ``incident``, ``link``, ``runbook``,
    ``run``. It raises where it could not send; the message is then kept and tried again in the next run.
    """


@hookspec
def llmwatch_report_sections(report: Mapping[str, Any]) -> Sequence[tuple[str, Any]] | None:
    """Return sections of report.html as pairs of title and content, given what run.json holds.

    Content is a text, or rows of cells of which the first is the head of a table. It is shown as it is, never as
    HTML.
    """


def load_extensions(modules: Sequence[str] = ()) -> pluggy.PluginManager:
    """Return a plugin manager with ``modules`` and all entry points of group ``llmwatch`` registered.

    Modules are found where Python finds any, and in the current folder.

    Raises:
        UsageError: A named module cannot be imported.
    """
    import sys

    from pytest_llmwatch.errors import UsageError
    from pytest_llmwatch.imports import import_named

    manager = pluggy.PluginManager("llmwatch")
    manager.add_hookspecs(sys.modules[__name__])
    for name in modules:
        try:
            manager.register(import_named(name), name=name)
        except ImportError as error:
            raise UsageError(
                f"[plugins] modules: cannot import {name!r} ({error}); install it or correct the name",
                slug="plugin-import",
            ) from error
    manager.load_setuptools_entrypoints("llmwatch")
    return manager
