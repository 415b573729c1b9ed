"""Whatever an application asks through the SDK, in whatever way, is recorded and replayed equal."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import inspect
import io
from collections.abc import Callable
from typing import Any

import openai
import pydantic
import pytest
import yaml

Ask = Callable[[Any], Any]
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(range(200, 256)) * 9
TOOL = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}


class City(pydantic.BaseModel):
    city: str
    people: int


async def done(value: Any) -> Any:
    """Return what an SDK method gives, of a sync or of an async client."""
    return await value if inspect.isawaitable(value) else value


async def all_of(stream: Any) -> list[Any]:
    """Return the items of a sync or async iterable."""
    if hasattr(stream, "__aiter__"):
        return [item async for item in stream]
    return list(stream)


@contextlib.asynccontextmanager
async def inside(manager: Any) -> Any:
    """Enter a sync or async context manager."""
    if hasattr(manager, "__aenter__"):
        async with manager as value:
            yield value
    else:
        with manager as value:
            yield value


def chat_of(client: Any, name: str) -> Any:
    """Return a helper method of Chat Completions, which lived below ``beta`` at first."""
    return getattr(client.chat.completions, name, None) or getattr(client.beta.chat.completions, name)


# what an application may do, each written once for both clients


async def chat(client: Any) -> Any:
    return (await done(client.chat.completions.create(**CHAT))).model_dump()


async def legacy_completion(client: Any) -> Any:
    return (await done(client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Paris"))).id


async def chat_stream(client: Any) -> Any:
    chunks = await all_of(await done(client.chat.completions.create(**CHAT, stream=True)))
    return [chunk.model_dump() for chunk in chunks]


async def chat_stream_helper(client: Any) -> Any:
    async with inside(chat_of(client, "stream")(**CHAT)) as stream:
        kinds = [event.type for event in await all_of(stream)]
        final = await done(stream.get_final_completion())
    return kinds, final.choices[0].message.content


async def chat_parse(client: Any) -> Any:
    parsed = await done(chat_of(client, "parse")(**CHAT, response_format=City))
    return parsed.choices[0].message.parsed


async def chat_json_schema(client: Any) -> Any:
    schema = {"name": "city", "schema": City.model_json_schema(), "strict": True}
    answer = await done(
        client.chat.completions.create(**CHAT, response_format={"type": "json_schema", "json_schema": schema})
    )
    return City.model_validate_json(answer.choices[0].message.content)


async def chat_logprobs(client: Any) -> Any:
    answer = await done(client.chat.completions.create(**CHAT, logprobs=True, top_logprobs=2))
    assert answer.choices[0].logprobs.content[0].logprob == -0.125
    return answer.choices[0].logprobs.model_dump()


async def chat_raw(client: Any) -> Any:
    raw = await done(client.chat.completions.with_raw_response.create(**CHAT))
    parsed = await done(raw.parse())
    return raw.status_code, raw.headers["x-request-id"], raw.headers["content-type"], parsed.model_dump()


async def chat_streaming_response(client: Any) -> Any:
    async with inside(client.chat.completions.with_streaming_response.create(**CHAT)) as response:
        return response.status_code, "".join(await all_of(response.iter_lines()))


async def with_options(client: Any) -> Any:
    return await chat(client.with_options(timeout=5.0, max_retries=4))


async def embeddings_float(client: Any) -> Any:
    asked = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"], encoding_format="float")
    return [item.embedding for item in (await done(asked)).data]


async def embeddings_base64(client: Any) -> Any:
    asked = client.embeddings.create(model="text-embedding-3-small", input="a", encoding_format="base64")
    return (await done(asked)).data[0].embedding


async def embeddings_default(client: Any) -> Any:
    # the SDK asks for base64 and hands on numbers
    answer = await done(client.embeddings.create(model="text-embedding-3-small", input="a"))
    assert answer.data[0].embedding[32] == 0.5
    return answer.data[0].embedding


async def speech(client: Any) -> Any:
    answer = await done(client.audio.speech.create(model="tts-1", voice="alloy", input="Hello"))
    assert answer.content[:4] == b"\x00\x01\x02\x03"
    return answer.content


async def speech_streamed(client: Any) -> Any:
    method = client.audio.speech.with_streaming_response.create
    async with inside(method(model="tts-1", voice="alloy", input="Hello")) as response:
        return b"".join(await all_of(response.iter_bytes()))


async def transcription(client: Any) -> Any:
    file = ("meeting.wav", io.BytesIO(WAV), "audio/wav")
    answer = await done(client.audio.transcriptions.create(model="whisper-1", file=file, prompt="Names: Ada"))
    assert answer.text.startswith("heard meeting.wav: ")
    return answer.text


async def transcription_as_text(client: Any) -> Any:
    method = client.audio.transcriptions.create
    return str(await done(method(model="whisper-1", file=("a.wav", WAV), response_format="text")))


async def files(client: Any) -> Any:
    made = await done(client.files.create(file=("notes.jsonl", b'{"a": 1}\n'), purpose="batch"))
    again = await done(client.files.retrieve(made.id))
    content = await done(client.files.content(made.id))
    listed = await all_of(await done(client.files.list()))
    gone = await done(client.files.delete(made.id))
    return made.filename, again.id, content.content, [file.id for file in listed], gone.deleted


async def images(client: Any) -> Any:
    return (await done(client.images.generate(model="gpt-image-1", prompt="A cat"))).data[0].b64_json


async def moderation(client: Any) -> Any:
    return (await done(client.moderations.create(input="Hello"))).results[0].flagged


async def responses(client: Any) -> Any:
    return (await done(client.responses.create(model="gpt-4o-mini", input="Hello"))).output_text


async def responses_stream_helper(client: Any) -> Any:
    async with inside(client.responses.stream(model="gpt-4o-mini", input="Hello")) as stream:
        kinds = [event.type for event in await all_of(stream)]
        final = await done(stream.get_final_response())
    return kinds, final.output_text


async def responses_tools(client: Any) -> Any:
    answer = await done(client.responses.create(model="gpt-4o-mini", input="Weather in Paris?", tools=[TOOL]))
    return [item.model_dump() for item in answer.output]


async def chat_tools(client: Any) -> Any:
    tool = {"type": "function", "function": {k: v for k, v in TOOL.items() if k != "type"}}
    answer = await done(client.chat.completions.create(**CHAT, tools=[tool]))
    return answer.choices[0].message.model_dump()


OWN = (
    chat, chat_stream, chat_stream_helper, chat_parse, chat_json_schema, chat_logprobs, chat_raw,
    chat_streaming_response, with_options, embeddings_float, embeddings_base64, embeddings_default, speech,
    speech_streamed, transcription, transcription_as_text, files, images, moderation, legacy_completion,
)  # fmt: skip
LLMOCK = (responses, responses_stream_helper, responses_tools, chat_tools, embeddings_float)


def same(live: Any, replayed: Any) -> None:
    """Both executions saw the same, and the same is said of each call, but for how it was captured."""
    assert (live.error, replayed.error) == (None, None)
    assert live.value == replayed.value
    assert {c.capture_mode for c in live.watch.calls} == {"recorded"}
    as_live = [dataclasses.replace(c, capture_mode="recorded") for c in replayed.watch.calls]
    assert as_live == live.watch.calls


async def using(client: Any, ask: Ask) -> Any:
    async with inside(client):
        return await ask(client)


def plain(base_url: str, *, asynchronous: bool) -> Any:
    cls = openai.AsyncOpenAI if asynchronous else openai.OpenAI
    return cls(base_url=base_url, api_key="sk-test-key", max_retries=0)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("ask", OWN, ids=lambda ask: ask.__name__)
def test_every_kind_of_call_is_replayed_as_it_was(bench: Any, api: Any, ask: Ask, asynchronous: bool) -> None:
    act = lambda _: asyncio.run(using(plain(api.base_url, asynchronous=asynchronous), ask))  # noqa: E731
    live = bench.run(act)
    seen = len(api.seen)
    assert seen > 0
    replayed = bench.run(act, "none")
    assert len(api.seen) == seen, "a replay went over the network"
    same(live, replayed)
    assert [(c.status, c.error_type) for c in live.watch.calls] == [("success", None)]
    assert live.call.latency > 0
    assert [a.status_code for a in live.call.attempts] == [200]
    assert (live.call.server_address, live.call.stream) == ("127.0.0.1", ask in (chat_stream, chat_stream_helper))


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("ask", LLMOCK, ids=lambda ask: ask.__name__)
def test_a_mock_of_the_vendor_is_replayed_as_it_was(bench: Any, ask: Ask, asynchronous: bool) -> None:
    act = lambda _: asyncio.run(using(plain(bench.base_url, asynchronous=asynchronous), ask))  # noqa: E731
    live, replayed = bench.both(act)
    same(live, replayed)
    assert live.call.status == "success"


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("ask", [chat, chat_stream, embeddings_float, speech], ids=lambda ask: ask.__name__)
def test_azure_is_replayed_as_it_was(bench: Any, api: Any, ask: Ask, asynchronous: bool) -> None:
    cls = openai.AsyncAzureOpenAI if asynchronous else openai.AzureOpenAI

    def act(_: Any) -> Any:
        client = cls(
            azure_endpoint=api.base_url.removesuffix("/v1"), api_key="azure-secret-key", api_version="2024-10-21"
        )
        return asyncio.run(using(client, ask))

    live, replayed = bench.both(act)
    same(live, replayed)
    ((_, path),) = api.seen
    assert path.startswith("/openai/deployments/")
    assert path.endswith("?api-version=2024-10-21")
    assert live.call.operation == {"embeddings_float": "embeddings", "speech": "other"}.get(ask.__name__, "chat")
    assert "azure-secret-key" not in bench.cassette().read_text()


def test_a_multipart_recording_names_its_parts_and_no_boundary(bench: Any, api: Any) -> None:
    act = lambda _: asyncio.run(using(plain(api.base_url, asynchronous=False), transcription))  # noqa: E731
    call = bench.run(act).call
    assert (call.model, call.input) == ("whisper-1", "Names: Ada")
    text = bench.cassette().read_text()
    assert "meeting.wav" in text
    assert "boundary" not in text
    # what is stored is enough to find it by, when only the stored request is there to judge
    data = yaml.safe_load(text)
    for item in data["interactions"]:
        del item["response"]["x-llmwatch"]["fingerprint"]
    bench.cassette().write_text(yaml.safe_dump(data))
    assert bench.run(act, "none").error is None


@pytest.mark.parametrize("change", ["name", "content", "field"])
def test_another_file_is_another_request(bench: Any, api: Any, change: str) -> None:
    def act(name: str, content: bytes, prompt: str) -> Any:
        def ask(_: Any) -> Any:
            with openai.OpenAI(base_url=api.base_url, api_key="x") as client:
                file = (name, content)
                return client.audio.transcriptions.create(model="whisper-1", file=file, prompt=prompt).text

        return ask

    bench.run(act("a.wav", WAV, "p"))
    assert bench.run(act("a.wav", WAV, "p"), "none").error is None
    other = {"name": ("b.wav", WAV, "p"), "content": ("a.wav", WAV[:-1], "p"), "field": ("a.wav", WAV, "q")}
    missed = bench.run(act(*other[change]), "none")
    assert missed.watch.errors[0].slug == "missing-recording"


def test_sending_a_file_costs_nothing_and_reading_it_is_no_call(bench: Any, api: Any) -> None:
    live = bench.run(lambda _: asyncio.run(using(plain(api.base_url, asynchronous=False), files)))
    assert [method for method, _ in api.seen] == ["POST", "GET", "GET", "GET", "DELETE"]
    assert (live.call.operation, live.call.cost.usd, live.call.usage.total_tokens) == ("other", 0.0, 0)
    # what a model made is not free, though nothing is known of its price
    made = bench.run(lambda _: asyncio.run(using(plain(api.base_url, asynchronous=False), speech)), name="speech")
    assert made.call.cost.usd is None


def by_question(result: Any) -> dict[str, list[Any]]:
    """Return the calls that asked each question, in order, without what numbers them."""
    out: dict[str, list[Any]] = {}
    for call in result.watch.calls:
        same_number = dataclasses.replace(call, id="", span_id=None, index=0, capture_mode="live")
        out.setdefault(call.input, []).append(same_number)
    return out


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_many_at_once_are_each_recorded(bench: Any, api: Any, asynchronous: bool) -> None:
    """300 identical and different questions: none lost, each replayed, in the order of the requests."""
    count = 300 if asynchronous else 60
    questions = [f"Question {i % (count // 3)}" for i in range(count)]

    async def together(client: Any) -> list[str]:
        async with client:
            answers = [client.embeddings.create(model="m", input=q, encoding_format="float") for q in questions]
            return [answer.model_dump_json() for answer in await asyncio.gather(*answers)]

    def threads(_: Any) -> list[str]:
        # no context is copied to these threads
        with openai.OpenAI(base_url=api.base_url, api_key="x", max_retries=0) as client:
            ask = lambda q: client.embeddings.create(model="m", input=q, encoding_format="float")  # noqa: E731
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                return [answer.model_dump_json() for answer in pool.map(ask, questions)]

    act = threads
    if asynchronous:
        act = lambda _: asyncio.run(together(plain(api.base_url, asynchronous=True)))  # noqa: E731
    live = bench.run(act)
    assert live.error is None
    assert len(live.watch.calls) == len({c.id for c in live.watch.calls}) == count
    assert len(yaml.load(bench.cassette().read_text(), Loader=yaml.CSafeLoader)["interactions"]) == count
    replayed = bench.run(act, "none")
    assert replayed.value == live.value
    assert len(api.seen) == count
    # tasks and threads race for their turn, so the number of a call may differ; what is said of it may not
    assert by_question(replayed) == by_question(live)


@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <async_generator:pytest.PytestUnraisableExceptionWarning"
)
def test_under_trio(bench: Any, api: Any) -> None:
    trio = pytest.importorskip("trio")

    async def ask() -> Any:
        async with openai.AsyncOpenAI(base_url=api.base_url, api_key="x", max_retries=0) as client:
            return await chat(client), await chat_stream(client)

    live, replayed = bench.both(lambda _: trio.run(ask))
    same(live, replayed)
    assert len(live.watch.calls) == 2
