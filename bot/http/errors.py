"""Every error leaves as `{"status": "error", "message"}`, in words the caller can act on."""

import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import hdrs, web

from bot.chat import AnswerError, BotError, Json, RateLimited, StorageDown, Unreachable

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

RETRY_AFTER = 5
"""Seconds after which a caller that found us unready may try again."""


class Refusal(Exception):
    """Answer this request with an HTTP error status and a sentence."""

    def __init__(
        self,
        status: int,
        message: str,
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, Json] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}
        self._details = details or {}

    def body(self) -> dict[str, Json]:
        """Return the body as JSON: the message, and the details beside it."""
        return {"status": "error", "message": self.message, **self._details}

    def response(self) -> web.Response:
        """The refusal as a response of its own."""
        return web.json_response(self.body(), status=self.status, headers=self.headers)


def not_now(message: str) -> Refusal:
    """503: the same request may work a little later."""
    return Refusal(503, message, {hdrs.RETRY_AFTER: str(RETRY_AFTER)})


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The error boundary of every route."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return refusal.response()
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _from_aiohttp(request, error).response()
    except BotError as error:
        return _from_bot(error).response()
    except Exception:  # the outermost boundary: whatever happened, the caller gets an answer
        reference = uuid.uuid4().hex[:12]
        logger.exception(
            "request failed", extra={"reference": reference, "method": request.method, "path": request.path}
        )
        return Refusal(500, f"Something went wrong. The log has it under reference {reference}.").response()


def _from_aiohttp(request: web.Request, error: web.HTTPException) -> Refusal:
    match error:
        case web.HTTPNotFound():
            return Refusal(404, f"There is nothing at {request.path}.")
        case web.HTTPMethodNotAllowed(method=method, allowed_methods=allowed):
            methods = ", ".join(sorted(allowed))
            return Refusal(405, f"{request.path} takes {methods}, not {method}.", {hdrs.ALLOW: methods})
        case web.HTTPRequestEntityTooLarge():
            return Refusal(413, "The body is too large.")
        case _:
            return Refusal(error.status, error.reason)


def _from_bot(error: BotError) -> Refusal:
    match error:
        case RateLimited(retry_after=seconds):
            return Refusal(429, str(error), {hdrs.RETRY_AFTER: str(round(seconds + 0.5))})
        case Unreachable() | StorageDown():
            return not_now(str(error))
        case AnswerError(status=status):
            return Refusal(status, str(error))
        case _:
            return Refusal(400, str(error))
