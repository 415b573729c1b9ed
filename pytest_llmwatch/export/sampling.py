"""Which tests' events a sampled log keeps: the same ones wherever they ran, and all that failed."""

from __future__ import annotations

from dataclasses import replace

from pytest_llmwatch.export import ids
from pytest_llmwatch.model import JSON, Call, CaseResult, Report, Run, Span

_Key = tuple[str, int, int]


class Sample:
    """A share of the executions of a run, chosen by what they are; failed ones are all in it.

    An execution failed where its test did, or where one of its calls failed, was retried or broke a policy. Calls
    of no test are chosen one by one.

    Args:
        run: The run.
        share: In [0, 1].
    """

    def __init__(self, run: Run, share: float) -> None:
        self.share = share
        self._failed = {_key(r) for r in run.results if not r.passed}
        self._failed |= {_key(c) for c in run.calls if _bad(c)}
        self._failed |= {_key(s) for s in run.spans if s.error is not None}

    def keeps(self, record: Call | CaseResult | Span) -> bool:
        """Return whether the events of ``record`` are kept."""
        return self.share >= 1 or self.failed(record) or self._chosen(record)

    def failed(self, record: Call | CaseResult | Span) -> bool:
        """Return whether the execution of ``record`` failed."""
        return _key(record) in self._failed

    def note(self, record: Call | CaseResult | Span) -> dict[str, JSON]:
        """Return the field that tells a reader by what to weigh a line, none where it stands for itself."""
        return {} if self.share >= 1 or self.failed(record) else {"sample_share": self.share}

    def _chosen(self, record: Call | CaseResult | Span) -> bool:
        return int(ids.digest("sample", *_key(record), length=13), 16) < self.share * 16**13


def thinned(source: Report | Run, share: float) -> Report | Run:
    """Return ``source`` with the calls, spans and results that a sample of ``share`` keeps; see `Sample`."""
    if share >= 1:
        return source
    run = source.run if isinstance(source, Report) else source
    sample = Sample(run, share)
    kept = replace(
        run,
        calls=tuple(filter(sample.keeps, run.calls)),
        spans=tuple(filter(sample.keeps, run.spans)),
        results=tuple(filter(sample.keeps, run.results)),
    )
    return replace(source, run=kept) if isinstance(source, Report) else kept


def _bad(call: Call) -> bool:
    return call.failed or call.retries > 0 or call.valid_schema is False or call.policy_ok is False


def _key(record: Call | CaseResult | Span) -> _Key:
    own = record.nodeid or (record.trace_id or record.id if not isinstance(record, CaseResult) else "")
    return (own, record.repeat, record.attempt)
