"""How many instructions of Python's own a live call executes: a figure that a busy machine does not change.

It leaves out what runs in C (sockets, JSON, regular expressions), so it is no time; but what is added to a call's
path shows in it, and the ratio to the bare SDK lies near that of processor times on a quiet machine.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import subjects as s

CALLS = 10


def bytecodes(server: s.Server, folder: Path) -> list[dict[str, Any]]:
    """Count per call of each payload: the bare SDK's, and the ratio of a watched and of a recorded call to it."""
    client = s.client(server.url)
    rows = []
    for payload, more in s.PAYLOADS.items():
        bare, watched, recorded = (
            _counted(kind, client, folder / "bytecodes.yaml", more)
            for kind in (s.Bare(), s.Ours("off"), s.Ours("all"))
        )
        rows.append(
            {
                "case": payload,
                "bare": round(bare),
                "watched, more": round(watched - bare),
                "watched ratio": round(watched / bare, 3),
                "recorded, more": round(recorded - bare),
                "recorded ratio": round(recorded / bare, 3),
            }
        )
    client.close()
    return rows


def _counted(kind: Any, client: Any, path: Path, more: dict[str, Any]) -> float:
    path.unlink(missing_ok=True)
    count = 0

    def local(frame: Any, event: str, arg: Any) -> Any:
        nonlocal count
        count += event == "opcode"
        return local

    def trace(frame: Any, event: str, arg: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return local

    with kind.recording(path):
        s.sync_calls(client, range(3), **more)()  # what is done once
        act = s.sync_calls(client, range(10, 10 + CALLS), **more)
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            act()
        finally:
            sys.settrace(before)
    return count / CALLS
