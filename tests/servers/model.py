"""OpenAI-compatible model service with scripted answers and faults, over a real socket.

It refuses what the real service refuses (a tool call without its result, a result without its call, a wrong
key …) with the same status and shape, and keeps each refusal in `violations`.
"""

import asyncio
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from tests.servers.closing import take_up_connections
from tests.servers.model_audio import Audio
from tests.servers.steps import Steps, unobserved

Json = Any
Ending = Literal["close", "drop", "hang", "comment"]
KEY = "sk-test-0123456789abcdef"
MODELS = ("main-model", "other-model", "speech-model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """Response as bytes, one write for each of `chunks`.

    At the end the connection is closed properly, dropped, left open in silence (`hang`), or kept alive for
    ever by comments (`comment`).
    """

    chunks: Sequence[bytes] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "text/event-stream"})
    ending: Ending = "close"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One answer. Its text is streamed a word at a time, then its tool calls.

    `wire` is sent in place of all that. Faults: `status` answers with that error (and `retry_after`,
    seconds); after `break_after` chunks `fault` happens: `truncate` ends the stream before the answer's end,
    `corrupt` sends half a JSON object, `drop` closes the connection, `stall` sends nothing more until the
    client leaves. `gate` is waited for before the first word, `pace` seconds between words make a slow model.
    `call_ids` replace the calls' own ids.
    `usage` is what the call took, in tokens read and written; by default it is made up from the sizes.
    """

    text: str = ""
    tool_calls: Sequence[tuple[str, Mapping[str, Json]]] = ()
    call_ids: Sequence[str] = ()
    finish_reason: str | None = None
    status: int = 200
    retry_after: float | None = None
    fault: str = ""
    break_after: int = 0
    gate: asyncio.Event | None = None
    pace: float = 0.0
    usage: tuple[int, int] | None = None
    wire: Wire | None = None


Responder = Callable[[dict[str, Json]], Script | str]


def echo(request: dict[str, Json]) -> str:
    """Return the default answer, which quotes the request."""
    asked = [message["content"] for message in request["messages"] if message["role"] == "user"]
    return f"You wrote: {asked[-1]} (message {len(asked)} of this conversation)."


class ModelServer:
    """`requests` holds every body; `script()` queues answers; `respond` answers when the queue is empty.

    `embedded` holds every text that a vector was asked for; an `embeddings_status` other than 200 refuses.
    `audio` transcribes recordings.
    """

    def __init__(self) -> None:
        self.base_url = ""
        self.requests: list[dict[str, Json]] = []
        self.violations: list[str] = []
        self.cancelled = 0
        self.paths: list[str] = []
        self.peers: set[object] = set()
        """Client addresses of the connections of requests."""
        self.embedded: list[str] = []
        self.embeddings_status = 200
        self.audio = Audio()
        self.respond: Responder = echo
        self.usage: Literal["told", "ignored", "refused"] = "told"
        """Reaction to `stream_options.include_usage`, which some services do not know."""
        self.steps: Steps = unobserved
        """Observer of each request, and of the middle and the end of each stream."""
        self._scripts: deque[Script] = deque()
        self._calls = 0

    def script(self, *answers: Script | str) -> None:
        """Answer the next requests with these, in order."""
        self._scripts.extend(Script(text=each) if isinstance(each, str) else each for each in answers)

    @property
    def unused(self) -> int:
        """Return the number of scripted answers that were not requested yet."""
        return len(self._scripts)

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Handle `POST /v1/chat/completions`."""
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return _error(401, "Incorrect API key provided.", "invalid_api_key")
        body: dict[str, Json] = await request.json()
        async with self.steps("asked"):
            self.requests.append(body)
        self.paths.append(request.path_qs)
        if request.transport:
            self.peers.add(request.transport.get_extra_info("peername"))
        if "stream_options" in body and self.usage == "refused":
            return _error(400, "Unrecognized request argument supplied: stream_options", "unknown_parameter")
        problem = refusal(body) or strict_refusal(body)
        if problem:
            self.violations.append(problem)
            return _error(400, problem, "invalid_request_error")
        script = self._next(body)
        if script.wire:
            return await self._send_wire(request, script.wire)
        if script.status != 200:
            return _error(script.status, "scripted fault", "fault", script.retry_after)
        return await self._answer(request, body, script)

    async def list_models(self, request: web.Request) -> web.Response:
        """Handle `GET /v1/models`: list the models that tests use."""
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return _error(401, "Incorrect API key provided.", "invalid_api_key")
        models = [{"id": each, "object": "model"} for each in MODELS]
        return web.json_response({"object": "list", "data": models})

    async def embed(self, request: web.Request) -> web.StreamResponse:
        """Handle `POST /v1/embeddings` (https://platform.openai.com/docs/api-reference/embeddings/create)."""
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return _error(401, "Incorrect API key provided.", "invalid_api_key")
        body: dict[str, Json] = await request.json()
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        if not texts or len(texts) > 2048 or not all(texts):
            self.violations.append(f"embeddings of {texts!r}")
            return _error(400, "'$.input' is invalid.", "invalid_request_error")
        if self.embeddings_status != 200:
            return _error(self.embeddings_status, "scripted fault", "fault")
        self.embedded += texts
        vectors = [
            {"object": "embedding", "index": index, "embedding": letters(text)}
            for index, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        answer = {"object": "list", "data": vectors[::-1], "model": body["model"], "usage": usage}
        return web.json_response(answer)

    async def transcribe(self, request: web.Request) -> web.StreamResponse:
        """Handle `POST /v1/audio/transcriptions`."""
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return _error(401, "Incorrect API key provided.", "invalid_api_key")
        async with self.steps("transcription"):
            response, violation = await self.audio.transcribe(request)
        self.violations += [violation] if violation else []
        return response

    def _next(self, body: dict[str, Json]) -> Script:
        if self._scripts:
            return self._scripts.popleft()
        answer = self.respond(body)
        return Script(text=answer) if isinstance(answer, str) else answer

    async def _answer(
        self, request: web.Request, body: dict[str, Json], script: Script
    ) -> web.StreamResponse:
        if not body.get("stream"):
            return web.json_response(_completion(body["model"], script))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            await self._stream(request, response, body, script)
        except (asyncio.CancelledError, ConnectionResetError):
            self.cancelled += 1
            raise
        return response

    async def _send_wire(self, request: web.Request, wire: Wire) -> web.StreamResponse:
        response = web.StreamResponse(status=wire.status, headers=wire.headers)
        await response.prepare(request)
        try:
            for chunk in wire.chunks:
                await response.write(chunk)
                await asyncio.sleep(0)
            if wire.ending == "hang":
                await asyncio.Event().wait()
            while wire.ending == "comment":
                await response.write(b": keep-alive\n\n")
                await asyncio.sleep(0.02)  # a service that is busy is what is being simulated
        except (asyncio.CancelledError, ConnectionResetError):
            self.cancelled += 1
            raise
        if wire.ending == "drop":
            await asyncio.sleep(0.02)  # what was written is to arrive before the connection is lost
            assert request.transport is not None
            request.transport.abort()
        return response

    async def _stream(
        self, request: web.Request, response: web.StreamResponse, body: dict[str, Json], script: Script
    ) -> None:
        if script.gate:
            await script.gate.wait()
        self._calls += 1
        model = body["model"]
        deltas = _deltas(script, self._calls)
        for index, delta in enumerate(deltas):
            if index == len(deltas) // 2:
                async with self.steps("half told"):
                    pass  # all before it is sent, all after it is not
            if script.fault and index == script.break_after:
                await self._break(request, response, script.fault)
                return
            if script.pace:
                await asyncio.sleep(script.pace)  # a slow model is what is being simulated
            await _send(response, _chunk(model, delta, None))
        reason = script.finish_reason or ("tool_calls" if script.tool_calls else "stop")
        await _send(response, _chunk(model, {}, reason))
        if (body.get("stream_options") or {}).get("include_usage") and self.usage == "told":
            await _send(response, _chunk(model, {}, None) | {"choices": [], "usage": _usage(body, script)})
        async with self.steps("all told"):
            await response.write(b"data: [DONE]\n\n")

    async def _break(self, request: web.Request, response: web.StreamResponse, fault: str) -> None:
        if fault == "corrupt":
            await response.write(b'data: {"id": "chatcmpl-1", "choices": [{"del\n\n')
        elif fault == "drop":
            assert request.transport is not None
            request.transport.abort()
        elif fault == "stall":
            await asyncio.Event().wait()


def letters(text: str) -> list[float]:
    """Return a vector of the letters in a text, so that texts with the same words are close."""
    return [text.casefold().count(letter) + 0.01 for letter in "abcdefghijklmnopqrstuvwxyz"]


def _deltas(script: Script, call: int) -> list[dict[str, Json]]:
    words = re.findall(r"\s*\S+|\s+$", script.text)
    deltas: list[dict[str, Json]] = [
        {"role": "assistant", "content": ""},
        *({"content": word} for word in words),
    ]
    for index, (name, arguments) in enumerate(script.tool_calls):
        function = {"name": name, "arguments": ""}
        id = script.call_ids[index] if script.call_ids else f"call_{call}_{index}"
        deltas.append({"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]})
        encoded = json.dumps(arguments)
        halves = (encoded[: len(encoded) // 2], encoded[len(encoded) // 2 :])
        deltas += [{"tool_calls": [{"index": index, "function": {"arguments": half}}]} for half in halves]
    return deltas


def _usage(body: dict[str, Json], script: Script) -> dict[str, int]:
    read, written = script.usage or (len(json.dumps(body["messages"])) // 4, len(script.text) // 4 + 1)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _chunk(model: str, delta: dict[str, Json], reason: str | None) -> dict[str, Json]:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model,
        "choices": [choice],
    }


def _completion(model: str, script: Script) -> dict[str, Json]:
    calls = [
        {
            "id": f"call_{index}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        for index, (name, arguments) in enumerate(script.tool_calls)
    ]
    message = {"role": "assistant", "content": script.text, **({"tool_calls": calls} if calls else {})}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [choice],
    }


async def _send(response: web.StreamResponse, chunk: Json) -> None:
    await response.write(f"data: {json.dumps(chunk)}\n\n".encode())


def _error(status: int, message: str, code: str, retry_after: float | None = None) -> web.Response:
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}
    body = {"error": {"message": message, "type": code, "param": None, "code": code}}
    return web.json_response(body, status=status, headers=headers)


def refusal(body: dict[str, Json]) -> str | None:
    """Return why the real service would answer this request with status 400, or None."""
    messages = body.get("messages") or []
    if not body.get("model") or not messages:
        return "you must provide a model and messages"
    tools = [tool["function"] for tool in body.get("tools") or []]
    names = [tool["name"] for tool in tools]
    if len(names) > 128 or len(set(names)) < len(names):
        return "there may be 128 tools at most, each with a name of its own"
    if fault := next(filter(None, (schema_refusal(tool["parameters"]) for tool in tools)), None):
        return fault
    if any(not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names):
        return "a tool's name does not match ^[a-zA-Z0-9_-]{1,64}$"
    if "stream_options" in body and not body.get("stream"):
        return "The 'stream_options' parameter is only allowed when 'stream' is enabled."
    if "tool_choice" in body and not names:
        return "'tool_choice' is only allowed when 'tools' are specified"
    return _message_refusal(messages)


def schema_refusal(schema: Json) -> str | None:
    """Return why the real service would refuse a function's parameters, or None."""
    if schema.get("type") != "object" or not isinstance(schema.get("properties"), dict):
        return "Invalid schema for function: schema must be an object with properties"
    if {"oneOf", "anyOf", "allOf", "enum", "not"} & schema.keys():
        return "Invalid schema for function: no oneOf, anyOf, allOf, enum or not at the top level"
    return _array_refusal(schema)


def _array_refusal(schema: Json) -> str | None:
    if not isinstance(schema, dict):
        return None
    if schema.get("type") == "array" and "items" not in schema:
        return "Invalid schema for function: array schema missing items"
    properties = schema.get("properties")
    inner = [schema.get("items"), *(properties.values() if isinstance(properties, dict) else ())]
    return next(filter(None, map(_array_refusal, inner)), None)


def _message_refusal(messages: Sequence[dict[str, Json]]) -> str | None:
    open_calls: set[str] = set()
    for message in messages:
        role = message.get("role")
        if role == "tool":
            if message.get("tool_call_id") not in open_calls:
                return "messages with role 'tool' must be a response to a preceding message with 'tool_calls'"
            open_calls.discard(message["tool_call_id"])
            continue
        if open_calls:
            return "an assistant message with 'tool_calls' must be followed by tool messages for each of them"
        if role not in ("system", "developer", "user", "assistant"):
            return f"invalid role {role!r}"
        if role == "assistant":
            open_calls = {call["id"] for call in message.get("tool_calls") or []}
        if message.get("content") is None and not open_calls:
            return f"content of a {role} message is null"
    return "the last tool calls have no results" if open_calls else None


def strict_refusal(body: dict[str, Json]) -> str | None:
    """Return why some services would refuse this request, although OpenAI accepts it, or None."""
    messages = body["messages"]
    calls = [call for message in messages for call in message.get("tool_calls") or ()]
    ids = [call["id"] for call in calls] + [
        each["tool_call_id"] for each in messages if "tool_call_id" in each
    ]
    if wrong := next((id for id in ids if not re.fullmatch(r"[A-Za-z0-9]{9}", id)), None):
        return f"Tool call id was {wrong} but must be a-z, A-Z, 0-9, with a length of 9."  # Mistral
    if any(each["role"] in ("system", "developer") for each in messages[1:]):
        return "System message must be at the beginning."  # Qwen's template
    if not all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}", call["function"]["name"]) for call in calls):
        return "Invalid function name. Must start with a letter or an underscore."  # Gemini
    if not all(_is_object(call["function"]["arguments"]) for call in calls):
        return "the arguments of a call are not a JSON object"
    return None


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text, parse_constant=_no_number), dict)
    except ValueError:
        return False


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


@asynccontextmanager
async def model_server() -> AsyncIterator[ModelServer]:
    """Run a `ModelServer` on a free port of the loopback interface."""
    server = ModelServer()
    app = web.Application(client_max_size=30_000_000)
    app.router.add_post("/v1/chat/completions", server.complete)
    app.router.add_post("/v1/embeddings", server.embed)
    app.router.add_post("/v1/audio/transcriptions", server.transcribe)
    app.router.add_get("/v1/models", server.list_models)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.base_url = f"http://{host}:{port}/v1"
    try:
        yield server
    finally:
        await take_up_connections()
        await runner.cleanup()
