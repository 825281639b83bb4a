"""Routes below `/v1` for clients of OpenAI's API: the same agent, tools and access rules as `POST /chat`.

https://platform.openai.com/docs/api-reference/chat
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from aiohttp import web
from pydantic import AfterValidator, BaseModel, Field, TypeAdapter
from pydantic_core import PydanticCustomError

from bot.chat import Files, Json, Part, Text
from bot.http import bodies, texts
from bot.http.callers import CALLER
from bot.http.chat import (
    MOST_MESSAGE_CHARS,
    ChatRequest,
    Conversation,
    ThreadName,
    idempotency_key,
    to_message,
)
from bot.http.errors import Refusal
from bot.http.files import SentFile, store_files, to_json
from bot.http.replies import Reply, is_whole_in_text, piece, table_text
from bot.platforms.table_text import escape

MODEL = "threadmate"
"""Name of the agent as a model."""

THREAD = "X-Thread-Id"
_THREAD = TypeAdapter(ThreadName)


class TextContent(BaseModel):
    """Text in a message."""

    type: Literal["text"]
    text: str


class ImageUrl(BaseModel):
    """Picture as a `data:` URL; others are not fetched."""

    url: str


class ImageContent(BaseModel):
    """Picture in a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


class FileData(BaseModel):
    """File as a `data:` URL, or only its base64."""

    filename: Annotated[str, Field(min_length=1, max_length=200)] = "file"
    file_data: str


class FileContent(BaseModel):
    """File in a message."""

    type: Literal["file"]
    file: FileData


Content = Annotated[TextContent | ImageContent | FileContent, Field(discriminator="type")]


class CompletionMessage(BaseModel):
    """Message of a conversation; `tool` messages belong to tools of the client, which are not supported."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[Content], Field(max_length=50)] | None = None

    @property
    def text(self) -> str:
        """Return the texts of the message."""
        if isinstance(self.content, str):
            return self.content.strip()
        texts_of = [each.text for each in self.content or () if isinstance(each, TextContent)]
        return "\n".join(texts_of).strip()

    def files(self) -> Iterator[SentFile]:
        """Yield the files of the message. Raises `Refusal` for a picture at another address."""
        for each in self.content if isinstance(self.content, list) else ():
            match each:
                case ImageContent(image_url=ImageUrl(url=url)):
                    yield _file("picture", url)
                case FileContent(file=FileData(filename=name, file_data=data)):
                    yield _file(name, data)


def _without_tools(tools: list[Json]) -> list[Json]:
    if tools:
        raise PydanticCustomError("tools", texts.OWN_TOOLS)
    return tools


class CompletionRequest(BaseModel):
    """Body of `POST /v1/chat/completions`; other fields of OpenAI's API have no effect."""

    model: Annotated[str, Field(max_length=200, json_schema_extra={"enum": [MODEL]})]
    messages: Annotated[list[CompletionMessage], Field(min_length=1, max_length=1_000)]
    stream: bool | None = False
    user: ThreadName | None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = 1
    tools: (
        Annotated[list[Json], AfterValidator(_without_tools), Field(json_schema_extra={"maxItems": 0})] | None
    ) = None


COMPLETION_REQUEST = TypeAdapter(CompletionRequest)


@dataclass(frozen=True, slots=True)
class CompletionRoutes:
    """Routes of the model that the agent is to these clients."""

    conversation: Conversation
    files: Files

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Handle `POST /v1/chat/completions`.

        With a thread, by the header `X-Thread-Id` or the field `user`, only the last message is new to the
        agent. Without one the whole conversation is in the request.
        """
        body = bodies.parse(COMPLETION_REQUEST, await bodies.read(request, bodies.MAX_CHAT_BYTES))
        _require_model(body.model)
        *earlier, last = body.messages
        if last.role != "user":
            raise Refusal(400, texts.LAST_NOT_USER)
        thread = _thread(request) or body.user
        text = last.text if thread else _transcript(earlier, last.text)
        uploads = list(last.files())
        if not text and not uploads:
            raise Refusal(400, texts.EMPTY_MESSAGE)
        if len(text) > MOST_MESSAGE_CHARS:
            raise Refusal(400, texts.long_conversation(MOST_MESSAGE_CHARS), code="context_length_exceeded")
        attachments = await store_files(self.files, uploads)
        chat = ChatRequest.model_construct(message=text, thread_id=thread)
        message = to_message(chat, request[CALLER], idempotency_key(request), attachments)
        form = CompletionFormat(
            f"chatcmpl-{message.id.rpartition(':')[2]}", message.author, bool(body.stream)
        )
        return await self.conversation.answer(request, message, form)

    async def models(self, request: web.Request) -> web.Response:
        """Handle `GET /v1/models`."""
        return web.json_response({"object": "list", "data": [_model()]})

    async def model(self, request: web.Request) -> web.Response:
        """Handle `GET /v1/models/<id>`."""
        _require_model(request.match_info["id"])
        return web.json_response(_model())


@dataclass(slots=True)
class CompletionFormat:
    """Format of a completion, or of its chunks, for the caller who is its `reader`."""

    id: str
    reader: str
    streams: bool
    _created: int = field(default_factory=lambda: int(time.time()))
    _has_begun: bool = False
    _blanks: str = ""
    """Blanks at the end of what was sent, which follow if more text does."""

    def is_stream(self, request: web.Request) -> bool:
        """Return whether the body asks for chunks."""
        return self.streams

    def whole(self, reply: Reply) -> Json:
        """Return the completion."""
        message = {"role": "assistant", "content": self._answer(reply), "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return {**self._head("chat.completion"), "choices": [choice]}

    def event(self, part: Part) -> bytes:
        """Return the chunk of a part."""
        whole = self._blanks + piece(part, self.reader)
        text = whole.rstrip("\n")
        self._blanks = whole[len(text) :]
        if not self._has_begun:
            text = text.lstrip("\n")
        if not text:
            return b""
        role = {} if self._has_begun else {"role": "assistant"}
        self._has_begun = True
        return self._chunk({**role, "content": text})

    def end(self, reply: Reply) -> bytes:
        """Return the last chunks: the tables and files, and the end."""
        _require_success(reply)
        more = "\n\n".join([*map(table_text, reply.tables), *_files_text(reply)])
        # its first blanks are left out if there is nothing before it
        last = self.event(Text(f"\n\n{more}")) if more else b""
        return last + self._chunk({}, "stop") + b"data: [DONE]\n\n"

    def failure(self, refusal: Refusal) -> bytes:
        """Return the error, after which nothing follows."""
        return _data(refusal.openai_body())

    def _answer(self, reply: Reply) -> str:
        _require_success(reply)
        return "\n\n".join(filter(None, [reply.markdown(self.reader), *_files_text(reply)]))

    def _chunk(self, delta: Json, reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        return _data({**self._head("chat.completion.chunk"), "choices": [choice]})

    def _head(self, kind: str) -> dict[str, Json]:
        return {"id": self.id, "object": kind, "created": self._created, "model": MODEL}


def _require_success(reply: Reply) -> None:
    if failure := reply.failure:
        raise Refusal(failure.status or 500, failure.text, {"x-should-retry": "false"})


def _files_text(reply: Reply) -> Sequence[str]:
    """Return a line for each file of an answer, and for those with what the tables leave out."""
    files = [*(each.file for each in reply.tables if not is_whole_in_text(each)), *reply.files]
    return [
        texts.file_line(escape(each.name), each.alt and escape(each.alt), to_json(each)["url"])
        for each in files
    ]


def _thread(request: web.Request) -> str | None:
    name = request.headers.get(THREAD)
    return None if name is None else bodies.check(_THREAD, name, THREAD)


def _transcript(earlier: Sequence[CompletionMessage], question: str) -> str:
    """Return a question, after the earlier messages of a conversation that has no thread here."""
    told = [f"[{each.role}]\n{each.text}" for each in earlier if each.text]
    return "\n\n".join([texts.EARLIER, *told, texts.QUESTION, question]) if told else question


def _file(name: str, data: str) -> SentFile:
    media_type, is_data, content = data.removeprefix("data:").partition(";base64,")
    if is_data and data.startswith("data:"):
        return SentFile.model_construct(name=name, media_type=media_type[:100], content_base64=content)
    if ":" in data[:20]:
        raise Refusal(400, texts.NO_DATA_URL)
    return SentFile.model_construct(name=name, content_base64=data)


def _require_model(name: str) -> None:
    if name != MODEL:
        raise Refusal(404, texts.other_model(MODEL), code="model_not_found")


def _model() -> dict[str, Json]:
    return {"id": MODEL, "object": "model", "created": 0, "owned_by": "threadmate"}


def _data(body: Json) -> bytes:
    return f"data: {json.dumps(body)}\n\n".encode()
