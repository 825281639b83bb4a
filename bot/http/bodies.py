"""Request bodies: read within limits, and JSON parsed into typed models."""

import asyncio
from collections.abc import Sequence
from typing import TypeVar

from aiohttp import hdrs, web
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from bot.http import texts
from bot.http.connections import BOUNDS
from bot.http.errors import Refusal

MAX_BODY_BYTES = 1 << 20
MAX_CHAT_BYTES = 24 << 20
"""Limit of `POST /chat`, which may contain files."""

MAX_TYPE_CHARS = 200
"""Longest Content-Type for a handler that lets aiohttp parse it."""

_MAX_FAULTS = 10

_MAX_MARKS = 100_000
"""Most commas, and brackets of each kind, in a body that only base64 makes larger than `MAX_BODY_BYTES`.

Base64 has none of them, and a message has at most its 32,000 characters. Millions of tiny values blocked the
event loop for 3 s and took 1 GiB.
"""

Body = TypeVar("Body")


async def read(request: web.Request, most_bytes: int = MAX_BODY_BYTES) -> bytes:
    """Return the body of a JSON request. Raises `Refusal` (400, 408, 413, 415).

    The required content type also keeps out forms of other websites, which cannot send it.
    """
    if _media_type(request) != "application/json":
        raise Refusal(415, texts.NOT_JSON)
    return await receive(request, most_bytes)


async def receive(request: web.Request, most_bytes: int = MAX_BODY_BYTES) -> bytes:
    """Return the body of any request. Raises `Refusal` (400, 408, 413, 415)."""
    if any(each.strip().lower() not in ("", "identity") for each in _encodings(request)):
        raise Refusal(415, texts.COMPRESSED)
    if (request.content_length or 0) > most_bytes:
        raise Refusal(413, texts.larger_than(most_bytes))
    # the request itself keeps its body for later readers
    bounded = request if most_bytes == MAX_BODY_BYTES else request.clone(client_max_size=most_bytes)
    bounds = request.app[BOUNDS]
    seconds = bounds.body + most_bytes / bounds.bytes_per_second
    try:
        async with asyncio.timeout(seconds):
            return await bounded.read()
    except TimeoutError as error:
        raise Refusal(408, texts.not_received(seconds)) from error
    except (web.RequestPayloadError, ConnectionError, RuntimeError) as error:  # the last: closed before
        raise Refusal(400, texts.BODY_INCOMPLETE) from error


def _media_type(request: web.Request) -> str:
    """Return the media type of a request without its parameters.

    aiohttp parses the header like that of an e-mail: 8 KiB of it can take a second, or exhaust the stack.
    """
    return request.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()


def _encodings(request: web.Request) -> list[str]:
    return ",".join(request.headers.getall(hdrs.CONTENT_ENCODING, [])).split(",")


def parse(shape: TypeAdapter[Body], body: bytes) -> Body:
    """Return the parsed body. Raises `Refusal` (400) that names the faults."""
    if len(body) > MAX_BODY_BYTES and any(_has_many(body, mark) for mark in (b",", b"[", b"{")):
        raise Refusal(400, texts.TOO_MANY_VALUES)
    try:
        return shape.validate_json(body)
    except ValidationError as error:
        raise Refusal(400, _sentence(error.errors(include_url=False, include_input=False))) from error


def check(shape: TypeAdapter[Body], value: object, name: str) -> Body:
    """Return the value of a header or a parameter. Raises `Refusal` (400) that names the fault."""
    try:
        return shape.validate_python(value)
    except ValidationError as error:
        raise Refusal(400, texts.faults([f"{name}: {error.errors()[0]['msg']}"], 0)) from error


def _has_many(body: bytes, mark: bytes) -> bool:
    """Return whether a mark occurs more than `_MAX_MARKS` times.

    Each occurrence is searched for: `bytes.count` needs 20 times as long where there are few.
    """
    at = -1
    for _ in range(_MAX_MARKS + 1):
        at = body.find(mark, at + 1)
        if at < 0:
            return False
    return True


def _sentence(faults: Sequence[ErrorDetails]) -> str:
    told = [f"{_where(fault)}: {fault['msg']}" for fault in faults[:_MAX_FAULTS]]
    return texts.faults(told, len(faults) - len(told))


def _where(fault: ErrorDetails) -> str:
    return ".".join(str(step) for step in fault["loc"]) or "The body"
