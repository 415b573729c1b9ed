"""Golden sets: ``set.yaml`` and its cases, read, checked and turned into requests.

A mistake in a set is one line with file and line number, found before any call is made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pytest_llmwatch import golden_prompt
from pytest_llmwatch.errors import GoldenError, LlmwatchError
from pytest_llmwatch.golden_files import Located, check, nearest, parse_json, read_jsonl, read_text, read_yaml
from pytest_llmwatch.golden_schema import CASE_SCHEMA, SCORER_KEYS, SCORER_SCHEMA, SET_SCHEMA
from pytest_llmwatch.golden_set import (
    GoldenSet,
    Variant,
    cassette_path,
    messages,
    parameters,
    recorded_as,
    safe_name,
)
from pytest_llmwatch.model import JSON, Case, ScorerSpec
from pytest_llmwatch.schema import InvalidSchema, issues

__all__ = [
    "GoldenSet",
    "Variant",
    "cassette_path",
    "load_set",
    "messages",
    "parameters",
    "recorded_as",
    "safe_name",
]

ValidateScorer = Callable[[ScorerSpec], object]
LABELS = ("feature", "team", "tenant", "environment", "stage", "prompt_version", "prompt_name")


def load_set(
    path: Path, *, display: str | None = None, validate_scorer: ValidateScorer | None = None
) -> GoldenSet:
    """Read and check a golden set.

    Args:
        path: The set's folder, or its set.yaml.
        display: set.yaml as the user would name it in messages; by default relative to the working folder.
        validate_scorer: Called with each scorer asked for; whatever it raises becomes a GoldenError.

    Raises:
        GoldenError: The set cannot be used; one line with file, line and mend.
    """
    file = path if path.suffix in (".yaml", ".yml") else path / "set.yaml"
    shown = display or _display(file)
    found = read_yaml(read_text(file, shown, mend="a golden set is a folder with a set.yaml"), shown)
    if not isinstance(found.value, dict):
        raise found.error("must be a mapping of keys such as `prompt:` and `cases:`", "golden-value")
    check(found, SET_SCHEMA)
    return _Loader(file.parent, found, validate_scorer).load()


class _Loader:
    """Turns a checked set.yaml into a GoldenSet; holds what every step needs for its messages."""

    def __init__(self, folder: Path, found: Located, validate: ValidateScorer | None) -> None:
        self._folder = folder
        self._set = found
        self._data: dict[str, Any] = found.value
        self._validate = validate

    def load(self) -> GoldenSet:
        data = self._data
        default_schema = self._schema(self._set, data.get("schema"), ("schema",))
        labels = {key: str(data[key]) for key in LABELS if key in data}
        golden = GoldenSet(
            name=data.get("name", self._folder.resolve().name),
            folder=self._folder,
            file=self._set.file,
            cases=self._cases(default_schema),
            description=data.get("description", "").strip(),
            licence=data.get("licence"),
            api=data.get("api", "responses"),
            system=self._text(self._set, data.get("system"), ("system",)),
            prompt=self._text(self._set, data.get("prompt"), ("prompt",)),
            prompt_name=data.get("prompt_name"),
            prompt_version=labels.get("prompt_version"),
            target=data.get("target"),
            model=data.get("model"),
            parameters=data.get("parameters", {}),
            stream=data.get("stream", False),
            structured=data.get("structured", False),
            tools=tuple(data.get("tools", ())),
            schema=default_schema,
            scorers=self._scorers(),
            weights=data.get("weights", {}),
            repeats=data.get("repeats", 1),
            seed=data.get("seed"),
            seed_per_repeat=data.get("seed_per_repeat", True),
            labels=labels,
            variants=self._variants(),
        )
        self._check_request(golden)
        return golden

    # parts -----------------------------------------------------------------------------------------------

    def _cases(self, default_schema: JSON) -> tuple[Case, ...]:
        given = self._data.get("cases", "cases.jsonl")
        if isinstance(given, str):
            file = self._inside(self._set, given, ("cases",))
            shown = self._beside(given)
            mend = "" if "cases" in self._data else f"write the cases there, or as `cases:` in {self._set.file}"
            found = read_jsonl(read_text(file, shown, slug="golden-cases", mend=mend), shown)
        else:
            shown = self._set.file
            found = [self._set.at("cases", i) for i in range(len(given))]
        if not found:
            raise GoldenError("has no cases; write at least one", slug="golden-empty", file=shown)
        cases: list[Case] = []
        lines: dict[str, int | None] = {}
        for item in found:
            check(item, CASE_SCHEMA)
            case = self._case(item, default_schema)
            if case.id in lines:
                raise item.error(
                    f"case id {case.id!r} is used twice (first in line {lines[case.id]}); ids must be unique",
                    "golden-duplicate-id",
                    ("id",),
                )
            lines[case.id] = case.line
            cases.append(case)
        return tuple(cases)

    def _case(self, item: Located, default_schema: JSON) -> Case:
        data = item.value
        if isinstance(data["input"], list):
            self._check_messages(item)
        schema = self._schema(item, data["schema"], ("schema",)) if "schema" in data else default_schema
        texts = [self._text(item, doc, ("context", i)) for i, doc in enumerate(data.get("context", ()))]
        documents, calls = data.get("expected_documents"), data.get("expected_tool_calls")
        return Case(
            id=data["id"],
            input=data["input"],
            set=self._data.get("name", self._folder.resolve().name),
            reference=data.get("reference"),
            must_mention=tuple(data.get("must_mention", ())),
            must_not_mention=tuple(data.get("must_not_mention", ())),
            context=tuple(text for text in texts if text is not None),
            schema=schema,
            expected_tool_calls=None if calls is None else tuple(calls),
            expected_documents=None if documents is None else tuple(documents),
            format=data.get("format"),
            tags=tuple(dict.fromkeys((*self._data.get("tags", ()), *data.get("tags", ())))),
            weight=float(data.get("weight", 1.0)),
            cluster=data.get("cluster"),
            metadata=data.get("metadata", {}),
            line=item.line_of(()),
        )

    def _check_messages(self, item: Located) -> None:
        given = item.value["input"]
        if not given:
            raise item.error("input must not be an empty list", "golden-value", ("input",))
        for i, message in enumerate(given):
            if not isinstance(message, dict) or not isinstance(message.get("role"), str):
                raise item.error(
                    f"input[{i}] must be a chat message with `role` and `content`", "golden-value", ("input", i)
                )

    def _scorers(self) -> tuple[ScorerSpec, ...]:
        specs: list[ScorerSpec] = []
        for i, entry in enumerate(self._data.get("scorers", ())):
            spec = self._scorer(i, {"name": entry} if isinstance(entry, str) else entry)
            label = spec.label or spec.name
            if any(label == (other.label or other.name) for other in specs):
                raise self._set.error(
                    f"scorers[{i}]: {label!r} is there twice; give one of them a `label:`",
                    "golden-scorer",
                    ("scorers", i),
                )
            if self._validate is not None:
                self._validated(spec, i)
            specs.append(spec)
        return tuple(specs)

    def _scorer(self, i: int, entry: Mapping[str, Any]) -> ScorerSpec:
        if "name" not in entry:
            # {length: {max_words: 40}}, also with threshold beside it
            other = [key for key in entry if key not in SCORER_KEYS]
            if len(other) != 1 or not isinstance(entry[other[0]], dict | type(None)):
                raise self._set.error(
                    f"scorers[{i}] must be a name, `name: {{options}}`, or a mapping with `name:`",
                    "golden-scorer",
                    ("scorers", i),
                )
            ours = {key: value for key, value in entry.items() if key in SCORER_KEYS}
            entry = {"name": other[0], **ours, **(entry[other[0]] or {})}
        located = Located(entry, self._set.file, lambda path: self._set.line_of(("scorers", i, *path)))
        check(located, SCORER_SCHEMA, what=f"scorers[{i}]")
        options = {key: value for key, value in entry.items() if key not in ("name", *SCORER_KEYS)}
        return ScorerSpec(
            name=entry["name"],
            options=options,
            line=self._set.line_of(("scorers", i)),
            **{key: entry[key] for key in SCORER_KEYS if key in entry},
        )

    def _validated(self, spec: ScorerSpec, i: int) -> None:
        assert self._validate is not None
        try:
            self._validate(spec)
        except LlmwatchError as error:
            raise self._set.error(f"scorers[{i}]: {error.message}", "golden-scorer", ("scorers", i)) from error
        except (ValueError, TypeError, KeyError) as error:
            raise self._set.error(
                f"scorers[{i}] {spec.name!r}: {error}", "golden-scorer", ("scorers", i)
            ) from error

    def _variants(self) -> dict[str, Variant]:
        out = {}
        for name, data in self._data.get("variants", {}).items():
            at = ("variants", name)
            version = data.get("prompt_version")
            out[name] = Variant(
                name=name,
                prompt=self._text(self._set, data.get("prompt"), (*at, "prompt")),
                system=self._text(self._set, data.get("system"), (*at, "system")),
                prompt_version=None if version is None else str(version),
                parameters=data.get("parameters", {}),
                model=data.get("model"),
            )
        return out

    # checks of the whole -----------------------------------------------------------------------------------

    def _check_request(self, golden: GoldenSet) -> None:
        if golden.prompt is not None and golden.target is not None:
            raise self._set.error(
                "has both `prompt` and `target`; keep the one that answers the cases", "golden-prompt", ("target",)
            )
        needs_prompt = any(not isinstance(case.input, list) for case in golden.cases)
        if golden.prompt is None and golden.target is None and needs_prompt:
            raise self._set.error(
                'has neither `prompt` nor `target`; add e.g. `prompt: "{{ input }}"`', "golden-prompt"
            )
        if golden.seed is not None and "seed" in golden.parameters:
            raise self._set.error(
                "gives `seed` twice: keep `seed:` or `parameters.seed`", "golden-value", ("seed",)
            )
        names = ("max_tokens", "max_output_tokens")
        wrong, right = names if golden.api == "responses" else names[::-1]
        if wrong in golden.parameters:
            raise self._set.error(
                f"parameters.{wrong} is not a parameter of api: {golden.api}; write {right}",
                "golden-value",
                ("parameters", wrong),
            )
        self._check_templates(golden)

    def _check_templates(self, golden: GoldenSet) -> None:
        templates: list[tuple[tuple[str, ...], str | None]] = [
            (("prompt",), golden.prompt),
            (("system",), golden.system),
        ]
        for variant in golden.variants.values():
            templates.append((("variants", variant.name, "prompt"), variant.prompt))
            templates.append((("variants", variant.name, "system"), variant.system))
        available = [(case, set(golden_prompt.values(case))) for case in golden.cases]
        for path, text in templates:
            for name in golden_prompt.names(text or ""):
                self._check_variable(path, name, available)

    def _check_variable(self, path: tuple[str, ...], name: str, available: list[tuple[Case, set[str]]]) -> None:
        where = ".".join(path)
        if not golden_prompt.is_name(name):
            raise self._set.error(
                f"{where}: {{{{ {name} }}}} is not a variable; only names stand between double braces",
                "golden-template",
                path,
            )
        for case, known in available:
            if name not in known and not (isinstance(case.input, list) and path[-1] == "prompt"):
                raise self._set.error(
                    f"{where}: variable {{{{ {name} }}}} has no value in case {case.id!r} (line {case.line});"
                    f" {nearest(name, known)}",
                    "golden-template",
                    path,
                )

    # files -------------------------------------------------------------------------------------------------

    def _text(self, found: Located, value: Any, path: tuple[str | int, ...]) -> str | None:
        if value is None or isinstance(value, str):
            return value
        name = value["file"]
        return read_text(self._existing(found, name, (*path, "file")), self._beside(name)).strip("\n")

    def _schema(self, found: Located, value: Any, path: tuple[str | int, ...]) -> JSON:
        if value is None:
            return None
        if isinstance(value, str):
            file = self._existing(found, value, path)
            value = parse_json(read_text(file, self._beside(value)), self._beside(value))
        try:
            issues(None, value)
        except InvalidSchema as error:
            raise found.error(f"schema is not a valid JSON Schema: {error}", "golden-schema", path) from error
        return value

    def _existing(self, found: Located, name: str, path: tuple[str | int, ...]) -> Path:
        file = self._inside(found, name, path)
        if not file.is_file():
            raise found.error(f"file {name!r} does not exist in the set's folder", "golden-file", path)
        return file

    def _inside(self, found: Located, name: str, path: tuple[str | int, ...]) -> Path:
        file = self._folder / name
        if not file.resolve().is_relative_to(self._folder.resolve()):
            raise found.error(f"file {name!r} is outside the set's folder; move it inside", "golden-file", path)
        return file

    def _beside(self, name: str) -> str:
        return (Path(self._set.file).parent / name).as_posix()


def _display(file: Path) -> str:
    try:
        return Path(os.path.relpath(file)).as_posix()
    except ValueError:
        # another drive on Windows
        return file.as_posix()
