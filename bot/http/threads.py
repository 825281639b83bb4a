"""Routes below `/threads`: the caller's conversations. Those of others are not found."""

import asyncio
import hashlib
import json
import logging
import math
import time
from dataclasses import replace
from typing import Annotated

from aiohttp import hdrs, web
from pydantic import BaseModel, Field, StringConstraints, TypeAdapter

from bot.chat import (
    ConversationStore,
    Correction,
    InboxLookup,
    Json,
    Message,
    StillBusy,
    StorageDown,
    ThreadEraser,
    ThreadId,
    Transcript,
)
from bot.http import bodies, texts
from bot.http.callers import CALLER
from bot.http.chat import MOST_MESSAGE_CHARS, Conversation
from bot.http.errors import Refusal
from bot.http.transcript import messages, question_entry

log = logging.getLogger(__name__)

_MOST_LISTED = 100
_LISTED = 50
_MOST_WORDS = 200
_RENEWED_SECONDS = 60


class TitleRequest(BaseModel):
    """Body of `PATCH /threads/<id>`."""

    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class EditRequest(BaseModel):
    """Body of `POST /threads/<id>/edit`; the same `edited_at` (Unix seconds) is the same edit."""

    message: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MOST_MESSAGE_CHARS)
    ]
    edited_at: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


TITLE_REQUEST = TypeAdapter(TitleRequest)
EDIT_REQUEST = TypeAdapter(EditRequest)


class ThreadRoutes:
    """Routes of conversations."""

    def __init__(self, store: ConversationStore, lookup: InboxLookup, conversation: Conversation) -> None:
        self._store = store
        self._lookup = lookup
        self._conversation = conversation

    async def list(self, request: web.Request) -> web.Response:
        """Handle `GET /threads`: return the newest conversations, with `q` those that have its words."""
        words = request.query.get("q", "")
        if len(words) > _MOST_WORDS:
            raise Refusal(400, texts.long_search(_MOST_WORDS))
        limit = int(min(max(_number(request, "limit", _LISTED), 1), _MOST_LISTED))
        before = _number(request, "before", math.inf)
        found = await self._store.titles(
            request[CALLER].thread(""),
            words,
            None if math.isinf(before) else before,
            limit + 1,
        )
        more, found = len(found) > limit, found[:limit]
        active = await self._lookup.active([each.thread for each in found])
        threads: list[Json] = [
            {
                "id": each.thread.channel,
                "title": each.title,
                "updated_at": each.updated_at,
                "is_running": each.thread in active,
            }
            for each in found
        ]
        return _unless_known(request, {"status": "success", "threads": threads, "has_more": more})

    async def show(self, request: web.Request) -> web.Response:
        """Handle `GET /threads/<id>`: return the questions and answers of a conversation."""
        thread, now = _thread(request), time.time()
        # first: an answer is stored in the step that ends its turn
        is_active = bool(await self._lookup.active([thread]))
        revision = await self._store.revision(thread)
        # a question without an answer looks otherwise after some time
        tag = f"{revision}-{int(is_active)}-{int(now / _RENEWED_SECONDS)}"
        if revision is not None and _knows(request, tag):
            return web.Response(status=304, headers=_headers(tag))
        found = await self._find(thread)
        return web.json_response(
            {
                "status": "success",
                "id": thread.channel,
                "title": found.title,
                "updated_at": found.updated_at,
                "is_running": is_active,
                "has_earlier": found.has_earlier,
                "messages": messages(found, is_active=is_active, now=now),
            },
            headers=_headers(tag),
        )

    async def rename(self, request: web.Request) -> web.Response:
        """Handle `PATCH /threads/<id>`."""
        body = bodies.parse(TITLE_REQUEST, await bodies.read(request))
        return _done(texts.RENAMED, is_found=await self._store.rename(_thread(request), body.title))

    async def delete(self, request: web.Request) -> web.Response:
        """Handle `DELETE /threads/<id>`: it can be restored for some minutes, then it is forgotten."""
        return _done(texts.DELETED, is_found=await self._store.delete(_thread(request)))

    async def restore(self, request: web.Request) -> web.Response:
        """Handle `POST /threads/<id>/restore`."""
        await bodies.read(request)  # the required content type keeps out forms of other websites
        return _done(texts.RESTORED, is_found=await self._store.delete(_thread(request), restores=True))

    async def follow(self, request: web.Request) -> web.StreamResponse:
        """Handle `GET /threads/<id>/answer`: respond with the answer to the oldest question without one."""
        thread = _thread(request)
        found = await self._find(thread)
        answered = {id for each in found.answers.values() for id in json.loads(each)["messages"]}
        waiting = [
            (json.loads(entry)["at"], id) for id, entry in found.questions.items() if id not in answered
        ]
        known = [id for _, id in sorted(waiting) if await self._lookup.is_known(id)]
        if not known:
            raise Refusal(404, texts.NOTHING_RUNS)
        return await self._conversation.follow(request, thread, known[0], texts.NOTHING_RUNS)

    async def edit(self, request: web.Request) -> web.StreamResponse:
        """Handle `POST /threads/<id>/edit`: respond with the answer to the last question in other words."""
        body = bodies.parse(EDIT_REQUEST, await bodies.read(request))
        thread, caller = _thread(request), request[CALLER]
        found = await self._find(thread)
        if not found.questions:
            raise Refusal(409, texts.NOT_EDITED)
        entries = {id: json.loads(entry) for id, entry in found.questions.items()}
        last = max(entries, key=lambda id: float(entries[id]["at"]))
        edited_at = min(body.edited_at or math.inf, time.time())
        message = Message(
            id=last,
            thread=thread,
            author=caller.author,
            text=body.message,
            sent_at=entries[last]["at"],
            addressed=True,
            direct=True,
        )
        edit = await self._conversation.edit(Correction(message=message, edited_at=edited_at))
        if not await self._lookup.is_known(edit):
            raise Refusal(409, texts.NOT_EDITED)
        entry = question_entry(replace(message, sent_at=entries[last]["at"]))
        await self._store.replace(thread, last, body.message, entry)
        return await self._conversation.follow(request, thread, edit, texts.NOT_EDITED)

    async def _find(self, thread: ThreadId) -> Transcript:
        found = await self._store.find(thread)
        if found is None:
            raise Refusal(404, texts.NO_THREAD)
        return found


async def keep_forgetting(store: ConversationStore, eraser: ThreadEraser, seconds: float) -> None:
    """Forget deleted conversations every few `seconds`, until cancelled. Another process may do the same."""
    while True:
        try:
            for thread in await store.expired():
                await _forget(store, eraser, thread)
        except StorageDown as error:
            log.warning("deleted conversations not forgotten", extra={"error": str(error)})
        await asyncio.sleep(seconds)


async def _forget(store: ConversationStore, eraser: ThreadEraser, thread: ThreadId) -> None:
    """Forget a conversation; its entry goes last, so that a crash before it has this done again."""
    try:
        await eraser.forget_thread(thread)
    except StillBusy:
        log.info("deleted conversation in use", extra={"thread_id": str(thread)})
        return
    await store.remove(thread)
    log.info("conversation forgotten", extra={"thread_id": str(thread)})


def _thread(request: web.Request) -> ThreadId:
    """Return the caller's thread in the path. Raises `Refusal` for an id that no thread can have."""
    id = request.match_info["id"]
    if len(id) > 200 or not id.isprintable():
        raise Refusal(404, texts.NO_THREAD)
    return request[CALLER].thread(id)


def _number(request: web.Request, name: str, default: float) -> float:
    try:
        number = float(request.query.get(name, default))
    except ValueError:
        number = math.nan
    if math.isnan(number) or (math.isinf(number) and name in request.query):
        raise Refusal(400, texts.not_a_number(name))
    return number


def _unless_known(request: web.Request, body: Json) -> web.Response:
    """Return a body with its digest as ETag, or 304 without it if the caller has the same."""
    text = json.dumps(body)
    tag = hashlib.sha256(text.encode()).hexdigest()[:32]
    if _knows(request, tag):
        return web.Response(status=304, headers=_headers(tag))
    return web.Response(text=text, content_type="application/json", headers=_headers(tag))


def _knows(request: web.Request, tag: str) -> bool:
    return any(each.value == tag for each in request.if_none_match or ())


def _headers(tag: str) -> dict[str, str]:
    return {hdrs.ETAG: f'"{tag}"', hdrs.CACHE_CONTROL: "private, no-cache"}


def _done(words: str, *, is_found: bool) -> web.Response:
    if not is_found:
        raise Refusal(404, texts.NO_THREAD)
    return web.json_response({"status": "success", "message": words})
