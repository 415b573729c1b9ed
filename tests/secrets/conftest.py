"""Planted secrets, a loopback server that repeats them in hostile ways, a detector that looks into every file."""

from __future__ import annotations

import base64
import functools
import gzip
import html
import json
import re
import threading
import urllib.parse
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml  # not where it is used: pytester forgets what a test imports, a C extension cannot be imported twice

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Planted:
    """A made-up secret: its kind, itself, and the text in which it is planted."""

    id: str
    kind: str
    secret: str
    text: str
    personal: bool

    @functools.cached_property
    def needles(self) -> frozenset[str]:
        """The secret as it could be written; of a private key, lines of its body."""
        lines = [x for x in self.secret.split("\n") if len(x) > 40] if "\n" in self.secret else [self.secret]
        out: set[str] = set()
        for line in lines:
            quoted = urllib.parse.quote(line, safe="")
            out |= {line, json.dumps(line)[1:-1], quoted, quoted.lower(), html.escape(line), repr(line)[1:-1]}
            out |= {urllib.parse.quote_plus(line), "".join(f"\\u{ord(c):04x}" for c in line)}
            if self.kind in ("payment_card", "iban"):
                out.add(re.sub(r"[ -]", "", line))
            for shift in range(3):
                coded = base64.b64encode(b" " * shift + line.encode()).decode()
                # the ends depend on what stands beside
                out.add(coded[(shift * 8 + 5) // 6 + 1 : -4])
        return frozenset(x for x in out if len(x) >= 7)


def load() -> list[Planted]:
    rows = [json.loads(line) for line in (HERE / "planted.jsonl").read_text("utf-8").splitlines()]
    return [
        Planted(r["id"], r["kind"], s := "".join(r["parts"]), r["text"].replace("{}", s), r["personal"])
        for r in rows
    ]


@pytest.fixture(scope="session")
def planted() -> list[Planted]:
    return load()


# -- the server


class _Answer:
    """What the server says, cut into pieces where it hurts; the same request gets the same pieces."""

    def __init__(self, handler: BaseHTTPRequestHandler, text: str) -> None:
        self.handler, self.text = handler, text
        self.random = Random(len(text))

    def pieces(self, text: str, longest: int = 19) -> list[str]:
        out = []
        while text:
            n = self.random.randint(1, longest)
            out.append(text[:n])
            text = text[n:]
        return out

    def send(self, status: int, body: bytes, content_type: str = "application/json", **headers: str) -> None:
        h = self.handler
        h.send_response(status)
        h.send_header("content-type", content_type)
        h.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            h.send_header(name.replace("_", "-"), value)
        h.end_headers()
        h.wfile.write(body)

    def chunked(self, body: bytes, *, coding: str = "", cut: bool = False) -> None:
        h = self.handler
        h.send_response(200)
        h.send_header("content-type", "text/event-stream; charset=utf-8")
        h.send_header("transfer-encoding", "chunked")
        if coding:
            h.send_header("content-encoding", coding)
        h.end_headers()
        # boundaries between chunks know nothing of characters, escapes or events
        while body:
            n = self.random.randint(60, 900)
            h.wfile.write(b"%x\r\n%s\r\n" % (len(body[:n]), body[:n]))
            body = body[n:]
        if cut:
            h.close_connection = True
        else:
            h.wfile.write(b"0\r\n\r\n")

    def chat(self, message: dict[str, Any], **more: Any) -> bytes:
        choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
        whole = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini", **more}
        return json.dumps(whole | {"choices": [choice | more.get("choice", {})]}).encode()

    def delta(self, delta: dict[str, Any], **more: Any) -> bytes:
        chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini"}
        chunk["choices"] = [{"index": 0, "delta": delta, "finish_reason": None, **more}]
        return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode()

    END = (
        b'data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    )

    # one method for each way to answer

    def plain(self) -> None:
        self.send(200, self.chat({"content": self.text}))

    def stream(self) -> None:
        body = b": " + self.text.replace("\n", " ").encode() + b"\n\n"
        body += b"".join(self.delta({"content": p}) for p in self.pieces(f"é\U0001f600 {self.text}"))
        self.chunked(body + self.END)

    def escaped(self) -> None:
        body = b""
        for piece in self.pieces(self.text):
            coded = "".join(f"\\u{ord(c):04x}" for c in piece)
            body += self.delta({"content": "@@"}).replace(b"@@", coded.encode())
        self.chunked(gzip.compress(body + self.END), coding="gzip")

    def cut(self) -> None:
        *whole, last = [self.delta({"content": p}) for p in self.pieces(self.text)]
        self.chunked(b"".join(whole) + last[: last.rindex(b'"') - 14], cut=True)

    def tools(self) -> None:
        call = {"id": "call_1", "type": "function", "function": {"name": "note", "arguments": self.arguments()}}
        self.send(200, self.chat({"content": None, "tool_calls": [call]}))

    def arguments(self) -> str:
        return json.dumps({"note": self.text, "n": 4111111111111111, "inner": json.dumps({"again": self.text})})

    def tools_stream(self) -> None:
        first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "note", "arguments": ""}}
        body = self.delta({"role": "assistant", "tool_calls": [first]})
        for piece in self.pieces(self.arguments(), 39):
            body += self.delta({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        self.chunked(body + self.END)

    def logprobs(self) -> None:
        tokens = [
            {
                "token": p,
                "logprob": -0.1,
                "bytes": list(p.encode()),
                "top_logprobs": [{"token": p, "logprob": -0.1}],
            }
            for p in self.pieces(self.text, 9)
        ]
        choice = {"logprobs": {"content": tokens, "refusal": None}}
        self.send(200, self.chat({"content": self.text}, choice=choice))

    def responses(self) -> None:
        where = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        body = b""
        for piece in self.pieces(self.text):
            event = {"type": "response.output_text.delta", **where, "delta": piece, "logprobs": []}
            body += f"event: response.output_text.delta\ndata: {json.dumps(event)}\n\n".encode()
        part = {"type": "output_text", "text": self.text, "annotations": []}
        item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
        whole = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-4o-mini", "output": [item]}
        whole |= {"parallel_tool_calls": False, "tool_choice": "auto", "tools": [], "status": "completed"}
        done = {"type": "response.completed", "sequence_number": 9, "response": whole}
        self.chunked(body + f"event: response.completed\ndata: {json.dumps(done)}\n\n".encode())

    def fields(self) -> None:
        self.send(200, self.chat({"content": "ok"}, id=self.text, model=self.text, system_fingerprint=self.text))

    def headers(self) -> None:
        flat = self.text.replace("\n", " ").encode("ascii", "replace").decode()
        names = ("x_request_id", "x_ratelimit_limit_requests", "set_cookie", "openai_version", "x_other")
        self.send(200, self.chat({"content": "ok"}), **dict.fromkeys(names, flat))

    def error(self) -> None:
        body = {"error": {"message": f"Bad: {self.text}", "type": "invalid_request_error", "code": self.text}}
        self.send(400, json.dumps(body).encode())

    def page(self) -> None:
        self.send(500, f"<h1>Oops</h1><pre>{html.escape(self.text)}</pre>".encode(), "text/html")

    def refuse(self) -> None:
        given = self.handler.headers.get("authorization", "").removeprefix("Bearer ")
        body = {"error": {"message": f"Incorrect API key provided: {given}.", "code": "invalid_api_key"}}
        self.send(401, json.dumps(body).encode())

    def transcript(self) -> None:
        words = [{"word": w, "start": 0.0, "end": 1.0} for w in self.text.split()]
        self.send(200, json.dumps({"text": self.text, "words": words}).encode())

    def broken(self) -> None:
        self.handler.wfile.write(b"HTTP/1.1 none " + self.text.replace("\n", " ").encode() + b"\r\n\r\n")
        self.handler.close_connection = True

    def embedding(self) -> None:
        data = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]
        whole = {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}}
        self.send(200, json.dumps(whole).encode())


@pytest.fixture(scope="session")
def hostile_server() -> Iterator[str]:
    """A server whose answer is asked for by header: ``x-act`` says how, ``x-rows`` which secrets are in it."""
    rows = load()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            act = self.headers.get("x-act", "echo")
            if act == "echo":
                text = json.loads(body)["messages"][-1]["content"]
                _Answer(self, text).plain()
                return
            first, last = map(int, self.headers.get("x-rows", "0-0").split("-"))
            getattr(_Answer(self, "\n".join(p.text for p in rows[first:last])), act)()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


# -- the detector


class Detector:
    """Look for planted secrets in every file below a folder, packed, encoded and cut up as they may be."""

    def __init__(self, planted: list[Planted]) -> None:
        self.planted = planted
        # a text without the beginning of any needle holds none: one pass for all of them
        self._begins = re.compile(_any_of({n[:7] for p in planted for n in p.needles}))

    def texts(self, folder: Path, skip: frozenset[str] = frozenset()) -> Iterator[tuple[str, str]]:
        """Yield (name, text) of all that the files say."""
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            yield f"the name of {name}", name
            if not path.is_file() or path.suffix in (".py", ".pyc", ".toml") or path.name in skip:
                continue
            raw = path.read_bytes()
            if raw[:2] == b"\x1f\x8b":
                raw = gzip.decompress(raw)
            text = raw.decode("utf-8", "replace")
            yield name, text
            for packed in re.findall(r"H4sI[A-Za-z0-9+/=]{20,}", text):
                yield f"{name} (packed)", gzip.decompress(base64.b64decode(packed)).decode("utf-8", "replace")
            if ".yaml" in path.name and "\ninteractions:" in text:
                yield from ((f"{name} (joined)", joined) for joined in self._joined(text))

    @staticmethod
    def _joined(text: str) -> Iterator[str]:
        """Yield what a stream's pieces say together: all strings under the same key, in order."""
        for item in yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["interactions"]:
            body = item["response"]["body"].get("string") or b""
            body = body if isinstance(body, bytes) else body.encode()
            by_key: dict[str, list[str]] = defaultdict(list)
            for key, value in re.findall(rb'"(\w+)":\s*"((?:[^"\\]|\\.)*)', body):
                by_key[key.decode()].append(json.loads(b'"' + value.rstrip(b"\\") + b'"', strict=False))
            for numbers in re.findall(rb'"bytes":\s*\[([\d,\s]*)\]', body):
                by_key["bytes"].append(
                    bytes(int(n) for n in numbers.split(b",") if n.strip()).decode("utf-8", "replace")
                )
            for pieces in by_key.values():
                yield "".join(pieces)
                yield " ".join(pieces)

    def find(self, folder: Path, skip: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
        """Return (secret's id, where) of every leak."""
        return self.leaks(self.texts(folder, skip))

    def leaks(self, texts: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return (secret's id, name) of every planted secret in texts with their names."""
        needles = [(p.id, n) for p in self.planted for n in p.needles]
        clean: set[str] = set()
        found = []
        for name, text in texts:
            if text in clean:
                continue
            here = [(id_, name) for id_, n in needles if n in text] if self._begins.search(text) else []
            if here:
                found += here
            else:
                clean.add(text)
        return found


def _any_of(words: Iterable[str]) -> str:
    """Return an expression for any of ``words``: a tree of their letters, so that few are tried at each place."""
    by_first: dict[str, set[str]] = defaultdict(set)
    for word in words:
        by_first[word[0]].add(word[1:])
    parts = [re.escape(c) + ("" if "" in rest else _any_of(rest)) for c, rest in sorted(by_first.items())]
    return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"


@pytest.fixture(scope="session")
def detector(planted: list[Planted]) -> Detector:
    return Detector(planted)
