"""The measurements: each returns rows of figures, made in interleaved rounds."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import subjects as s


def live(server: s.Server, folder: Path, *, rounds: int, calls: int) -> list[dict[str, Any]]:
    """Processor time per live call of each payload, sync and async, beside the bare SDK.

    ``watched`` is a live run (nothing is written), ``recorded`` one that records. What a cassette costs when the
    test ends is in ``saved``, apart, per call: redacted there, searched, written.
    """
    kinds: list[Any] = [s.Bare(), s.Ours("off"), s.Ours("all"), s.Stock()]
    labels = ["bare", "watched", "recorded", "vcrpy"]
    rows = []
    for payload, more in s.PAYLOADS.items():
        for asynchronous in (False, True):
            seconds: dict[str, list[float]] = {label: [] for label in labels}
            saved: dict[str, list[float]] = {label: [] for label in labels}
            for number in range(rounds + 1):
                for place in random.sample(range(len(kinds)), len(kinds)):
                    path = folder / "live.yaml"
                    path.unlink(missing_ok=True)
                    spent, save = _one(server, kinds[place], path, calls, asynchronous=asynchronous, more=more)
                    if number:
                        seconds[labels[place]].append(spent / calls)
                        saved[labels[place]].append(save / calls)
            row = {"case": payload + (", async" if asynchronous else ", sync")}
            row |= {label: statistics.median(seconds[label]) for label in labels}
            row |= {f"{label} ratio": ratio(seconds[label], seconds["bare"]) for label in labels[1:]}
            row |= {f"{label} saved": statistics.median(saved[label]) for label in labels[2:]}
            rows.append(row)
    return rows


def _one(
    server: s.Server, kind: Any, path: Path, calls: int, *, asynchronous: bool, more: dict[str, Any]
) -> tuple[float, float]:
    """Return the processor seconds of ``calls`` calls, and those of what comes after the last."""
    loop = asyncio.new_event_loop()
    made = s.async_client(server.url) if asynchronous else s.client(server.url)
    with kind.recording(path):
        numbers = range(1, calls + 1)
        if asynchronous:
            warm, act = s.async_calls(loop, made, range(1), **more), s.async_calls(loop, made, numbers, **more)
        else:
            warm, act = s.sync_calls(made, range(1), **more), s.sync_calls(made, numbers, **more)
        warm()
        gc.collect()
        spent = s.cpu(act)
        start = time.process_time()
    save = time.process_time() - start
    if asynchronous:
        loop.run_until_complete(made.close())
    else:
        made.close()
    loop.close()
    return spent, save


def replay(
    server: s.Server, folder: Path, *, rounds: int, sizes: Sequence[int], ends: int = 10
) -> list[dict[str, Any]]:
    """Processor time per replayed call at the end of cassettes of growing size, and what loading them costs.

    ``ends`` calls are replayed that stand last in the file. Ours parses a recording when it is played; the price
    of that is in its call. ``load`` is until a cassette can be asked, ``parse`` until all of it is parsed.
    """
    rows = []
    bare = s.client(server.url)
    for size in sizes:
        files = {"ours": folder / f"ours{size}.yaml", "vcrpy": folder / f"vcrpy{size}.yaml"}
        kinds: dict[str, Any] = {"ours": s.Ours("all"), "vcrpy": s.Stock()}
        for name, kind in kinds.items():
            with kind.recording(files[name]):
                s.sync_calls(bare, range(size))()
        found: dict[str, list[float]] = {}
        for number in range(rounds + 1):
            for name in random.sample(list(kinds), 2):
                figures = _played(bare, kinds[name], files[name], size, min(ends, size - 1))
                for key, value in figures.items() if number else ():
                    found.setdefault(f"{name} {key}", []).append(value)
        row: dict[str, Any] = {"size": size}
        for key in ("replayed", "load", "parse"):
            row |= {f"{name} {key}": statistics.median(found[f"{name} {key}"]) for name in kinds}
            row[f"{key} ratio"] = ratio(found[f"vcrpy {key}"], found[f"ours {key}"])
        rows.append(row)
    bare.close()
    return rows


def _played(bare: Any, kind: Any, path: Path, size: int, ends: int) -> dict[str, float]:
    gc.collect()
    with kind.replaying(path):
        s.sync_calls(bare, range(1))()
        spent = s.cpu(s.sync_calls(bare, range(size - ends, size))) / ends
    held: list[int] = []
    gc.collect()
    load = s.cpu(lambda: held.append(kind.load(path)))
    gc.collect()
    parse = s.cpu(lambda: held.append(kind.parse(path)))
    if held != [size, size]:
        raise SystemExit(f"a cassette of {size} recordings holds {held}")
    return {"replayed": spent, "load": load, "parse": parse}


def first_token(server: s.Server, folder: Path, *, calls: int) -> list[dict[str, Any]]:
    """Error of the time to first token while recording, against the server's own clock.

    The server's time is from the request's arrival to its first event. Ours is what the record says; of the bare
    SDK and of vcrpy, what an application measures around its call. A bare client with its clock where ours is,
    from the request's first byte to the first chunk, shows what no client can know: how long its event loop let
    it wait.
    """
    rows = []
    for width in (1, 20):
        kinds: dict[str, Any] = {
            "bare SDK": s.Bare(),
            "bare SDK, clock at its transport": s.Bare(),
            "pytest-llmwatch": s.Ours("all"),
            "vcrpy": s.Stock(),
        }
        asyncio.run(_streams(server, [s.asked(10**6, max_tokens=5, stream=True)], 1))  # imports half of the SDK
        for name, kind in kinds.items():
            path = folder / "ttft.yaml"
            path.unlink(missing_ok=True)
            made = [
                s.asked(n, max_tokens=20, seed=100 + n % 50, top_logprobs=8, stream=True) for n in range(calls)
            ]
            server.journal()
            clocked: dict[str, float] | None = {} if "transport" in name else None
            with kind.recording(path) as watch:
                measured = asyncio.run(_streams(server, made, width, clocked))
            if clocked is not None:
                measured = [clocked[s.prompt(a)] for a in made]
            clock = server.journal()
            truth = [wrote - arrived for arrived, wrote in (clock[s.prompt(a)] for a in made)]
            if name == "pytest-llmwatch":
                by_prompt = {c.input.splitlines()[-1].removeprefix("user: "): c.ttft for c in watch.calls}
                measured = [next(t for p, t in by_prompt.items() if s.prompt(a) in p) for a in made]
            errors = [m - t for m, t in zip(measured, truth, strict=True)]
            rows.append(
                {
                    "case": f"{width} at once",
                    "subject": name,
                    "server": statistics.median(truth),
                    "error": statistics.median(errors),
                    "worst": max(errors, key=abs),
                    "share": statistics.median(abs(e) / t for e, t in zip(errors, truth, strict=True)),
                }
            )
    return rows


async def _streams(
    server: s.Server, made: list[dict[str, Any]], width: int, clocked: dict[str, float] | None = None
) -> list[float]:
    gate = asyncio.Semaphore(width)
    async with s.async_client(server.url, clocked) as openai_client:

        async def one(arguments: dict[str, Any]) -> float:
            async with gate:
                start = time.perf_counter()
                return (await s.acall(openai_client, arguments))[1] - start

        return list(await asyncio.gather(*(one(a) for a in made)))


def concurrent(server: s.Server, folder: Path, *, calls: int) -> list[dict[str, Any]]:
    """Record ``calls`` asynchronous calls at once, then replay them at once: what is lost or out of order."""
    rows = []
    for kind in (s.Ours("all"), s.Stock()):
        path = folder / f"gather-{kind.name}.yaml"
        made = [s.asked(n, max_tokens=5, seed=20 + n % 30) for n in range(calls)]
        start = time.process_time()
        with kind.recording(path) as held:
            live_texts = asyncio.run(_gather(server, made))
        spent = time.process_time() - start
        row: dict[str, Any] = {"subject": kind.name, "asked": calls, "cpu": spent}
        if isinstance(kind, s.Ours):
            ids = {c.id for c in held.calls}
            row["records"] = len(held.calls)
            row["ids"] = len(ids)
            row["in order"] = [c.index for c in held.calls] == list(range(calls))
        row["in the cassette"] = kind.load(path)
        start = time.process_time()
        with kind.replaying(path) as held:
            texts = asyncio.run(_gather(server, made))
        row["replay cpu"] = time.process_time() - start
        row["replayed equal"] = sum(a == b for a, b in zip(live_texts, texts, strict=True))
        if isinstance(kind, s.Ours):
            row["same ids"] = {c.id for c in held.calls} == ids
            row["replays"] = sum(c.capture_mode == "replayed" for c in held.calls)
        rows.append(row)
    return rows


async def _gather(server: s.Server, made: list[dict[str, Any]]) -> list[str]:
    async with s.async_client(server.url) as openai_client:
        found = await asyncio.gather(*(s.acall(openai_client, a) for a in made))
    return [text for text, _ in found]


def memory(server: s.Server, folder: Path, *, sizes: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """Memory, in kB per call, that watching, recording, loading and replaying so many calls adds.

    Each is resident memory of a process of its own; ``traced`` is what Python's allocator has handed out. Stock
    vcrpy looks through all that it recorded at each call: beyond 1,000 it is left out.
    """
    rows = []
    for calls in sizes:
        found: dict[str, list[float]] = {}
        for _ in range(rounds):
            for name in ("Bare", "Ours") if calls > 1000 else ("Bare", "Ours", "Stock"):
                path = folder / f"memory-{name}.yaml"
                path.unlink(missing_ok=True)
                acts = {"Bare": ("record",), "Ours": ("watch", "record", "traced", "load", "replay")}
                for act in acts.get(name, ("record", "load", "replay")):
                    command = [sys.executable, __file__, act, name, server.url, str(path), str(calls)]
                    done = subprocess.run(command, check=True, capture_output=True, text=True)
                    found.setdefault(f"{act} {name}", []).append(float(done.stdout) / 1e3 / calls)
        rows.append({"calls": calls, **{key: statistics.median(values) for key, values in found.items()}})
    return rows


def _resident() -> int:
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _memory_child(act: str, name: str, url: str, path: str, calls: str) -> None:
    """Print how many bytes the process grew, the first call's imports and buffers apart."""
    kind: Any = {"Bare": s.Bare, "Ours": s.Ours, "Stock": s.Stock}[name]()
    if act == "watch":
        kind = s.Ours("off")
    count, file = int(calls), Path(path)
    openai_client = s.client(url)
    if act == "load":
        from vcr.cassette import Cassette

        from pytest_llmwatch.capture import cassette_file

        if name == "Ours":
            from pytest_llmwatch.redact import Redactor

            redactor = Redactor()
            before = _resident()
            held: Any = cassette_file.CassetteFile(file, "file", redactor)
        else:
            before = _resident()
            held = Cassette.load(path=str(file))
        print(_resident() - before)
        del held
        return
    warm = file.with_name("warm-" + file.name)
    with kind.recording(warm):
        s.sync_calls(openai_client, range(3))()
    with kind.replaying(warm) if act == "replay" else kind.recording(warm):
        s.sync_calls(openai_client, range(3))()
    if act == "traced":
        file.unlink(missing_ok=True)
        tracemalloc.start()
    before = _resident()
    with kind.replaying(file) if act == "replay" else kind.recording(file) as held:
        s.sync_calls(openai_client, range(count))()
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] if act == "traced" else _resident() - before
        del held
    print(grown)


def ratio(these: list[float], those: list[float]) -> float:
    """Return the median of the ratios within a round."""
    return statistics.median(a / b for a, b in zip(these, those, strict=True))


if __name__ == "__main__":
    acts: Callable[..., None] = _memory_child
    acts(*sys.argv[1:])
