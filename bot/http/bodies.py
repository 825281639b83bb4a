"""Reading JSON bodies into typed models."""

from collections.abc import Sequence
from typing import TypeVar

from aiohttp import hdrs, web
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from bot.http.errors import Refusal

MAX_BODY_BYTES = 1 << 20
MAX_CHAT_BYTES = 24 << 20
"""The same of `POST /chat`, which may bring files along."""

Body = TypeVar("Body")


async def read(request: web.Request, most_bytes: int = MAX_BODY_BYTES) -> bytes:
    """The body of a JSON request. Raises `Refusal` (415, 400); aiohttp raises 413.

    A form of another website cannot send this content type, so asking for it also keeps forms out.
    """
    if request.content_type != "application/json":
        raise Refusal(415, f"Send JSON, with the header “{hdrs.CONTENT_TYPE}: application/json”.")
    try:
        return await request.clone(client_max_size=most_bytes).read()
    except (web.RequestPayloadError, ConnectionError) as error:
        raise Refusal(400, "The body ended early or is not encoded as its headers say.") from error


def parse(shape: TypeAdapter[Body], body: bytes) -> Body:
    """Raises `Refusal` (400) that names every fault."""
    try:
        return shape.validate_json(body)
    except ValidationError as error:
        raise Refusal(400, _sentence(error.errors(include_url=False, include_input=False))) from error


def _sentence(faults: Sequence[ErrorDetails]) -> str:
    return "; ".join(f"{_where(fault)}: {fault['msg']}" for fault in faults)


def _where(fault: ErrorDetails) -> str:
    return ".".join(str(step) for step in fault["loc"]) or "The body"
