"""Scoring in several processes: chunks out in order, few in flight, nothing left behind."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from typing import Any

from pytest_llmwatch.errors import InfrastructureError, LlmwatchError
from pytest_llmwatch.pipeline_score import Job, LineScorer, Tally

_AHEAD = 2
"""Chunks a process that are read, being scored or waiting to be written."""

Lines = list[tuple[int, bytes]]


def _serve(job: Job, pipe: Connection) -> None:
    """Score the chunks that come until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        scorer = LineScorer(job)
        while True:
            chunk: Lines | None = pipe.recv()
            if chunk is None:
                return
            try:
                pipe.send(scorer.chunk(chunk))
            except LlmwatchError as error:
                pipe.send(error)
    except (EOFError, OSError):
        return  # the parent is gone


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Ignore Ctrl-C, so that a process started now does too: this one alone decides what it means."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def scored(job: Job, chunks: Iterable[Lines], jobs: int) -> Iterator[tuple[bytes, Tally]]:
    """Yield what `LineScorer.chunk` returns for each chunk, in order, scored by ``jobs`` processes.

    Processes are started afresh (``spawn``), so that no lock or thread of this one is copied into them.

    Raises:
        LlmwatchError: What a process raised, or a process died.
    """
    context = multiprocessing.get_context("spawn")
    idle: SimpleQueue[Connection] = SimpleQueue()
    processes: list[BaseProcess] = []
    pipes: list[Connection] = []
    threads = ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="llmwatch-score")
    try:
        for _ in range(jobs):
            ours, theirs = context.Pipe()
            process: BaseProcess = context.Process(target=_serve, args=(job, theirs), daemon=True)
            with _deaf():
                process.start()
            theirs.close()
            processes.append(process)
            pipes.append(ours)
            idle.put(ours)
        waiting: deque[Future[Any]] = deque()
        for chunk in chunks:
            waiting.append(threads.submit(_ask, idle, chunk))
            if len(waiting) > jobs * _AHEAD:
                yield _answer(waiting.popleft())
        while waiting:
            yield _answer(waiting.popleft())
        for pipe in pipes:
            with contextlib.suppress(OSError):
                pipe.send(None)
        for done in processes:
            done.join(timeout=5)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for left in processes:
            if left.is_alive():
                left.terminate()
        for left in processes:
            left.join()
        # a thread that waits for a process wakes up now that it is gone
        threads.shutdown(wait=True)
        for pipe in pipes:
            pipe.close()


def _ask(idle: SimpleQueue[Connection], chunk: Lines) -> Any:
    pipe = idle.get()
    try:
        pipe.send(chunk)
        return pipe.recv()
    finally:
        idle.put(pipe)


def _answer(future: Future[Any]) -> tuple[bytes, Tally]:
    try:
        found = future.result()
    except (EOFError, OSError) as error:
        raise InfrastructureError(
            "a scoring process died (out of memory, or killed); try fewer --jobs", slug="score-worker"
        ) from error
    if isinstance(found, LlmwatchError):
        raise found
    data, tally = found
    return data, tally
