"""A suite full of other HTTP traffic behaves the same with and without the plugin, with ``CI`` set or not."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

SUITE = '''
import asyncio
import hashlib
import http.client
import http.server
import json
import os
import threading
import urllib.error
import urllib.request

import aiohttp
import httpx
import httpx2
import openai
import pytest


@pytest.fixture(scope="session")
def seen():
    found = []
    yield found
    with open(os.environ["SEEN"], "w") as file:
        json.dump(sorted(found), file)


@pytest.fixture(scope="session")
def site(seen):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = sorted(name.lower() for name in self.headers)
            seen.append([self.command, self.path, headers, hashlib.sha256(body).hexdigest()])
            answer = json.dumps({"path": self.path, "token": "s3cret"}).encode()
            self.send_response(404 if self.path.startswith("/missing") else 200)
            self.send_header("content-length", str(len(answer)))
            self.send_header("set-cookie", "session=abc")
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_PUT = do_DELETE = do_POST

        def log_message(self, *args): ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_urllib(site):
    headers = {"Authorization": "Bearer token-of-the-application"}
    request = urllib.request.Request(site + "/urllib", b"x=1", headers)
    with urllib.request.urlopen(request) as answer:
        assert json.load(answer)["path"] == "/urllib"
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(site + "/missing")


def test_http_client(site):
    connection = http.client.HTTPConnection(site.partition("//")[2])
    connection.request("PUT", "/http-client", body=b"abc")
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_httpx(library, site):
    with library.Client(cookies={"a": "b"}) as client:
        assert client.get(site + "/weather", params={"key": "abc"}).json()["path"] == "/weather?key=abc"
        # paths that LLM APIs have too
        for path in ("/messages", "/v1/files", "/v1/models", "/api/responses", "/v1/embeddings"):
            assert client.post(site + path, json={"text": "a guest book entry"}).json()["path"] == path
        with client.stream("GET", site + "/stream") as answer:
            assert b"".join(answer.iter_bytes()).startswith(b"{")


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_async_httpx(library, site):
    async def go():
        async with library.AsyncClient() as client:
            return [(await client.delete(f"{site}/async/{i}")).status_code for i in range(3)]

    assert asyncio.run(go()) == [200] * 3


def test_requests(site):
    requests = pytest.importorskip("requests")
    assert requests.post(site + "/requests", json={"model": "Ford T"}).json()["path"] == "/requests"


def test_aiohttp(site):
    async def go():
        async with aiohttp.ClientSession() as session:
            answer = await session.post(site + "/v1/messages", json={"a": 1})
            return await answer.json(content_type=None)

    assert asyncio.run(go())["path"] == "/v1/messages"


async def app(scope, receive, send):
    """An application under test, which is an LLM gateway itself."""
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


@pytest.mark.parametrize("path", ["/hello", "/v1/chat/completions"])
def test_an_application_in_the_process(path):
    async def go():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver") as client:
            return (await client.post(path, json={"model": "m", "messages": []})).text

    assert asyncio.run(go()) == path
    if testclient := pytest.importorskip("starlette.testclient"):
        assert testclient.TestClient(app).post(path, json={"model": "m", "messages": []}).text == path


def test_a_mock_transport():
    client = httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200, text="mocked")))
    with client:
        answer = client.post("https://api.openai.com/v1/responses", json={"model": "m", "input": "i"})
        assert answer.text == "mocked"


def test_nobody_there():
    with pytest.raises(httpx.ConnectError):
        httpx.get("http://127.0.0.1:9/nothing")


def test_an_llm():
    with openai.OpenAI(api_key="x") as client:
        chat = client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello"}])
    assert chat.choices[0].message.content == "Paris."
'''


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_other_traffic_is_never_touched_and_an_llm_call_is(
    pytester: pytest.Pytester, api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(test_app=SUITE)
    pytester.makefile(".toml", budget="[latency]\nmax = 60.0\n")
    monkeypatch.setenv("OPENAI_BASE_URL", api.base_url)
    outcomes: list[dict[str, int]] = []
    traffic: list[Any] = []

    def run(name: str, *args: str) -> list[dict[str, Any]]:
        monkeypatch.setenv("SEEN", name)
        result = pytester.runpytest_subprocess("-p", "no:llmock", "-W", "ignore", "-p", "no:cacheprovider", *args)
        outcomes.append(result.parseoutcomes())
        assert result.ret == 0, result.outlines[-40:]
        traffic.append(json.loads(Path(name).read_text()))
        calls = Path("llmwatch-report/calls.jsonl.gz")
        if not args:
            assert not calls.exists()
            return []
        return [json.loads(line) for line in gzip.decompress(calls.read_bytes()).splitlines()]

    run("plain.json")
    assert len(api.seen) == 1
    recorded = run("recorded.json", "--llm-budget=budget.toml")
    assert len(api.seen) == 2
    monkeypatch.setenv("CI", "1")
    replayed = run("replayed.json", "--llm-budget=budget.toml")
    assert len(api.seen) == 2, "the LLM call was not replayed"

    # the same outcomes, and the servers saw the same requests with the same headers
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert outcomes[0]["passed"] >= 12
    assert traffic[0] == traffic[1] == traffic[2]
    assert len(traffic[0]) >= 24
    # only the LLM call was written anywhere
    assert [call["input"] for call in recorded + replayed] == ["Hello", "Hello"]
    cassettes = [path for path in pytester.path.rglob("*.yaml*") if path.is_file()]
    assert [path.name for path in cassettes] == ["test_an_llm.yaml"]
    written = "".join(
        path.read_text("utf-8", "replace")
        for path in pytester.path.rglob("*")
        if path.suffix in (".yaml", ".json")
    )
    assert "s3cret" not in written
    assert "token-of-the-application" not in written
