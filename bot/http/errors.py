"""HTTP errors: every error becomes `{"status": "error", "message"}` with a sentence that helps the caller."""

import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import hdrs, web

from bot.chat import AnswerError, BotError, Json, PressRefused, RateLimited, StorageDown, Unreachable
from bot.chat.texts import NO_STORAGE, command_failed
from bot.http import texts

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

OPENAI_PATH = "/v1/"
"""First part of the paths for clients of OpenAI's API."""

RETRY_AFTER = 5
"""Seconds after which a caller may retry a 503."""


class Refusal(Exception):
    """HTTP error with a status and a sentence for the caller."""

    def __init__(
        self,
        status: int,
        message: str,
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, Json] | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}
        self.code = code
        """Code of OpenAI's API for the error, if it has one."""
        self._details = details or {}

    def body(self) -> dict[str, Json]:
        """Return the body as JSON: the message, and the details."""
        return {"status": "error", "message": self.message, **self._details}

    def openai_body(self) -> dict[str, Json]:
        """Return the body in the form of OpenAI's API.

        https://platform.openai.com/docs/guides/error-codes
        """
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        if self.status == 429:
            kind = "rate_limit_error"
        code = "invalid_api_key" if self.status == 401 else self.code
        return {"error": {"message": self.message, "type": kind, "param": None, "code": code}}

    def response(self, path: str = "") -> web.Response:
        """Return the refusal as a response, in the form that clients of the path expect."""
        body = self.openai_body() if path.startswith(OPENAI_PATH) else self.body()
        return web.json_response(body, status=self.status, headers=self.headers)


def not_now(message: str) -> Refusal:
    """Return a refusal with 503: the same request may succeed later."""
    return Refusal(503, message, {hdrs.RETRY_AFTER: str(RETRY_AFTER)})


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error of a route into a JSON response (error boundary)."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return refusal.response(request.path)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _from_aiohttp(request, error).response(request.path)
    except BotError as error:
        return _from_bot(error).response(request.path)
    except Exception:  # the outermost boundary: the trace is logged, the caller gets a 500
        reference = uuid.uuid4().hex[:12]
        logger.exception(
            "request failed", extra={"reference": reference, "method": request.method, "path": request.path}
        )
        return Refusal(500, command_failed(reference)).response(request.path)


def _from_aiohttp(request: web.Request, error: web.HTTPException) -> Refusal:
    match error:
        case web.HTTPNotFound():
            return Refusal(404, texts.no_route(request.path))
        case web.HTTPMethodNotAllowed(method=method, allowed_methods=allowed):
            methods = ", ".join(sorted(allowed))
            sentence = texts.no_method(request.path, methods, method)
            return Refusal(405, sentence, {hdrs.ALLOW: methods})
        case web.HTTPRequestEntityTooLarge():
            return Refusal(413, texts.BODY_TOO_LARGE)
        case _:
            return Refusal(error.status, error.reason)


def _from_bot(error: BotError) -> Refusal:
    match error:
        case RateLimited(retry_after=seconds):
            return Refusal(429, str(error), {hdrs.RETRY_AFTER: str(round(seconds + 0.5))})
        case StorageDown():
            logger.warning("request not answered", extra={"error": str(error)})
            return not_now(NO_STORAGE)
        case Unreachable():
            return not_now(str(error))
        case AnswerError(status=status) | PressRefused(status=status):
            return Refusal(status, str(error))
        case _:
            return Refusal(400, str(error))
