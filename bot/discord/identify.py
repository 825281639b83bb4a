"""When a session may begin: Discord limits how many at a time and how many a day, over all processes.

https://discord.com/developers/docs/events/gateway#session-start-limit-object
"""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from uuid import uuid4

from bot.chat import Json, Shared, StorageDown, Unreachable
from bot.discord.api import DiscordApi, Gateway
from bot.discord.events import PLATFORM

log = logging.getLogger(__name__)

IDENTIFY_SECONDS = 5.5
"""Between two IDENTIFYs of the same key: Discord counts five seconds from when it has got them."""

CONNECT_SECONDS = 10.0
"""How long a turn is kept for a connection that is being made."""

LOOK_SECONDS = 0.5
"""Between two looks at whether it is our turn."""

_KEPT_SECONDS = 60.0
_LONGEST_WAIT_SECONDS = 600.0


class IdentifyTurn:
    """The right to send one IDENTIFY. Shards whose numbers have the same remainder share a key."""

    def __init__(self, shared: Shared, key: int) -> None:
        self._shared = shared
        self._lease = f"{PLATFORM}:identify:{key}"
        self._holder = uuid4().hex  # not this process: two of its shards wait, too, and so does a restart
        self._is_used = False

    async def take(self) -> bool:
        """Whether it is ours now; not while Redis is away, since the other processes' turns are not known."""
        try:
            return await self._shared.lease(self._lease, CONNECT_SECONDS, self._holder)
        except StorageDown as error:
            log.debug("no new session without Redis", extra={"error": str(error)})
            return False

    async def use(self) -> None:
        """IDENTIFY is sent when this returns. Raises `Unreachable` when that took too long."""
        if not await self._shared.lease(self._lease, IDENTIFY_SECONDS, self._holder):
            raise Unreachable("Discord's gateway was so slow that others had to go first")
        self._is_used = True

    async def give_back(self) -> None:
        """Let others go first, unless it was used: then they wait."""
        if not self._is_used:
            with contextlib.suppress(StorageDown):  # then it ends by itself
                await self._shared.release(self._lease, self._holder)


class IdentifyQueue:
    """Hands out turns, and none that would use the token up: Discord resets one that starts too often."""

    def __init__(self, api: DiscordApi, shared: Shared) -> None:
        self._api = api
        self._shared = shared
        self._queues: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._known: Gateway | None = None
        self._known_at = 0.0
        self._used_up_until = 0.0

    async def gateway(self) -> Gateway:
        """What Discord says of its gateway now."""
        self._known = await self._api.gateway()
        self._known_at = time.monotonic()
        return self._known

    async def _gateway(self) -> Gateway:
        """What it said lately, unless all session starts that there were then may be used up."""
        known, age = self._known, time.monotonic() - self._known_at
        if known is not None and age < _KEPT_SECONDS and _is_plenty(known, age):
            return known
        return await self.gateway()

    def evidence(self) -> dict[str, Json]:
        """What holds all session starts up, if anything does."""
        seconds = self._used_up_until - time.monotonic()
        return {"session_starts": f"used up for {seconds:.0f} s"} if seconds > 0 else {}

    @contextlib.asynccontextmanager
    async def turn(self, shard: int) -> AsyncIterator[IdentifyTurn]:
        """Enter when it is the turn of a shard."""
        while True:
            async with self._queued(shard) as turn:
                gateway = await self._gateway()
                # as many may have been told the same number just now
                if gateway.remaining >= gateway.max_concurrency:
                    yield turn
                    return
            await self._wait_for_reset(gateway)

    @contextlib.asynccontextmanager
    async def _queued(self, shard: int) -> AsyncIterator[IdentifyTurn]:
        key = shard % (await self._gateway()).max_concurrency
        turn = IdentifyTurn(self._shared, key)
        try:
            async with self._queues[key]:
                while not await turn.take():  # noqa: ASYNC110 - other processes hold it, too
                    await asyncio.sleep(LOOK_SECONDS)
            yield turn
        finally:
            await turn.give_back()

    async def _wait_for_reset(self, gateway: Gateway) -> None:
        if self._used_up_until < time.monotonic():
            log.error("Discord allows no new session", extra={"reset_after_s": round(gateway.reset_after)})
        self._used_up_until = time.monotonic() + gateway.reset_after
        await asyncio.sleep(min(gateway.reset_after, _LONGEST_WAIT_SECONDS))


def _is_plenty(gateway: Gateway, age: float) -> bool:
    """Whether a session may begin for sure, so many seconds after Discord was asked.

    All processes together begin `max_concurrency` of them every `IDENTIFY_SECONDS` at most.
    """
    return gateway.remaining >= gateway.max_concurrency * (2 + age / IDENTIFY_SECONDS)
