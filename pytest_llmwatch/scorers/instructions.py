"""Verifiable instructions: did the answer keep to what was asked of its form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.instruction_kinds import KINDS, RELATIONS, Kind
from pytest_llmwatch.scorers.options import KINDS as VALUES
from pytest_llmwatch.scorers.options import nearest, option

ID_KEY = "instruction_id_list"
ARGUMENTS_KEY = "kwargs"
"""Keys of a case's ``metadata`` that hold its own instructions, named as in IFEval's files."""

_MAX_CHARS = 1_000_000


@dataclass(frozen=True, slots=True)
class Instructions(Base):
    """Share of the verifiable instructions that the answer follows: IFEval's 25 kinds, by its ids and arguments.

    ``follow`` lists them: an id alone, or ``{id: {argument: value}}``. Without it they are the case's own,
    ``metadata.instruction_id_list`` and ``metadata.kwargs`` as in IFEval's files. ``loose`` also takes the answer
    without its first line, its last line and its asterisks (IFEval's loose accuracy). ``all`` makes it 1 or 0.

    Raises:
        ValueError: No such kind, an argument that it does not take, lacks, or a wrong value.
    """

    name = "instructions"

    follow: Any = option("any")  # noqa: RUF009
    loose: bool = option("flag", False)
    all: bool = option("flag", False)

    def __post_init__(self) -> None:
        if self.follow is not None:
            wanted = list(_listed(self.follow))
            if not wanted:
                raise ValueError("follow must name at least one instruction")

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether there are instructions."""
        return self.follow is not None or bool(case.metadata.get(ID_KEY))

    def score(self, output: Output, case: Case) -> Score:
        """Check each instruction; those that were not followed are evidence, with what was seen.

        Raises:
            ValueError: The case's own instructions are wrong.
        """
        wanted = list(_listed(self.follow) if self.follow is not None else _of_case(case))
        if not wanted:
            return self.not_assessable(f"The case has no instructions (metadata.{ID_KEY}).")
        text = output.text
        if len(text) > _MAX_CHARS:
            return self.not_assessable(f"The answer has more than {_MAX_CHARS:,} characters.")
        evidence = []
        for id_, arguments in wanted:
            followed, said = _checked(KINDS[id_], text, arguments, self.loose)
            if not followed:
                evidence.append(Evidence("not_followed", id_, where="item", note=said[:300]))
        n = len(wanted)
        right = n - len(evidence)
        value = float(right == n) if self.all else right / n
        first = f"; {evidence[0].text}: {evidence[0].note}" if evidence else ""
        return self.result(value, f"Follows {right} of {n} instruction{'s' if n != 1 else ''}{first}.", evidence)


def _checked(kind: Kind, text: str, arguments: Mapping[str, Any], loose: bool) -> tuple[bool, str]:
    """Check one instruction; an empty answer follows none."""
    first: tuple[bool, str] | None = None
    for variant in _loosened(text) if loose else (text,):
        followed, said = kind.check(variant, arguments) if variant.strip() else (False, "the answer is empty")
        first = first or (followed, said)
        if followed:
            return True, said
    assert first is not None
    return first


def _loosened(text: str) -> Iterator[str]:
    """Yield the eight variants of IFEval's loose accuracy, the text as it is first."""
    lines = text.split("\n")
    for cut in (lines, lines[1:], lines[:-1], lines[1:-1]):
        body = "\n".join(cut) if cut is lines else "\n".join(cut).strip()
        yield body
        yield body.replace("*", "")


def _of_case(case: Case) -> Iterator[tuple[str, Mapping[str, Any]]]:
    ids = case.metadata.get(ID_KEY) or []
    given = case.metadata.get(ARGUMENTS_KEY)
    arguments = given if given is not None else [{}] * len(ids) if isinstance(ids, list) else []
    if not isinstance(ids, list) or not isinstance(arguments, list) or len(ids) != len(arguments):
        raise ValueError(f"metadata.{ID_KEY} and metadata.{ARGUMENTS_KEY} must be lists of the same length")
    for id_, one in zip(ids, arguments, strict=True):
        yield _valid(id_, one)


def _listed(given: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    items: Iterable[Any] = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    for item in items:
        if isinstance(item, Mapping):
            for id_, arguments in item.items():
                yield _valid(id_, arguments)
        else:
            yield _valid(item, None)


def _valid(id_: Any, arguments: Any) -> tuple[str, Mapping[str, Any]]:
    kind = KINDS.get(id_) if isinstance(id_, str) else None
    if kind is None:
        raise ValueError(f"unknown instruction {id_!r:.100}{nearest(str(id_), KINDS)}; known: {', '.join(KINDS)}")
    if arguments is not None and not isinstance(arguments, Mapping):
        raise ValueError(f"the arguments of {id_} must be a mapping (got {arguments!r:.100})")
    # other copies of the data set give every argument there is, those of other kinds as null
    given = {key: value for key, value in (arguments or {}).items() if value is not None}
    for key in given:
        if key not in kind.takes:
            takes = ", ".join(kind.takes) or "no arguments"
            raise ValueError(f"unknown argument {key!r} of {id_}{nearest(str(key), kind.takes)}; it takes {takes}")
    for key, what in kind.takes.items():
        if key in given:
            _check(id_, key, what.removesuffix("?"), given[key])
        elif not what.endswith("?"):
            raise ValueError(f"{id_} needs the argument {key!r}")
    return str(id_), given


def _check(id_: str, key: str, what: str, value: Any) -> None:
    if what == "relation":
        said, right = f"one of {', '.join(RELATIONS)}", value in RELATIONS if isinstance(value, str) else False
    elif what == "letter":
        said, right = "one character", isinstance(value, str) and len(value.strip()) == 1
    else:
        said, fits = VALUES[what]
        right = fits(value) and (what != "text" or bool(value.strip()))
        if what == "texts" and isinstance(value, str):
            said, right = "a list of texts", False  # else its letters would be the words
    if not right:
        raise ValueError(f"{key} of {id_} must be {said} (got {value!r:.100})")
