"""The ``llm_call`` fixture's object: a monitored call in one line, sync, streamed or async."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pytest_llmwatch.capture.client import ClientSettings, open_async_client, shared_client
from pytest_llmwatch.capture.logical import CONTEXT, CallContext
from pytest_llmwatch.capture.reply import Reply, ScoreOutput
from pytest_llmwatch.capture.session import CaptureSession
from pytest_llmwatch.capture.watch import Watch
from pytest_llmwatch.errors import InfrastructureError, LlmwatchError, UsageError
from pytest_llmwatch.model import Case

if TYPE_CHECKING:
    from types import TracebackType

Api = Literal["responses", "chat"]
Prompt = str | Sequence[Mapping[str, Any]]

_TO_RESPONSES = {"max_tokens": "max_output_tokens", "max_completion_tokens": "max_output_tokens"}
_TO_CHAT = {"max_output_tokens": "max_tokens"}


class LlmCall:
    """Call a model and get a `Reply`; every call is captured in the test's watch.

    Args:
        session: The run's capture.
        settings: Model, endpoint, key, API.
        watch: Collects the calls.
        score: Scores outputs, see `ScoreOutput`.
        rerun_hint: Command that records this test's calls again, for messages.
        role: Of the calls, see `Call`; None = the application's.
    """

    def __init__(
        self,
        session: CaptureSession,
        settings: ClientSettings,
        watch: Watch,
        *,
        score: ScoreOutput,
        rerun_hint: str | None = None,
        role: str | None = None,
    ) -> None:
        self._session = session
        self._settings = settings
        self._watch = watch
        self._score = score
        self._role = role
        if rerun_hint:
            watch.rerun_hint = rerun_hint

    def __call__(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        case: Case | None = None,
        api: Api | None = None,
        **params: Any,
    ) -> Reply:
        """Make one call and return its reply.

        Args:
            prompt: A prompt, or messages as the SDK takes them (several turns, images).
            model: Model; None = from the settings.
            case: Golden case that the scores judge by; None = the watch's.
            api: ``responses`` or ``chat``; None = from the settings.
            **params: Parameters of the SDK. ``max_tokens``, ``max_output_tokens``, ``response_format`` and tools
                are understood for either API. ``prompt_version`` and ``prompt_name`` label the call.

        Raises:
            MissingRecording: Replaying, and there is no recording.
            InfrastructureError: Nobody answers, the key is refused, or the model is unknown.
            openai.OpenAIError: Any other failure, as the SDK raises it.
        """
        ask = self._ask(prompt, model, case, api, params)
        with self._inside(ask):
            response = ask.create(shared_client(self._session, self._settings))
        return self._reply(ask.context, text_of(response, ask.api), response)

    def stream(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        case: Case | None = None,
        api: Api | None = None,
        **params: Any,
    ) -> TextStream:
        """Make a streamed call: iterate over its pieces of text, then read ``.reply``. See `__call__`.

        Chat Completions is asked to report usage at the end, unless ``stream_options`` says otherwise.
        """
        ask = self._ask(prompt, model, case, api, params).streamed()
        with self._inside(ask):
            events = ask.create(shared_client(self._session, self._settings))
        return TextStream(self, ask, events)

    def astream(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        case: Case | None = None,
        api: Api | None = None,
        **params: Any,
    ) -> AsyncTextStream:
        """Make a streamed call in an event loop: ``async for piece in llm_call.astream(...)``. See `stream`.

        The request is made when the first piece is asked for.
        """
        return AsyncTextStream(self, self._ask(prompt, model, case, api, params).streamed())

    async def aio(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        case: Case | None = None,
        api: Api | None = None,
        **params: Any,
    ) -> Reply:
        """Make one call in an event loop. See `__call__`."""
        ask = self._ask(prompt, model, case, api, params)
        with self._inside(ask):
            async with open_async_client(self._session, self._settings) as client:
                response = await ask.create(client)
        return self._reply(ask.context, text_of(response, ask.api), response)

    def _ask(
        self, prompt: Prompt, model: str | None, case: Case | None, api: Api | None, params: dict[str, Any]
    ) -> _Ask:
        api = api or self._settings.api
        if api not in ("responses", "chat"):
            raise UsageError(f"api must be 'responses' or 'chat' (got {api!r})", slug="llm-call-api")
        model = model or self._settings.model
        if not model:
            raise UsageError(
                "llm_call needs a model: give model=, or set [model] model in budget.toml", slug="no-model"
            )
        # the call's own, then the marker's or the golden set's, then budget.toml's
        version = params.pop("prompt_version", None) or self._watch.labels.get("prompt_version")
        version = version or self._settings.prompt_version
        labels = {} if version is None else {"prompt_version": str(version)}
        if "prompt_name" in params:
            labels["prompt_name"] = str(params.pop("prompt_name"))
        adapted = adapt(params, api)
        if api == "chat":
            adapted["messages"] = (
                [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
            )
        else:
            adapted["input"] = prompt if isinstance(prompt, str) else list(prompt)
        return _Ask(api, {"model": model, **adapted}, CallContext(labels, case or self._watch.case, self._role))

    @contextlib.contextmanager
    def _inside(self, ask: _Ask) -> Iterator[None]:
        """Let calls inside carry the labels, and name errors as `_named` does."""
        token = CONTEXT.set(ask.context)
        try:
            with self._named(ask):
                yield
        finally:
            CONTEXT.reset(token)

    @contextlib.contextmanager
    def _named(self, ask: _Ask) -> Iterator[None]:
        """Turn what only the endpoint can mend into one clean line."""
        try:
            yield
        except LlmwatchError:
            raise
        except Exception as error:
            known = infrastructure(error, self._settings, ask.params["model"])
            if known is None:
                raise
            self._watch.note(known)
            raise known from error

    def _reply(self, context: CallContext, text: str, raw: Any) -> Reply:
        if not context.calls:
            raise UsageError(
                "this call was not captured: its endpoint is excluded by [capture] exclude; remove it there",
                slug="not-captured",
            )
        return Reply(context.calls[-1], text=text, score=self._score, case=context.case, raw=raw)


class _Ask:
    """One request, ready to be made."""

    def __init__(self, api: Api, params: dict[str, Any], context: CallContext) -> None:
        self.api = api
        self.params = params
        self.context = context

    def streamed(self) -> _Ask:
        """Ask for a stream, with usage at its end."""
        self.params["stream"] = True
        if self.api == "chat":
            self.params.setdefault("stream_options", {"include_usage": True})
        return self

    def create(self, client: Any) -> Any:
        """Make the request through a sync or an async client."""
        endpoint = client.chat.completions if self.api == "chat" else client.responses
        return endpoint.create(**self.params)


class _Pieces:
    """What a streamed answer has given so far."""

    def __init__(self, owner: LlmCall, ask: _Ask, events: Any = None) -> None:
        self._owner = owner
        self._ask = ask
        self._events = events
        self._pieces: list[str] = []
        self._reply: Reply | None = None

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._pieces)

    def _take(self, event: Any) -> str:
        piece = _piece(event, self._ask.api)
        if piece:
            self._pieces.append(piece)
        return piece

    def _replied(self) -> Reply:
        if self._reply is None:
            self._reply = self._owner._reply(self._ask.context, self.text, None)
        return self._reply


class TextStream(_Pieces):
    """The pieces of a streamed answer, in order; a context manager that closes the stream."""

    def __iter__(self) -> Iterator[str]:
        with self._owner._named(self._ask):
            for event in self._events:
                if piece := self._take(event):
                    yield piece

    @property
    def reply(self) -> Reply:
        """The reply; reads the rest of the stream if it was not read to its end."""
        if not self._ask.context.calls:
            for _ in self:
                pass
            self.close()
        return self._replied()

    def close(self) -> None:
        """Close the stream; what came so far is recorded."""
        self._events.close()

    def __enter__(self) -> TextStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncTextStream(_Pieces):
    """The pieces of a streamed answer in an event loop; an async context manager that closes the stream."""

    def __init__(self, owner: LlmCall, ask: _Ask) -> None:
        super().__init__(owner, ask)
        self._client: Any = None

    async def __aiter__(self) -> AsyncIterator[str]:
        if self._events is None:
            self._client = open_async_client(self._owner._session, self._owner._settings)
            try:
                with self._owner._inside(self._ask):
                    self._events = await self._ask.create(self._client)
            except BaseException:
                await self.aclose()
                raise
        with self._owner._named(self._ask):
            async for event in self._events:
                if piece := self._take(event):
                    yield piece
        await self.aclose()

    @property
    def reply(self) -> Reply:
        """The reply, once the stream was read to its end or closed.

        Raises:
            UsageError: It is still open: only its reader can wait for the rest.
        """
        if not self._ask.context.calls and (self._events is None or self._client is not None):
            raise UsageError(
                "the stream of llm_call.astream() is not over: read it to its end, or close it with aclose(), "
                "before .reply",
                slug="stream-open",
            )
        return self._replied()

    async def aclose(self) -> None:
        """Close the stream; what came so far is recorded. Closing twice is harmless."""
        client, self._client = self._client, None
        if self._events is not None:
            await self._events.close()
        if client is not None:
            await client.close()

    async def __aenter__(self) -> AsyncTextStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def adapt(params: Mapping[str, Any], api: Api) -> dict[str, Any]:
    """Return parameters under the names of ``api``: token limits, response format, and tools of the other API."""
    out: dict[str, Any] = {}
    names = _TO_CHAT if api == "chat" else _TO_RESPONSES
    for name, value in params.items():
        out.setdefault(names.get(name, name), value)
    if api == "responses":
        if "response_format" in out:
            out["text"] = {**out.get("text", {}), "format": _flat(out.pop("response_format"), "json_schema")}
        if "tools" in out:
            out["tools"] = [_flat(tool, "function") for tool in out["tools"]]
        if "reasoning_effort" in out:
            out["reasoning"] = {"effort": out.pop("reasoning_effort")}
        if "seed" in out:
            # the Responses API has no seed; servers that know it take it from the body
            out["extra_body"] = {**(out.get("extra_body") or {}), "seed": out.pop("seed")}
    elif isinstance(out.get("text"), Mapping) and "format" in out["text"]:
        out["response_format"] = _nested(out.pop("text")["format"], "json_schema")
    if api == "chat" and "tools" in out:
        out["tools"] = [_nested(tool, "function") for tool in out["tools"]]
    return out


def _flat(value: Any, kind: str) -> Any:
    inner = value.get(kind) if isinstance(value, Mapping) else None
    return {"type": value["type"], **inner} if isinstance(inner, Mapping) else value


def _nested(value: Any, kind: str) -> Any:
    if not isinstance(value, Mapping) or value.get("type") != kind or kind in value:
        return value
    return {"type": kind, kind: {k: v for k, v in value.items() if k != "type"}}


def text_of(response: Any, api: Api) -> str:
    """Return the text of an SDK response object."""
    if api == "responses":
        return getattr(response, "output_text", None) or ""
    choices = getattr(response, "choices", None) or []
    message = getattr(choices[0], "message", None) if choices else None
    return getattr(message, "content", None) or getattr(message, "refusal", None) or ""


def _piece(event: Any, api: Api) -> str:
    if api == "responses":
        kind = getattr(event, "type", "")
        return event.delta if kind in ("response.output_text.delta", "response.refusal.delta") else ""
    choices = getattr(event, "choices", None) or []
    delta = getattr(choices[0], "delta", None) if choices else None
    return getattr(delta, "content", None) or getattr(delta, "refusal", None) or ""


def infrastructure(error: Exception, settings: ClientSettings, model: str) -> InfrastructureError | None:
    """Return what an SDK error says about the endpoint, or None where it is about this call alone."""
    import openai

    url = settings.resolved().base_url
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return InfrastructureError(
            f"{url} refused the API key (HTTP {error.status_code}): check OPENAI_API_KEY or [model] api_key",
            slug="api-key-refused",
        )
    if isinstance(error, openai.NotFoundError):
        return InfrastructureError(
            f"{url} knows no model {model!r} or no such path (HTTP 404): check [model] model and base_url",
            slug="unknown-model",
        )
    cause = error.__cause__
    if isinstance(error, openai.APIConnectionError) and type(cause).__name__ in ("ConnectError", "ConnectTimeout"):
        return InfrastructureError(
            f"nobody answers at {url} ({cause}): start the server, or correct base_url", slug="endpoint-dead"
        )
    return None
