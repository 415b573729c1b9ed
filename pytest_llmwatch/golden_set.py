"""A golden set, checked, and the requests that its cases become."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pytest_llmwatch import golden_prompt
from pytest_llmwatch.errors import GoldenError
from pytest_llmwatch.golden_files import nearest
from pytest_llmwatch.model import JSON, Case, ScorerSpec

Api = Literal["responses", "chat"]


@dataclass(frozen=True, slots=True)
class Variant:
    """Another prompt or model for the same cases. What is None is taken from the set; ``system`` "" means none."""

    name: str
    prompt: str | None = None
    system: str | None = None
    prompt_version: str | None = None
    parameters: Mapping[str, JSON] = field(default_factory=dict)
    model: str | None = None


@dataclass(frozen=True, slots=True)
class GoldenSet:
    """A golden set, checked.

    ``prompt`` is None where ``target`` (``module:function``) answers, or where every input is a list of
    messages. An empty ``scorers`` means all that apply. ``labels`` are merged into each call. ``applied`` is
    the variant in force, None for the set as it is.
    """

    name: str
    folder: Path
    file: str
    """set.yaml as the user would name it."""
    cases: tuple[Case, ...]
    description: str = ""
    licence: str | None = None
    api: Api = "responses"
    system: str | None = None
    prompt: str | None = None
    prompt_name: str | None = None
    prompt_version: str | None = None
    target: str | None = None
    model: str | None = None
    parameters: Mapping[str, JSON] = field(default_factory=dict)
    stream: bool = False
    structured: bool = False
    tools: tuple[JSON, ...] = ()
    schema: JSON = None
    scorers: tuple[ScorerSpec, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    repeats: int = 1
    seed: int | None = None
    seed_per_repeat: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)
    variants: Mapping[str, Variant] = field(default_factory=dict)
    applied: str | None = None

    def variant(self, name: str | None) -> GoldenSet:
        """Return the set with the variant ``name`` applied; None or "" returns the set as it is.

        Raises:
            GoldenError: The set has no such variant.
        """
        if not name:
            return self
        if name not in self.variants:
            known = nearest(name, self.variants) if self.variants else "the set has no variants"
            raise GoldenError(f"has no variant {name!r}; {known}", slug="golden-variant", file=self.file)
        chosen = self.variants[name]
        version = chosen.prompt_version or (f"{self.prompt_version}-{name}" if self.prompt_version else name)
        return dataclasses.replace(
            self,
            prompt=self.prompt if chosen.prompt is None else chosen.prompt,
            system=self.system if chosen.system is None else chosen.system or None,
            prompt_version=version,
            model=chosen.model or self.model,
            parameters={**self.parameters, **chosen.parameters},
            labels={**self.labels, "prompt_version": version},
            applied=name,
        )

    def case(self, case_id: str) -> Case:
        """Return the case ``case_id``.

        Raises:
            GoldenError: The set has no such case.
        """
        for case in self.cases:
            if case.id == case_id:
                return case
        hint = nearest(case_id, [c.id for c in self.cases][:50])
        raise GoldenError(f"has no case {case_id!r}; {hint}", slug="golden-case", file=self.file)


def messages(golden: GoldenSet, case: Case) -> list[dict[str, JSON]]:
    """Return the chat messages that ask ``case``: the system prompt and the filled-in template.

    An input that is a list of messages passes through; the set's system prompt stands before it unless it
    brings one of its own.
    """
    variables = golden_prompt.values(case)
    system = golden_prompt.render(golden.system, variables) if golden.system else None
    head: list[dict[str, JSON]] = [{"role": "system", "content": system}] if system else []
    if isinstance(case.input, list | tuple):
        given = [dict(message) for message in case.input]
        own = any(message.get("role") in ("system", "developer") for message in given)
        return given if own else head + given
    text = golden_prompt.render(golden.prompt or "{{ input }}", variables)
    return [*head, {"role": "user", "content": text}]


def parameters(golden: GoldenSet, case: Case, repeat: int = 0) -> dict[str, JSON]:
    """Return the keyword arguments for the OpenAI client beside model and messages.

    Seeds go in ``extra_body`` for the Responses API, whose client knows none (local servers take it).
    """
    out: dict[str, JSON] = dict(golden.parameters)
    if golden.tools:
        out.setdefault("tools", [dict(tool) for tool in golden.tools])
    if golden.seed is not None:
        seed = golden.seed + (repeat if golden.seed_per_repeat else 0)
        if golden.api == "chat":
            out["seed"] = seed
        else:
            out["extra_body"] = {**out.get("extra_body", {}), "seed": seed}
    if golden.structured and case.schema is not None:
        body = {"name": _schema_name(case.schema, golden.name), "schema": case.schema, "strict": True}
        if golden.api == "chat":
            out.setdefault("response_format", {"type": "json_schema", "json_schema": body})
        else:
            out.setdefault("text", {"format": {"type": "json_schema", **body}})
    return out


def cassette_path(golden: GoldenSet, case: Case, variant: str | None = None) -> Path:
    """Return where the recordings of ``case`` live: ``cassettes/[<variant>/]<case>.yaml``.

    Ids that are no portable file name (or differ from one by case only) get a short hash.
    """
    folder = golden.folder / "cassettes"
    variant = variant or golden.applied
    return (folder / safe_name(variant) if variant else folder) / f"{safe_name(case.id)}.yaml"


def pair_name(candidate: str | None, base: str | None) -> str:
    """Return the name of a concurrent baseline's recordings: no variant has a full stop in its name."""
    return f"{candidate or 'set.yaml'}.vs.{base or 'set.yaml'}"


def beside(golden: GoldenSet, base: str | None, *, candidate: str | None) -> GoldenSet:
    """Return what is asked beside a set: its variant ``base``, recorded apart from what any other run records.

    Args:
        golden: The set as it is.
        base: A variant, None for the set as it is.
        candidate: The variant that the run is about, None for the set as it is.

    Raises:
        GoldenError: The set has no such variant, or it is no prompt that is asked but an application.
    """
    if golden.target:
        raise GoldenError(
            f"is answered by target {golden.target!r}, of which there is only one; a concurrent baseline asks two "
            "prompts: compare with a recorded baseline instead",
            slug="baseline-concurrent",
            file=golden.file,
        )
    return dataclasses.replace(golden.variant(base), applied=pair_name(candidate, base))


def recorded_as(golden: GoldenSet) -> list[str | None]:
    """Return all names that recordings of a set may be kept under: variants, and pairs of them."""
    variants = [None, *golden.variants]
    return [*variants, *(pair_name(a, b) for a in variants for b in variants)]


_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def safe_name(text: str) -> str:
    """Return a file name for ``text`` that every file system takes and that no other text gets."""
    if re.fullmatch(r"[a-z0-9_][a-z0-9._-]{0,79}", text) and not _RESERVED.fullmatch(text) and text[-1] != ".":
        return text
    slug = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip(".-")[:60] or "case"
    return f"{slug}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _schema_name(schema: JSON, default: str) -> str:
    title = schema.get("title") if isinstance(schema, Mapping) else None
    return re.sub(r"[^A-Za-z0-9_-]+", "_", title or default)[:64] or "answer"
