"""Scoring of stored answers: a stream of lines in, one line out for each, in the same order and in flat memory."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmwatch import pipeline_score_repeats as repeats
from pytest_llmwatch.errors import RecordsError, UsageError
from pytest_llmwatch.model import JSON, Evidence, Score, ScorerSpec
from pytest_llmwatch.records_calls import dump_line
from pytest_llmwatch.records_scored import Answer, AnswerReader

if TYPE_CHECKING:
    from pytest_llmwatch.scorers.run import Prepared

_WITHOUT_ANSWER = frozenset(
    {
        *("refusal", "guardrail", "finish_reason", "tool_calls", "tool_used", "tool_sequence", "tool_schema"),
        *("step_count", "context_precision", "context_recall", "context_hit_rate", "context_mrr", "context_ndcg"),
    }
)
"""Scorers that judge what came with an answer, and so have something to say where no answer came."""

NO_ANSWER = "The record holds no answer."
JUDGING = "A judge was asked here, not the application: there is no answer of it to score."


@dataclass(frozen=True, slots=True)
class Job:
    """What a scoring process starts from; it crosses to worker processes.

    ``scorers`` None means all that apply. ``options`` are ``(scorer, option, value)``.
    """

    file: str
    scorers: tuple[str, ...] | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    options: tuple[tuple[str, str, JSON], ...] = ()
    golden: str | None = None
    budget: str | None = None
    schema: str | None = None
    strict: bool = False


@dataclass(slots=True)
class Tally:
    """What happened to some lines: how many were scored, which were bad, what to tell once, and sums by scorer."""

    lines: int = 0
    bad: int = 0
    judging: int = 0
    """Lines that are calls of judges, which were not scored."""
    errors: list[str] = field(default_factory=list)
    """Messages of bad lines, at most `MAX_ERRORS`."""
    notes: dict[str, str] = field(default_factory=dict)
    values: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    silent: Counter[str] = field(default_factory=Counter)
    """Scores without a value, by scorer."""
    crashed: Counter[str] = field(default_factory=Counter)
    crash: dict[str, str] = field(default_factory=dict)
    """Scorer -> what its first crash said."""

    def add(self, more: Tally) -> None:
        """Take in the tally of further lines."""
        self.lines += more.lines
        self.bad += more.bad
        self.judging += more.judging
        self.errors += more.errors[: MAX_ERRORS - len(self.errors)]
        for ours, theirs in ((self.notes, more.notes), (self.crash, more.crash)):
            for key, note in theirs.items():
                ours.setdefault(key, note)
        for mine, other in (
            (self.values, more.values),
            (self.counts, more.counts),
            (self.silent, more.silent),
            (self.crashed, more.crashed),
        ):
            mine.update(other)


MAX_ERRORS = 20


class LineScorer:
    """Scores lines in one process. Built once a process from a `Job`."""

    def __init__(self, job: Job) -> None:
        """Load extensions, golden set, schema, and check every scorer and option.

        Raises:
            UsageError: One of them cannot be used.
        """
        from pytest_llmwatch import pipeline
        from pytest_llmwatch.scorers.run import Prepared

        self._job = job
        setup = pipeline.load_setup(Path(job.budget) if job.budget else None, job.budget, golden=_roots(job))
        golden = pipeline.load_golden(_set_file(job.golden)) if job.golden else None
        specs = _specs(job, golden.scorers if golden is not None else ())
        weights = (golden.weights if golden is not None else None) or setup.budget.weights or None
        self._prepared: Prepared | None = None if specs is None else Prepared(specs, weights)
        self._weights: Mapping[str, float] | None = weights
        cases = {c.id: c for c in golden.cases} if golden is not None else {}
        schema = golden.schema if golden is not None else None
        self._reader = AnswerReader(
            job.file,
            rename=job.rename,
            cases={i: dataclasses.replace(c, schema=schema) if c.schema is None else c for i, c in cases.items()},
            schema=_schema(job.schema) if job.schema else schema,
            grouped=specs is not None and any(s.name == "consistency" for s in specs),
        )
        self._known: dict[tuple[str, ...], Prepared] = {}
        """Which scorers apply together -> the same, looked up."""

    def chunk(self, lines: Iterable[tuple[int, bytes]]) -> tuple[bytes, Tally]:
        """Return the output lines of some input lines, and what happened.

        Raises:
            RecordsError: A line is bad and the job is strict.
        """
        tally = Tally()
        rows = [self._line(number, raw, tally) for number, raw in lines]
        repeats.compare([row for row in rows if isinstance(row, repeats.Scored)])
        out = [row if isinstance(row, str) else self._shown(row, tally) for row in rows]
        tally.notes = self._reader.notes
        return "".join(out).encode("utf-8"), tally

    @property
    def group(self) -> Callable[[tuple[int, bytes]], str | None] | None:
        """What tells the repeats of one case by their lines; None where no scorer compares repeats."""
        if not self._reader.grouped:
            return None

        def key(line: tuple[int, bytes]) -> str | None:
            try:
                return self._reader.parse(line[1], line[0]).group
            except RecordsError:
                return None

        return key

    def _line(self, number: int, raw: bytes, tally: Tally) -> str | repeats.Scored:
        tally.lines += 1
        try:
            if not raw:
                raise RecordsError(
                    f"is longer than {MAX_LINE:,} bytes", slug="records-long", file=self._job.file, line=number
                )
            answer = self._reader.parse(raw, number)
        except RecordsError as error:
            if self._job.strict:
                raise
            tally.bad += 1
            if len(tally.errors) < MAX_ERRORS:
                tally.errors.append(str(error))
            return self._bad(number, error.message)
        if answer.judging:
            tally.judging += 1
            return self._judging(answer)
        scores = list(self._scores(answer))
        return repeats.Scored(number, answer.id, answer.output.text, answer.group, answer.sample, scores)

    def _shown(self, row: repeats.Scored, tally: Tally) -> str:
        for score in row.scores:
            self._count(score, row.number, tally)
        return dump_line({"id": row.id, "scores": {s.name: _shown(s) for s in row.scores}})

    def _judging(self, answer: Answer) -> str:
        said: dict[str, JSON] = {
            "value": None,
            "label": "not_assessable",
            "explanation": JUDGING,
            "evidence": [],
        }
        names = self._prepared.names if self._prepared is not None else ()
        return dump_line({"id": answer.id, "scores": dict.fromkeys(names, said)})

    def _scores(self, answer: Answer) -> Sequence[Score]:
        from pytest_llmwatch.scorers.run import Prepared, applicable

        if self._prepared is not None:
            if answer.answered:
                return self._prepared.score(answer.output, answer.case)
            return self._without_answer(self._prepared, answer)
        specs = applicable(answer.output, answer.case)
        if not answer.answered:
            specs = tuple(s for s in specs if s.name in _WITHOUT_ANSWER and s.name != "tool_calls")
        names = tuple(s.name for s in specs)
        if names not in self._known:
            self._known[names] = Prepared(specs, self._weights, all_that_apply=True)
        return self._known[names].score(answer.output, answer.case)

    def _without_answer(self, prepared: Prepared, answer: Answer) -> list[Score]:
        """Nobody answered: that is missing data, and no score of 0."""
        out: list[Score] = []
        for spec in prepared.specs:
            if spec.name in _WITHOUT_ANSWER:
                out.extend(type(prepared)((spec,), self._weights).score(answer.output, answer.case))
            else:
                name = spec.label or spec.name
                out.append(Score(name, None, label="not_assessable", explanation=NO_ANSWER))
        return out

    def _bad(self, number: int, message: str) -> str:
        said: dict[str, JSON] = {
            "value": None,
            "label": "error",
            "explanation": f"The line {message}.",
            "evidence": [],
        }
        names = self._prepared.names if self._prepared is not None else ()
        return dump_line({"id": number, "scores": dict.fromkeys(names, said), "error": f"line {number} {message}"})

    def _count(self, score: Score, number: int, tally: Tally) -> None:
        if score.value is not None:
            tally.values[score.name] += score.value  # type: ignore[assignment]
            tally.counts[score.name] += 1
        elif score.label == "error":
            tally.crashed[score.name] += 1
            tally.crash.setdefault(score.name, f"line {number}: {score.explanation}")
        else:
            tally.silent[score.name] += 1


def _shown(score: Score) -> dict[str, Any]:
    return {
        "value": score.value,
        "label": score.label,
        "explanation": score.explanation,
        "evidence": [_evidence(e) for e in score.evidence],
    }


def _evidence(evidence: Evidence) -> dict[str, Any]:
    out: dict[str, Any] = {"kind": evidence.kind, "text": evidence.text, "where": evidence.where}
    if evidence.start is not None:
        out["start"], out["end"] = evidence.start, evidence.end
    if evidence.document is not None:
        out["document"] = evidence.document
    if evidence.note is not None:
        out["note"] = evidence.note
    return out


# what a job asks for ----------------------------------------------------------------------------------------


def _roots(job: Job) -> list[Path]:
    return [_set_file(job.golden).parent.parent] if job.golden else [Path("golden_sets")]


def _set_file(given: str) -> Path:
    path = Path(given)
    return path if path.suffix in (".yaml", ".yml") else path / "set.yaml"


def _schema(path: str) -> JSON:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot be read as a JSON Schema ({why})", slug="score-schema", file=path) from error


def _specs(job: Job, listed: Sequence[ScorerSpec]) -> tuple[ScorerSpec, ...] | None:
    """Return the scorers to use: those named (by scorer or label), as the golden set lists them where it does.

    Raises:
        UsageError: A scorer is not known, or an option is wrong.
    """
    from pytest_llmwatch.scorers import validate

    specs: list[ScorerSpec] = []
    if job.scorers is None:
        specs = list(listed)
    for name in job.scorers or ():
        found = [s for s in listed if s.label == name] or [s for s in listed if s.name == name]
        specs.extend(found or [ScorerSpec(name)])
    for name, option, value in job.options:
        places = [i for i, s in enumerate(specs) if name in (s.label, s.name)]
        if not places:
            specs.append(ScorerSpec(name))
            places = [len(specs) - 1]
        for i in places:
            specs[i] = dataclasses.replace(specs[i], options={**specs[i].options, option: value})
    for spec in specs:
        validate(spec)
    return tuple(specs) if specs or job.scorers is not None else None


# lines and chunks -------------------------------------------------------------------------------------------

MAX_LINE = 256 * 1024 * 1024
"""Bytes that a line may have; a longer one is no log line, and is passed over without being held."""

_CHUNK_LINES = 512
_CHUNK_BYTES = 2 * 1024 * 1024


def numbered(file: Any, longest: int = MAX_LINE) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of an open binary file with their numbers, blank ones left out; too long ones are empty."""
    number = 0
    while raw := file.readline(longest + 1):
        number += 1
        if len(raw) > longest and not raw.endswith(b"\n"):
            while (rest := file.readline(longest)) and not rest.endswith(b"\n"):
                pass
            yield number, b""
        elif not raw.isspace():
            yield number, raw


def chunks(lines: Iterable[tuple[int, bytes]], size: int = _CHUNK_LINES) -> Iterator[list[tuple[int, bytes]]]:
    """Yield lines in lists of at most ``size`` lines, fewer where lines are long."""
    held: list[tuple[int, bytes]] = []
    room = _CHUNK_BYTES
    for line in lines:
        held.append(line)
        room -= len(line[1])
        if len(held) >= size or room <= 0:
            yield held
            held, room = [], _CHUNK_BYTES
    if held:
        yield held


def score_stream(
    job: Job,
    lines: Iterable[tuple[int, bytes]],
    write: Callable[[bytes, Tally], None],
    *,
    jobs: int = 1,
    size: int,
) -> Tally:
    """Score lines and hand the output on in order.

    Args:
        job: What to score by.
        lines: Numbered lines, see `numbered`.
        write: Takes the output lines of a chunk, and the tally of all lines so far.
        jobs: Processes to score in; 1 scores in this one.
        size: Lines of a chunk.

    Raises:
        LlmwatchError: The job cannot be done, or a line is bad and the job is strict.
    """
    total = Tally()
    scorer = LineScorer(job)  # here too with workers: a wrong job is refused before any is started
    key = scorer.group
    parts = chunks(lines, size) if key is None else repeats.together(lines, key, size, _CHUNK_BYTES)
    if jobs == 1:
        results: Iterable[tuple[bytes, Tally]] = map(scorer.chunk, parts)
    else:
        from pytest_llmwatch.pipeline_score_workers import scored

        results = scored(job, parts, jobs)
    for data, tally in results:
        total.add(tally)
        write(data, total)
    return total
