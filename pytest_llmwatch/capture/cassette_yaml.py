"""Cassette files as text: YAML that people can read and stock vcrpy can load."""

from __future__ import annotations

import gc
import re
from typing import Any

import yaml

from pytest_llmwatch.capture import cassette_foreign as foreign
from pytest_llmwatch.errors import CassetteError

HEADER = "# LLM calls recorded by pytest-llmwatch (vcrpy's format). Record again with --llm-record=all.\n"
_BEYOND_BMP = re.compile("[\U00010000-\U0010ffff]")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader that also takes the two kinds of strings that vcrpy wrote under Python 2."""


def _plain(loader: Any, node: Any) -> Any:
    return loader.construct_scalar(node)


_Loader.add_constructor("tag:yaml.org,2002:python/unicode", _plain)
_Loader.add_constructor("tag:yaml.org,2002:python/str", _plain)


class FlowList(list[Any]):
    """A list that is written on one line."""


def _text(dumper: Any, value: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


def _flow(dumper: Any, value: FlowList) -> Any:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)


class _SlowDumper(yaml.SafeDumper):
    def ignore_aliases(self, _data: Any) -> bool:
        return True  # equal headers must not become "&id001"


_SlowDumper.add_representer(str, _text)
_SlowDumper.add_representer(FlowList, _flow)
_Dumper: Any = _SlowDumper

if hasattr(yaml, "CSafeDumper"):

    class _FastDumper(yaml.CSafeDumper):
        def ignore_aliases(self, _data: Any) -> bool:
            return True

    _FastDumper.add_representer(str, _text)
    _FastDumper.add_representer(FlowList, _flow)
    _Dumper = _FastDumper


class Serializer:
    """A serializer for vcrpy: literal blocks for texts, the order of keys as given.

    Args:
        display: The file's name as the user knows it, for messages.
    """

    def __init__(self, display: str, above: int = 0) -> None:
        self._display = display
        self._above = above

    def at(self, above: int) -> Serializer:
        """Return a serializer for a part of the file that has ``above`` lines more above it than its text says."""
        return Serializer(self._display, above)

    def deserialize(self, text: str) -> Any:
        """Parse a cassette file.

        Raises:
            CassetteError: It is not YAML, or not a cassette.
        """
        # the collector would walk the growing tree again and again: 2.6 to 3.2 times slower
        was_on = gc.isenabled()
        gc.disable()
        try:
            data = foreign.from_json(text)
            if data is None:
                data = yaml.load(foreign.untagged(text), Loader=_Loader)  # noqa: S506 (a safe loader)
        except RecursionError as error:
            raise corrupt(self._display, "cannot be read (nested too deeply)") from error
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
            line = mark.line + 1 + self._above if mark is not None else None
            problem = getattr(error, "problem", None) or "not YAML"
            raise corrupt(self._display, f"cannot be read ({problem})", line) from error
        finally:
            if was_on:
                gc.enable()
        data = foreign.normalised(data)
        _check(data, text, self._display, self._above)
        return data

    def mapping(self, text: str) -> dict[str, Any]:
        """Parse the end of a cassette file, where notes on the whole stand; empty if it is no mapping."""
        try:
            data = yaml.load(text, Loader=_Loader)  # noqa: S506 (a safe loader)
        except yaml.YAMLError:
            return {}
        return data if isinstance(data, dict) else {}

    def serialize(self, data: Any) -> str:
        """Write a cassette file."""
        # the C emitter escapes characters beyond the BMP, which makes a whole block unreadable
        dumper = _SlowDumper if _has_astral(data) else _Dumper
        text: str = yaml.dump(
            data, Dumper=dumper, sort_keys=False, allow_unicode=True, width=1_000_000, default_flow_style=False
        )
        # after a block that ends with blank lines libyaml ends the document; pieces of a file are put together
        return HEADER + text.removesuffix("...\n")


def corrupt(display: str, what: str, line: int | None = None) -> CassetteError:
    """Return the error for a cassette that cannot be used."""
    return CassetteError(
        f"the cassette {what}; restore the file from version control, or delete it and record it again with "
        "--llm-record=once",
        slug="cassette-corrupt",
        file=display,
        line=line,
    )


def _check(data: Any, text: str, display: str, above: int) -> None:
    interactions = data.get("interactions") if isinstance(data, dict) else None
    if not isinstance(interactions, list):
        raise corrupt(display, "has no list 'interactions'", 1)
    lines = [i for i, line in enumerate(text.splitlines(), 1) if line.startswith("- ")]
    for number, item in enumerate(interactions):
        line = lines[number] + above if len(lines) == len(interactions) else None
        request = item.get("request") if isinstance(item, dict) else None
        response = item.get("response") if isinstance(item, dict) else None
        if not isinstance(request, dict) or not {"method", "uri", "body", "headers"} <= set(request):
            raise corrupt(display, f"has no whole 'request' in interaction {number + 1}", line)
        if not isinstance(response, dict) or not {"status", "headers", "body"} <= set(response):
            raise corrupt(display, f"has no whole 'response' in interaction {number + 1}", line)
        if not isinstance(response["status"], dict) or not isinstance(response["status"].get("code"), int):
            raise corrupt(display, f"has no status code in interaction {number + 1}", line)
        if not isinstance(response["body"], dict) or not isinstance(response.get("x-llmwatch", {}), dict):
            raise corrupt(
                display, f"has a 'body' or 'x-llmwatch' that is no mapping in interaction {number + 1}", line
            )


def _has_astral(value: Any) -> bool:
    if isinstance(value, str):
        return not value.isascii() and _BEYOND_BMP.search(value) is not None
    if isinstance(value, dict):
        return any(_has_astral(v) for v in value.values())
    if isinstance(value, list):
        return any(_has_astral(v) for v in value)
    return False
