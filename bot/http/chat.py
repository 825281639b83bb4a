"""Route `POST /chat`: takes a message, answers as JSON or as server-sent events."""

import asyncio
import hashlib
import json
import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, replace
from typing import Annotated, assert_never

from aiohttp import hdrs, web
from pydantic import BaseModel, Field, StringConstraints, TypeAdapter

from bot.chat import (
    AnswerButtons,
    Approval,
    Attachment,
    Deliver,
    File,
    Files,
    InboxLookup,
    Json,
    Message,
    Notice,
    Part,
    Question,
    Stop,
    StorageDown,
    Table,
    Text,
    ThreadId,
    ToolStep,
)
from bot.chat.texts import STOPPED
from bot.commands.commands import Commands, recognise_command
from bot.concurrency.tasks import cancel
from bot.http import bodies, texts
from bot.http.errors import Refusal, not_now
from bot.http.files import SentFile, store_files, table_json, to_json
from bot.http.replies import CALLER, Replies, Reply, at_hand, request_text, stored_parts
from bot.http.timing import Timing

logger = logging.getLogger(__name__)

LOOKING = "http looks for an answer"
"""Name of the task that looks up answers."""

TAKEN_BACK = Notice(STOPPED)
"""Answer to a message that waited after a stopped turn; that turn ends with the same word."""

AUTHOR = CALLER
OWNER = "api"
"""Value of `ThreadId.space` for all callers."""


class ChatRequest(BaseModel):
    """Body of `POST /chat`."""

    message: Annotated[str, StringConstraints(strip_whitespace=True, max_length=32_000)] = ""
    thread_id: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    files: Annotated[list[SentFile], Field(max_length=20)] = []


_CHAT_REQUEST = TypeAdapter(ChatRequest)

_WEIGHT = re.compile(r"[01](\.[0-9]{0,3})?")


class Conversation:
    """Chat over HTTP: delivers callers' messages and waits for the answers."""

    def __init__(self, replies: Replies, lookup: InboxLookup, files: Files, timing: Timing) -> None:
        self._files = files
        self._recipients: tuple[Deliver, Commands] | None = None
        self._lookup = lookup
        self.last_message_at: float | None = None
        self._replies = replies
        self._timing = timing

    @property
    def is_open(self) -> bool:
        """Return True while messages are accepted."""
        return self._recipients is not None

    @contextmanager
    def open(self, deliver: Deliver, commands: Commands) -> Iterator[None]:
        """Accept messages, and stops for `commands`, while the context is open."""
        self._recipients = deliver, commands
        try:
            yield
        finally:
            self._recipients = None

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Handle `POST /chat`. A caller that disconnects does not stop its turn."""
        body = bodies.parse(_CHAT_REQUEST, await bodies.read(request, bodies.MAX_CHAT_BYTES))
        _require_content(body)
        attachments = await store_files(self._files, body.files)
        message = to_message(body, _idempotency_key(request), attachments)
        order = recognise_command(message)
        if isinstance(order, Stop):
            return await self._answer(request, message.thread, at_hand(Notice(await self._stop(order))))
        reply = self._replies.join(message.id)
        if not reply.over:
            await self._hand_over(message)
        async with self._background_lookup(message.thread, message.id, reply):
            return await self._answer(request, message.thread, reply)

    async def follow(
        self, request: web.Request, thread: ThreadId, message_id: str, words: str
    ) -> web.StreamResponse:
        """Respond with the answer to a message in the inbox, or with `words` if it is unknown there."""
        reply = self._replies.join(message_id)
        if not (reply.over or reply.has_begun or await self._lookup.is_known(message_id)):
            reply = at_hand(Notice(words))
        async with self._background_lookup(thread, message_id, reply):
            return await self._answer(request, thread, reply)

    async def _answer(self, request: web.Request, thread: ThreadId, reply: Reply) -> web.StreamResponse:
        if wants_stream(request.headers.getall(hdrs.ACCEPT, [])):
            return await self._stream(request, thread, reply)
        async for _ in self._parts_of(reply):
            pass
        return web.json_response(_answer(thread, reply))

    @asynccontextmanager
    async def _background_lookup(
        self, thread: ThreadId, message_id: str, reply: Reply
    ) -> AsyncIterator[None]:
        """Look up the answer in the store in the background, while the context is open.

        Another process may give or have given it, or a stop may have withdrawn the message.
        """
        looking = asyncio.create_task(self._look_up(thread, message_id, reply), name=LOOKING)
        try:
            yield
        finally:
            await cancel(looking)

    async def _look_up(self, thread: ThreadId, message_id: str, reply: Reply) -> None:
        while not (reply.over or reply.has_begun):  # a reply that has begun here also ends here
            try:
                found = await self._stored_answer(thread, message_id)
            except StorageDown as error:
                logger.info("answer look-up failed", extra={"error": str(error)})
            else:
                if found and not reply.has_begun:
                    for part in found:
                        reply.add(part)
                    reply.finish()
            await asyncio.sleep(self._timing.answer_poll)

    async def _stored_answer(self, thread: ThreadId, message_id: str) -> Sequence[Part]:
        """Return the whole answer from the store, or nothing if there is none yet."""
        receipt = await self._lookup.receipt_of(message_id)
        if receipt and receipt.get("finished"):
            return stored_parts(receipt)
        if receipt is None and await self._lookup.is_taken_back(thread, message_id):
            return [TAKEN_BACK]
        return ()

    async def _stop(self, order: Stop) -> str:
        """Stop a thread and return the sentence for the caller, because a stop starts no turn."""
        _, commands = self._require_recipients()
        try:
            async with asyncio.timeout(self._timing.delivery_timeout):
                # no time: it cannot come late, and the clock of another process may be behind this one
                answer = await commands.stop(replace(order, at=0.0))
        except Exception as error:  # errors of the store, time-outs: a repeated stop does no harm
            logger.exception("stop failed", extra={"thread_id": str(order.thread)})
            raise not_now(texts.PERHAPS_NOT_STOPPED) from error
        self.last_message_at = time.monotonic()
        logger.info("stop taken", extra={"thread_id": str(order.thread), "answer": answer})
        return answer

    def _require_recipients(self) -> tuple[Deliver, Commands]:
        if self._recipients is None:
            raise not_now(texts.NOT_RECEIVING)
        return self._recipients

    async def _hand_over(self, message: Message) -> None:
        deliver, _ = self._require_recipients()
        try:
            async with asyncio.timeout(self._timing.delivery_timeout):
                await deliver(message)
        except Exception as error:  # a lost connection, too, does not tell whether Redis has stored it
            logger.exception("message delivery failed", extra={"thread_id": str(message.thread)})
            raise not_now(texts.PERHAPS_NOT_STORED) from error
        self.last_message_at = time.monotonic()

    def _parts_of(self, reply: Reply) -> AsyncIterator[Sequence[Part]]:
        return reply.follow(self._timing.keep_alive_interval, self._timing.answer_timeout)

    async def _stream(self, request: web.Request, thread: ThreadId, reply: Reply) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={
                hdrs.CONTENT_TYPE: "text/event-stream",
                hdrs.CACHE_CONTROL: "no-store",
                "X-Accel-Buffering": "no",  # nginx would buffer the events
            }
        )
        try:
            await response.prepare(request)
            await self._send_events(response, thread, reply)
            await response.write_eof()
        except ConnectionError:
            logger.debug("caller disconnected", extra={"thread_id": str(thread)})
        return response

    async def _send_events(self, response: web.StreamResponse, thread: ThreadId, reply: Reply) -> None:
        try:
            async for parts in self._parts_of(reply):
                events = b"".join(map(_part_event, parts)) if parts else b": still here\n\n"
                if events:
                    await response.write(events)
            answer = _answer(thread, reply)
        except Refusal as refusal:
            await response.write(_event("error", refusal.body() | {"code": refusal.status}))
        else:
            await response.write(_event("done", answer))


def to_message(
    body: ChatRequest, idempotency_key: str | None, attachments: tuple[Attachment, ...] = ()
) -> Message:
    """Return the message of a request; the same key and thread give the same message and thread ids."""
    thread_id = body.thread_id or _new_thread_id(idempotency_key)
    return Message(
        id=f"http:{_message_name(thread_id, idempotency_key)}",
        thread=ThreadId("http", OWNER, thread_id),
        author=AUTHOR,
        text=body.message,
        sent_at=time.time(),
        addressed=True,
        direct=True,
        attachments=attachments,
    )


def _new_thread_id(idempotency_key: str | None) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, idempotency_key) if idempotency_key else uuid.uuid4())


def _message_name(thread_id: str, idempotency_key: str | None) -> str:
    if idempotency_key is None:
        return uuid.uuid4().hex
    return hashlib.sha256(json.dumps([thread_id, idempotency_key]).encode()).hexdigest()[:40]


def _idempotency_key(request: web.Request) -> str | None:
    key = request.headers.get("Idempotency-Key") or None
    if key and len(key) > 255:
        raise Refusal(400, texts.LONG_KEY)
    if key and not key.isprintable():
        raise Refusal(400, texts.UNPRINTABLE_KEY)
    return key


def _require_content(body: ChatRequest) -> None:
    if body.message or body.files:
        return
    if "message" not in body.model_fields_set:
        raise Refusal(400, texts.NO_MESSAGE)
    raise Refusal(400, texts.EMPTY_MESSAGE)


def wants_stream(accept: Sequence[str]) -> bool:
    """Return True if these `Accept` headers name server-sent events and do not prefer JSON.

    https://www.rfc-editor.org/rfc/rfc9110#field.accept
    """
    qualities = dict(map(_quality, ",".join(accept).split(",")))
    stream = qualities.get("text/event-stream", 0)
    return stream > 0 and stream >= qualities.get("application/json", 0)


def _quality(media_range: str) -> tuple[str, float]:
    name, *parameters = (each.strip().lower() for each in media_range.split(";"))
    weight = next((each[2:] for each in parameters if each.startswith("q=")), "1")
    return name, float(weight) if _WEIGHT.fullmatch(weight) else 0


def _answer(thread: ThreadId, reply: Reply) -> dict[str, Json]:
    """Return the body of a complete answer. Raises `Refusal` if it has failed.

    A failure is final: a repeated request with the same key gets it again.
    """
    files: Json = {"files": [to_json(file) for file in reply.files]} if reply.files else {}
    if reply.tables:
        files["tables"] = [table_json(table) for table in reply.tables]
    if failure := reply.failure:
        response = {"response": reply.markdown} if reply.markdown else {}
        raise Refusal(failure.status or 500, failure.text, details={**response, **files, "final": True})
    return {"status": "success", "response": reply.markdown, "thread_id": thread.channel, **files}


def _part_event(part: Part) -> bytes:
    match part:
        case Text():
            return _event("text", {"text": part.text})
        case Notice():
            if part.status:  # the last event reports it
                return b""
            return _event("notice", {"text": part.text})
        case Approval():
            return _event(
                "approval", asdict(part) | {"text": request_text(part), "whole": request_text(part)}
            )
        case Question():
            return _event("question", asdict(part) | {"question": part.text, "text": request_text(part)})
        case ToolStep():
            fields = {"id": part.id, "name": part.name, "state": part.state}
            return _event("tool", fields | {"title": part.title, "output": part.output})
        case Table():
            return _event("table", table_json(part))
        case File():
            return _event("file", to_json(part))
        case AnswerButtons():
            return _event("buttons", asdict(part))
        case _:
            assert_never(part)


def _event(name: str, data: Json) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
