"""At-most-once execution of approved plug-in calls: each is recorded before it is made.

A foreign system cannot tell whether a call has arrived. So a call without a recorded outcome, because the
process died during it, is not repeated: the model is told that the outcome is unknown.
"""

import logging
import uuid
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

from bot.tools.errors import ToolFailure

log = logging.getLogger(__name__)

_KEPT_SECONDS = 7 * 86_400
"""Lifetime of a record: longer than a request can wait and a turn can be repeated."""

_BEGUN, _DONE, _FAILED = "begun:", "done:", "failed:"

_UNKNOWN = (
    "This was approved and started, but the outcome is unknown: it may have happened. It is not repeated.\n"
    "Ask the user to check, and do not request it again before they have."
)
_NOTHING_DONE = "The bot's storage cannot be reached, so nothing was done.\nTry again in a minute."


class Once:
    """Guard that allows at most one call for each approved request."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def __call__(self, request: str, call: Callable[[], Awaitable[str]]) -> str:
        """Run `call` once and return its result, or the recorded one. Raises `ToolFailure`, as `call` may."""
        earlier = await self._begin(request)
        if earlier is not None:
            return _outcome(earlier)
        try:
            result = await call()
        except ToolFailure as error:
            await self._note(request, f"{_FAILED}{error}")
            raise
        await self._note(request, f"{_DONE}{result}")
        return result

    async def _begin(self, request: str) -> str | None:
        """Record the start of a call; return an earlier record if there is one."""
        own = f"{_BEGUN}{uuid.uuid4().hex}"
        try:
            await self._redis.set(_key(request), own, nx=True, ex=_KEPT_SECONDS)
            noted = _text(await self._redis.get(_key(request)))
        except (RedisError, OSError) as error:
            raise ToolFailure(_NOTHING_DONE) from error
        # redis-py repeats a command when its reply was lost, so an existing record may be our own
        return None if noted == own else noted

    async def _note(self, request: str, outcome: str) -> None:
        try:
            await self._redis.set(_key(request), outcome, ex=_KEPT_SECONDS)
        except (RedisError, OSError) as error:  # the model still receives the result; only a rerun cannot
            log.warning("plug-in outcome not stored", extra={"request": request, "error": repr(error)})


def _text(note: bytes | str | None) -> str:
    return note.decode() if isinstance(note, bytes) else note or ""


def _outcome(note: str) -> str:
    if note.startswith(_DONE):
        return note.removeprefix(_DONE)
    raise ToolFailure(note.removeprefix(_FAILED) if note.startswith(_FAILED) else _UNKNOWN)


def _key(request: str) -> str:
    return f"{{bot}}:plugin_call:{request}"
