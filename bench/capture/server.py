"""A small, fast OpenAI-like server for the benchmarks, in a process of its own.

It notes on the machine's monotonic clock when each request was there and when the first piece of its answer was
written; ``GET /journal`` hands the notes over and forgets them. Its clock is the client's: both processes read
``time.perf_counter``. What it is to do stands in the request: ``max_tokens`` words of answer, ``seed``
milliseconds before the first of them, ``top_logprobs`` milliseconds between them where it streams.

    python bench/capture/server.py        prints its port, runs until its standard input is closed
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "and", "then", "sleeps")
JOURNAL: dict[str, tuple[float, float]] = {}
"""By prompt: when the request was there, and when the first piece of the answer was written."""


class Connection(asyncio.Protocol):
    """One kept-alive connection; requests come one after another."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._data = b""
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, mark, body = self._data.partition(b"\r\n\r\n")
        if not mark:
            return
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if len(body) < length:
            return
        arrived = time.perf_counter()
        self._data = b""
        if head.startswith(b"GET /journal"):
            self._whole(json.dumps(JOURNAL).encode())
            JOURNAL.clear()
            return
        asked = json.loads(body)
        if asked.get("stream") or asked.get("seed"):
            self._task = asyncio.ensure_future(self._slowly(asked, arrived))
        else:
            self._answer(asked, arrived)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _slowly(self, asked: dict[str, Any], arrived: float) -> None:
        if asked.get("seed"):
            await asyncio.sleep(asked["seed"] / 1000)
        if not asked.get("stream"):
            self._answer(asked, arrived)
            return
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        self.transport.write(head)
        pause = (asked.get("top_logprobs") or 0) / 1000
        words = words_of(asked)
        for number, word in enumerate(words):
            if not number:
                JOURNAL[prompt_of(asked)] = (arrived, time.perf_counter())
            elif pause:
                await asyncio.sleep(pause)
            self._event(chunk(asked, {"content": word}))
            if not pause and number % 10 == 9:
                await asyncio.sleep(0)
        self._event(chunk(asked, {}, finish="stop"))
        self._event({**chunk(asked, {}), "choices": [], "usage": usage(len(words))})
        self._event(None)
        self.transport.write(b"0\r\n\r\n")

    def _event(self, data: dict[str, Any] | None) -> None:
        text = b"data: " + (b"[DONE]" if data is None else json.dumps(data).encode()) + b"\n\n"
        self.transport.write(b"%x\r\n%s\r\n" % (len(text), text))

    def _answer(self, asked: dict[str, Any], arrived: float) -> None:
        JOURNAL[prompt_of(asked)] = (arrived, time.perf_counter())
        words = words_of(asked)
        message = {"role": "assistant", "content": "".join(words)}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        body = {**base(asked), "object": "chat.completion", "choices": [choice], "usage": usage(len(words))}
        self._whole(json.dumps(body).encode())

    def _whole(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_1\r\n"
        self.transport.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)


def prompt_of(asked: dict[str, Any]) -> str:
    """Return what the last message says."""
    return str(asked["messages"][-1]["content"])


def words_of(asked: dict[str, Any]) -> list[str]:
    """Return the words of the answer, each with the blank before it."""
    return [" " + WORDS[i % len(WORDS)] for i in range(asked.get("max_tokens") or 60)]


def base(asked: dict[str, Any]) -> dict[str, Any]:
    """Return what each answer has."""
    return {"id": "chatcmpl-b1", "created": 1, "model": asked["model"], "system_fingerprint": "fp_1"}


def chunk(asked: dict[str, Any], delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    """Return one event of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {**base(asked), "object": "chat.completion.chunk", "choices": [choice]}


def usage(words: int) -> dict[str, int]:
    """Return the tokens of an answer."""
    return {"prompt_tokens": 90, "completion_tokens": words, "total_tokens": 90 + words}


async def main() -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
