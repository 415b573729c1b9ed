"""What a missing recording says: which call, how it differs from the closest recording, and how to record it."""

from __future__ import annotations

import re
from typing import Any

from pytest_llmwatch.capture import fingerprint as fp
from pytest_llmwatch.capture.cassette import CassetteHandle, Closest
from pytest_llmwatch.capture.watch import Watch
from pytest_llmwatch.errors import MissingRecording

_SHOWN = 6
_INNER = re.compile(r"^\$\.body\b")


def missing_recording(
    watch: Watch, handle: CassetteHandle | None, form: dict[str, Any], labels: dict[str, str]
) -> MissingRecording:
    """Return the error for a request that has no recording."""
    body = form.get("body")
    model = body.get("model") if isinstance(body, dict) else None
    said = [f"model {model or 'unknown'}", f"prompt version {labels.get('prompt_version') or 'not given'}"]
    case = watch.case
    if case is not None:
        said.append(f"case {case.id}" + (f" of set {case.set}" if case.set else ""))
    if labels.get("variant"):
        said.append(f"variant {labels['variant']}")
    said.append(f"repeat {watch.repeat}" + (f", rerun {watch.attempt}" if watch.attempt else ""))
    lines = [f"no recording for {form['method']} {form['path']} in {watch.nodeid} ({', '.join(said)})."]
    if handle is None:
        lines.append("This test has no cassette.")
    else:
        lines += _closest(handle, form)
    lines.append(f"Record it with: {watch.rerun_hint}")
    return MissingRecording("\n".join(lines), slug="missing-recording", file=handle.display if handle else None)


def _closest(handle: CassetteHandle, form: dict[str, Any]) -> list[str]:
    found = handle.closest(form)
    if found is None:
        return ["The cassette is empty." if handle.existed else "The cassette does not exist yet."]
    differences = fp.differences(found.form, form)
    if not differences:
        return [_same_request(handle, found)]
    if found.form.get("path") != form.get("path"):
        return [
            f"The cassette holds {_count(found.count)}, none of a call to {form['path']}; "
            f"the closest is of {found.form.get('path')}."
        ]
    others = f" ({found.equals} more in as many places)" if found.equals else ""
    when = found.item.timing.get("time")
    made = f", made {when}" if when else ""
    lines = [f"The closest of {_count(found.count)} is number {found.number}{made}{others}; it differs in:"]
    lines += [f"  {_said(d)}" for d in differences[:_SHOWN]]
    if len(differences) > _SHOWN:
        lines.append(f"  and {len(differences) - _SHOWN} more")
    return lines


def _same_request(handle: CassetteHandle, found: Closest) -> str:
    repeat, attempt = found.item.place
    if (repeat, attempt) in ((handle.repeat, handle.attempt), (handle.repeat, 0)):
        return (
            "Every recording of this very request was already played: the test makes it more often than when it "
            f"was recorded ({_count(found.count)} in the cassette; none is played twice)."
        )
    return (
        f"The cassette holds this very request only for repeat {repeat}; this is repeat {handle.repeat}, and each "
        "repeat has recordings of its own."
    )


def _count(number: int) -> str:
    return f"{number} recording{'s' * (number != 1)}"


def _said(d: fp.Difference) -> str:
    # the canonical form nests the body; people think of the request's own JSON
    path = _INNER.sub("$", d.path)
    if d.recorded is None:
        return f"{path}: not in the recording, asked {_quoted(d.asked)}"
    if d.asked is None:
        return f"{path}: recorded {_quoted(d.recorded)}, not asked now"
    return f"{path}: recorded {_quoted(d.recorded)}, asked {_quoted(d.asked)}"


def _quoted(value: str | None) -> str:
    return f"«{value}»"
