"""Route `POST /hooks/<name>`: takes signed deliveries, which the bot posts into a channel."""

import asyncio
import hashlib
import hmac
import json
import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import parse_qs

from aiohttp import web

from bot.chat import Deliver, Hook, Json, Message, Quote, ThreadId
from bot.chat.text import shorten
from bot.http import texts
from bot.http.bodies import MAX_TYPE_CHARS
from bot.http.callers import PLATFORM
from bot.http.errors import Refusal, not_now
from bot.http.timing import Timing

log = logging.getLogger(__name__)

PATH = "/hooks/{name}"

MAX_BYTES = 256 << 10
"""Largest body of a delivery."""

_MOST_SHOWN, _MOST_QUOTED = 1_500, 12_000
"""Most characters of a delivery in the channel, and for the agent."""

_MOST_AGE = 300.0
"""Seconds by which the time of a signature may differ from the clock."""

_SECONDS = re.compile("[0-9]{1,12}", re.ASCII)
_IDS = ("X-GitHub-Delivery", "Idempotency-Key", "webhook-id")
_MOST_ID_CHARS = 255
_WORDS = ("text", "message")
"""Fields of a delivery with a text for people."""

_NOBODY = Hook(name="", channel="", secret="none")  # noqa: S106 - stands for a hook that does not exist


class Hooks:
    """Route of the hooks: it authenticates deliveries, and has them stored."""

    def __init__(self, hooks: Sequence[Hook], timing: Timing) -> None:
        self._hooks = {each.name: each for each in hooks}
        self._timing = timing
        self._deliver: Deliver | None = None

    def __bool__(self) -> bool:
        return bool(self._hooks)

    @contextmanager
    def open(self, deliver: Deliver) -> Iterator[None]:
        """Take deliveries, which `deliver` stores, while the context is open."""
        self._deliver = deliver
        try:
            yield
        finally:
            self._deliver = None

    async def handle(self, request: web.Request) -> web.Response:
        """Handle a delivery: 202 once it is stored, also if it was stored before."""
        hook, body = self._hooks.get(request.match_info["name"]), await request.read()
        if len(body) > MAX_BYTES:
            raise Refusal(413, texts.larger_than(MAX_BYTES))
        is_signed = _is_signed((hook or _NOBODY).secret.encode(), body, request.headers)
        if hook is None or not is_signed:
            raise Refusal(401, texts.NOT_SIGNED)
        message = _to_message(hook, _id_of(request.headers, body), *_read(body, request.headers))
        await self._store(message)
        return web.json_response({"status": "accepted", "id": message.thread.thread}, status=202)

    async def _store(self, message: Message) -> None:
        if self._deliver is None:
            raise not_now(texts.NOT_RECEIVING)
        try:
            async with asyncio.timeout(self._timing.delivery_timeout):
                await self._deliver(message)
        except Exception as error:  # a lost connection, too, does not tell whether Redis has stored it
            log.exception("hook delivery not stored", extra={"hook": message.author_name})
            raise not_now(texts.PERHAPS_NOT_DELIVERED) from error


def _is_signed(secret: bytes, body: bytes, headers: Mapping[str, str]) -> bool:
    """Return whether a body has GitHub's signature, or one with a time that is not long ago."""
    if "X-Signature" in headers:
        at = headers.get("X-Signature-Timestamp", "")
        if not _SECONDS.fullmatch(at) or abs(time.time() - int(at)) > _MOST_AGE:
            return False
        given, expected = headers["X-Signature"], f"v1={_hmac(secret, at.encode() + b'.' + body)}"
    else:
        given, expected = headers.get("X-Hub-Signature-256", ""), f"sha256={_hmac(secret, body)}"
    return hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), expected.encode())


def _hmac(secret: bytes, content: bytes) -> str:
    return hmac.new(secret, content, hashlib.sha256).hexdigest()


def _id_of(headers: Mapping[str, str], body: bytes) -> str:
    """Return the sender's id of a delivery, else one made from its body. Raises `Refusal`."""
    name = next((each for each in _IDS if headers.get(each, "").strip()), None)
    if name is None:
        return f"body:{hashlib.sha256(body).hexdigest()}"
    if len(headers[name]) > _MOST_ID_CHARS:
        raise Refusal(400, texts.long_id(name, _MOST_ID_CHARS))
    return f"id:{headers[name].strip()}"


def _read(body: bytes, headers: Mapping[str, str]) -> tuple[str, bool]:
    """Return a delivery as text, and whether that is JSON. Raises `Refusal` for an empty one."""
    text = body.decode("utf-8-sig", "replace")
    media_type = headers.get("Content-Type", "")[:MAX_TYPE_CHARS].partition(";")[0].strip().lower()
    if media_type == "application/x-www-form-urlencoded":  # GitHub's other form
        text = _payload_in(text) or text
    try:
        value = json.loads(text)
    except (RecursionError, ValueError):
        value = text
    if isinstance(value, dict):
        words = (value.get(each) for each in _WORDS)
        value = next((each for each in words if isinstance(each, str) and each.strip()), value)
    if not isinstance(value, str):
        return _pretty(value), True
    if not value.strip():
        raise Refusal(400, texts.EMPTY_DELIVERY)
    return value.strip(), False


def _payload_in(form: str) -> str:
    try:
        return parse_qs(form, max_num_fields=20).get("payload", [""])[0]
    except ValueError:
        return ""


def _pretty(value: Json) -> str:
    """Return a value as indented JSON, only as much as is used of it: deep values grow by their blanks."""
    pieces: list[str] = []
    size = 0
    try:
        for piece in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(value):
            pieces.append(piece)
            size += len(piece)
            if size > _MOST_QUOTED:
                break
    except RecursionError:
        log.info("hook delivery cut, it is too deep")
    return "".join(pieces)


def _to_message(hook: Hook, id: str, text: str, is_json: bool) -> Message:
    """Return the message of a delivery, in a thread of its own; the same id gives the same message."""
    name = hashlib.sha256(json.dumps([hook.name, id]).encode("utf-8", "surrogatepass")).hexdigest()[:40]
    shown = shorten(text, _MOST_SHOWN)
    if is_json:
        inert = shown.replace("```", "`\u200b`\u200b`")
        shown = f"```json\n{inert}\n```"
    return Message(
        id=f"{hook.author}:{name}",
        thread=ThreadId(PLATFORM, f"hook:{hook.name}", name),
        author=hook.author,
        author_name=hook.name,
        # the name first: no text is a command
        text=f"**{hook.name}**\n{shown}",
        sent_at=time.time(),
        addressed=True,
        channel=hook.channel,  # so that hooks share turns by channel, and not all that HTTP callers have
        bot_ids=(hook.author,),
        quotes=(Quote(source=f"the hook {hook.name}", text=shorten(text, _MOST_QUOTED)),),
    )
