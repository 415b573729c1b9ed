"""What a missing recording says: which call, how it differs from the closest recording, and how to record it."""

from __future__ import annotations

from typing import Any

from pytest_llmwatch.capture import fingerprint as fp
from pytest_llmwatch.capture.cassette import CassetteHandle
from pytest_llmwatch.capture.watch import Watch
from pytest_llmwatch.errors import MissingRecording

_SHOWN = 5


def missing_recording(
    watch: Watch, handle: CassetteHandle | None, form: dict[str, Any], labels: dict[str, str]
) -> MissingRecording:
    """Return the error for a request that has no recording."""
    body = form.get("body")
    model = body.get("model") if isinstance(body, dict) else None
    version = labels.get("prompt_version")
    lines = [
        f"no recording for {form['method']} {form['path']} in {watch.nodeid}"
        f" (model {model or 'unknown'}, prompt version {version or 'not given'}, repeat {watch.repeat})."
    ]
    if handle is None:
        lines.append("This test has no cassette.")
    else:
        lines += _closest(handle, form)
    lines.append(f"Record it with: {watch.rerun_hint}")
    return MissingRecording("\n".join(lines), slug="missing-recording", file=handle.display if handle else None)


def _closest(handle: CassetteHandle, form: dict[str, Any]) -> list[str]:
    found = handle.closest(form)
    if found is None:
        return ["The cassette does not exist or is empty."]
    recorded, count = found
    differences = fp.differences(recorded, form)
    if not differences:
        return [
            "Every recording of this very request was already played, or belongs to another repeat "
            f"(this is repeat {handle.repeat}, the file holds {count} recordings)."
        ]
    lines = [f"The closest of {count} recordings differs in:"]
    for d in differences[:_SHOWN]:
        # the canonical form nests the body; people think of the request's own JSON
        path = d.path.replace("$.body", "$", 1)
        lines.append(f"  {path}: recorded {_quoted(d.recorded)}, asked {_quoted(d.asked)}")
    if len(differences) > _SHOWN:
        lines.append(f"  and {len(differences) - _SHOWN} more")
    return lines


def _quoted(value: str | None) -> str:
    return "nothing" if value is None else f"«{value}»"
