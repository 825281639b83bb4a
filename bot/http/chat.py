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
from dataclasses import dataclass, replace
from typing import Annotated, Protocol

from aiohttp import hdrs, web
from pydantic import BaseModel, Field, StringConstraints, TypeAdapter

from bot.chat import (
    Attachment,
    ConversationStore,
    Correction,
    Deliver,
    Files,
    InboxLookup,
    Json,
    Message,
    Notice,
    Part,
    Stop,
    StorageDown,
    ThreadId,
)
from bot.chat.texts import STOPPED
from bot.commands.commands import Commands, recognise_command
from bot.concurrency.tasks import cancel
from bot.http import bodies, texts
from bot.http.callers import CALLER, ApiCaller, caller_in
from bot.http.errors import Refusal, not_now
from bot.http.files import SentFile, store_files, table_json, to_json
from bot.http.part_json import part_json
from bot.http.replies import Replies, Reply, at_hand, stored_parts
from bot.http.timing import Timing
from bot.http.transcript import question_entry

logger = logging.getLogger(__name__)

LOOKING = "http looks for an answer"
"""Name of the task that looks up answers."""

TAKEN_BACK = Notice(STOPPED)
"""Answer to a message that waited after a stopped turn; that turn ends with the same word."""


MOST_MESSAGE_CHARS = 32_000
ThreadName = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class ChatRequest(BaseModel):
    """Body of `POST /chat`."""

    message: Annotated[str, StringConstraints(strip_whitespace=True, max_length=MOST_MESSAGE_CHARS)] = ""
    thread_id: ThreadName | None = None
    files: Annotated[list[SentFile], Field(max_length=20)] = []


CHAT_REQUEST = TypeAdapter(ChatRequest)

_WEIGHT = re.compile(r"[01](\.[0-9]{0,3})?")


class Conversation:
    """Chat over HTTP: delivers callers' messages and waits for the answers."""

    def __init__(
        self,
        replies: Replies,
        lookup: InboxLookup,
        files: Files,
        conversations: ConversationStore,
        timing: Timing,
    ) -> None:
        self._files = files
        self._recipients: tuple[Deliver, Commands] | None = None
        self._lookup = lookup
        self._conversations = conversations
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
        """Handle `POST /chat`."""
        body = bodies.parse(CHAT_REQUEST, await bodies.read(request, bodies.MAX_CHAT_BYTES))
        _require_content(body)
        attachments = await store_files(self._files, body.files)
        message = to_message(body, request[CALLER], idempotency_key(request), attachments)
        if not isinstance(recognise_command(message), Stop):
            await self._add(message)
        return await self.answer(request, message, ChatFormat(message.thread))

    async def _add(self, message: Message) -> None:
        """Add a question to its conversation, before the inbox has it: what is answered is always listed."""
        names = " ".join(each.name for each in message.attachments)
        try:
            await self._conversations.add(
                message.thread, message.id, message.text or names, question_entry(message)
            )
        except StorageDown as error:
            raise not_now(texts.PERHAPS_NOT_STORED) from error

    async def edit(self, correction: Correction) -> str:
        """Deliver a question in other words; return the id of the message that it becomes."""
        await self._hand_over(correction)
        return f"{correction.message.id}:edit:{correction.edited_at}"

    async def answer(
        self, request: web.Request, message: Message, form: "AnswerFormat"
    ) -> web.StreamResponse:
        """Deliver a message, and respond with its answer. A lost caller does not stop its turn."""
        order = recognise_command(message)
        if isinstance(order, Stop):
            return await self._respond(request, at_hand(Notice(await self._stop(order))), form)
        reply = self._replies.join(message.id)
        if not reply.over:
            await self._hand_over(message)
        async with self._background_lookup(message.thread, message.id, reply):
            return await self._respond(request, reply, form)

    async def follow(
        self, request: web.Request, thread: ThreadId, message_id: str, words: str
    ) -> web.StreamResponse:
        """Respond with the answer to a message in the inbox, or with `words` if it is unknown there."""
        reply = self._replies.join(message_id)
        if not (reply.over or reply.has_begun or await self._lookup.is_known(message_id)):
            reply = at_hand(Notice(words))
        async with self._background_lookup(thread, message_id, reply):
            return await self._respond(request, reply, ChatFormat(thread))

    async def _respond(self, request: web.Request, reply: Reply, form: "AnswerFormat") -> web.StreamResponse:
        if form.is_stream(request):
            return await self._stream(request, reply, form)
        async for _ in self._parts_of(reply):
            pass
        return web.json_response(form.whole(reply))

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

    async def _hand_over(self, event: Message | Correction) -> None:
        deliver, _ = self._require_recipients()
        try:
            async with asyncio.timeout(self._timing.delivery_timeout):
                await deliver(event)
        except Exception as error:  # a lost connection, too, does not tell whether Redis has stored it
            logger.exception("message delivery failed", extra={"kind": type(event).__name__})
            raise not_now(texts.PERHAPS_NOT_STORED) from error
        self.last_message_at = time.monotonic()

    def _parts_of(self, reply: Reply) -> AsyncIterator[Sequence[Part]]:
        return reply.follow(self._timing.keep_alive_interval, self._timing.answer_timeout)

    async def _stream(self, request: web.Request, reply: Reply, form: "AnswerFormat") -> web.StreamResponse:
        response = web.StreamResponse(
            headers={
                hdrs.CONTENT_TYPE: "text/event-stream",
                hdrs.CACHE_CONTROL: "no-store",
                "X-Accel-Buffering": "no",  # nginx would buffer the events
            }
        )
        try:
            await response.prepare(request)
            await self._send_events(response, reply, form)
            await response.write_eof()
        except ConnectionError:
            logger.debug("caller disconnected", extra={"path": request.path})
        return response

    async def _send_events(self, response: web.StreamResponse, reply: Reply, form: "AnswerFormat") -> None:
        try:
            async for parts in self._parts_of(reply):
                events = b"".join(map(form.event, parts)) if parts else b": still here\n\n"
                if events:
                    await response.write(events)
            end = form.end(reply)
        except Refusal as refusal:
            end = form.failure(refusal)
        await response.write(end)


class AnswerFormat(Protocol):
    """Format of a response with an answer: as JSON, or as server-sent events."""

    def is_stream(self, request: web.Request) -> bool:
        """Return whether the caller wants events."""

    def whole(self, reply: Reply) -> Json:
        """Return a complete answer as JSON. Raises `Refusal` if it has failed."""

    def event(self, part: Part) -> bytes:
        """Return the events of the next part; nothing if it has none."""

    def end(self, reply: Reply) -> bytes:
        """Return the last events of a complete answer. Raises `Refusal` if it has failed."""

    def failure(self, refusal: Refusal) -> bytes:
        """Return the last events of an answer that failed."""


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """Format of `POST /chat` for the caller whose thread it is."""

    thread: ThreadId

    def is_stream(self, request: web.Request) -> bool:
        """Return whether the `Accept` header prefers events."""
        return wants_stream(request.headers.getall(hdrs.ACCEPT, []))

    def whole(self, reply: Reply) -> Json:
        """Return the body of a complete answer."""
        return _answer(self.thread, reply)

    def event(self, part: Part) -> bytes:
        """Return the event of a part."""
        return _part_event(part, caller_in(self.thread).author)

    def end(self, reply: Reply) -> bytes:
        """Return the event `done`, with the body of the answer."""
        return _event("done", _answer(self.thread, reply))

    def failure(self, refusal: Refusal) -> bytes:
        """Return the event `error`."""
        return _event("error", refusal.body() | {"code": refusal.status})


def to_message(
    body: ChatRequest,
    caller: ApiCaller,
    idempotency_key: str | None,
    attachments: tuple[Attachment, ...] = (),
) -> Message:
    """Return the message of a request; the same caller, key and thread give the same ids."""
    thread_id = body.thread_id or new_thread_id(idempotency_key)
    return Message(
        id=f"http:{_message_name(caller, thread_id, idempotency_key)}",
        thread=caller.thread(thread_id),
        author=caller.author,
        text=body.message,
        sent_at=time.time(),
        addressed=True,
        direct=True,
        attachments=attachments,
    )


def new_thread_id(key: str | None) -> str:
    """Return the id of a new thread, the same one for the same idempotency key."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, key) if key else uuid.uuid4())


def _message_name(caller: ApiCaller, thread_id: str, idempotency_key: str | None) -> str:
    if idempotency_key is None:
        return uuid.uuid4().hex
    owner = [] if caller == ApiCaller() else [caller.name]  # so named before there were other callers
    return hashlib.sha256(json.dumps([*owner, thread_id, idempotency_key]).encode()).hexdigest()[:40]


def idempotency_key(request: web.Request) -> str | None:
    """Return the header `Idempotency-Key`. Raises `Refusal`."""
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
    markdown = reply.markdown(caller_in(thread).author)
    files: Json = {"files": [to_json(file) for file in reply.files]} if reply.files else {}
    if reply.tables:
        files["tables"] = [table_json(table) for table in reply.tables]
    if failure := reply.failure:
        response = {"response": markdown} if markdown else {}
        raise Refusal(failure.status or 500, failure.text, details={**response, **files, "final": True})
    return {"status": "success", "response": markdown, "thread_id": thread.channel, **files}


def _part_event(part: Part, reader: str) -> bytes:
    found = part_json(part, reader)
    return _event(*found) if found else b""


def _event(name: str, data: Json) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
