"""Calls that a person has approved, noted before they are made, so that none is made twice.

A foreign system cannot be asked whether a call has arrived. So a call whose outcome was not noted, because
the process died in its midst, is not made again: the model is told that nobody knows.
"""

import logging
import uuid
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

from bot.tools.errors import ToolFailure

log = logging.getLogger(__name__)

_KEPT_SECONDS = 7 * 86_400
"""Longer than a request can wait and a turn can be repeated."""

_BEGUN, _DONE, _FAILED = "begun:", "done:", "failed:"

_UNKNOWN = (
    "This was approved and begun, but its end was not heard of: it is not known whether it happened, and it "
    "is not done again. Tell the person to look there, and do not ask for it anew before they have."
)
_NOTHING_DONE = "The bot's memory cannot be reached, so nothing was done. Ask for it again in a minute."


class Once:
    """At most one call for each request that a person has approved."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def __call__(self, request: str, call: Callable[[], Awaitable[str]]) -> str:
        """What `call` returned, now or when it was made before. Raises `ToolFailure`, as `call` may."""
        earlier = await self._begin(request)
        if earlier is not None:
            return _told(earlier)
        try:
            result = await call()
        except ToolFailure as error:
            await self._note(request, f"{_FAILED}{error}")
            raise
        await self._note(request, f"{_DONE}{result}")
        return result

    async def _begin(self, request: str) -> str | None:
        """Note that it begins; returns what was noted before, if anything was."""
        own = f"{_BEGUN}{uuid.uuid4().hex}"
        try:
            await self._redis.set(_key(request), own, nx=True, ex=_KEPT_SECONDS)
            noted = _text(await self._redis.get(_key(request)))
        except (RedisError, OSError) as error:
            raise ToolFailure(_NOTHING_DONE) from error
        # redis-py sends a command again when its reply was lost, so "there already" may be our own note
        return None if noted == own else noted

    async def _note(self, request: str, outcome: str) -> None:
        try:
            await self._redis.set(_key(request), outcome, ex=_KEPT_SECONDS)
        except (RedisError, OSError) as error:  # it has happened: the model is told so, only a rerun is not
            log.warning("outcome not noted", extra={"request": request, "error": repr(error)})


def _text(noted: bytes | str | None) -> str:
    return noted.decode() if isinstance(noted, bytes) else noted or ""


def _told(noted: str) -> str:
    if noted.startswith(_DONE):
        return noted.removeprefix(_DONE)
    raise ToolFailure(noted.removeprefix(_FAILED) if noted.startswith(_FAILED) else _UNKNOWN)


def _key(request: str) -> str:
    return f"{{bot}}:plugin_call:{request}"
