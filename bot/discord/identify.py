"""Queue for new gateway sessions, shared by all processes: Discord limits their rate and number.

https://discord.com/developers/docs/events/gateway#session-start-limit-object
"""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from uuid import uuid4

from bot.chat import Coordination, Json, StorageDown, Unreachable
from bot.discord.api import DiscordApi, Gateway
from bot.discord.events import PLATFORM
from bot.discord.timing import Timing

log = logging.getLogger(__name__)


class IdentifyTurn:
    """Right to send one IDENTIFY. Shards whose numbers have the same remainder share a key."""

    def __init__(self, coordination: Coordination, key: int, timing: Timing) -> None:
        self._coordination = coordination
        self._timing = timing
        self._lease = f"{PLATFORM}:identify:{key}"
        self._holder = uuid4().hex  # not the process: two of its shards wait, too, as does a restart
        self._is_used = False

    async def try_acquire(self) -> bool:
        """Take the turn if it is free; return False without Redis, since other turns are not known."""
        try:
            return await self._coordination.lease(self._lease, self._timing.identify_lease, self._holder)
        except StorageDown as error:
            log.debug("session start delayed without Redis", extra={"error": str(error)})
            return False

    async def use(self) -> None:
        """Use the turn: IDENTIFY is sent next. Raises `Unreachable` if the turn has expired."""
        if not await self._coordination.lease(self._lease, self._timing.identify_interval, self._holder):
            raise Unreachable("Discord's gateway was too slow, so another shard connects first")
        self._is_used = True

    async def release(self) -> None:
        """Release the turn for others, unless it was used."""
        if not self._is_used:
            with contextlib.suppress(StorageDown):  # then it expires
                await self._coordination.release(self._lease, self._holder)


class IdentifyQueue:
    """Gives out turns within the daily limit: Discord resets a token that starts too many sessions."""

    def __init__(self, api: DiscordApi, coordination: Coordination, timing: Timing) -> None:
        self._api = api
        self._coordination = coordination
        self._timing = timing
        self._queues: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._known: Gateway | None = None
        self._known_at = 0.0
        self._used_up_until = 0.0

    async def gateway(self) -> Gateway:
        """Return Discord's current information about its gateway."""
        self._known = await self._api.gateway()
        self._known_at = time.monotonic()
        return self._known

    async def _gateway(self) -> Gateway:
        """Return recent information, unless all its session starts may be used up by now."""
        known, age = self._known, time.monotonic() - self._known_at
        if known is not None and age < self._timing.gateway_max_age and self._is_plenty(known, age):
            return known
        return await self.gateway()

    def _is_plenty(self, gateway: Gateway, age: float) -> bool:
        """Return whether a session may certainly begin, `age` seconds after Discord's answer.

        All processes together begin at most `max_concurrency` sessions every `identify_interval`.
        """
        return gateway.remaining >= gateway.max_concurrency * (2 + age / self._timing.identify_interval)

    def evidence(self) -> dict[str, Json]:
        """Return why no session may start, if so."""
        seconds = self._used_up_until - time.monotonic()
        return {"session_starts": f"used up for {seconds:.0f} s"} if seconds > 0 else {}

    @contextlib.asynccontextmanager
    async def turn(self, shard: int) -> AsyncIterator[IdentifyTurn]:
        """Wait for the turn of a shard, and yield it."""
        while True:
            async with self._wait_turn(shard) as turn:
                gateway = await self._gateway()
                # others may have received the same number just now
                if gateway.remaining >= gateway.max_concurrency:
                    yield turn
                    return
            await self._wait_for_reset(gateway)

    @contextlib.asynccontextmanager
    async def _wait_turn(self, shard: int) -> AsyncIterator[IdentifyTurn]:
        key = shard % (await self._gateway()).max_concurrency
        turn = IdentifyTurn(self._coordination, key, self._timing)
        try:
            async with self._queues[key]:
                while not await turn.try_acquire():  # noqa: ASYNC110 - other processes hold it, too
                    await asyncio.sleep(self._timing.identify_poll)
            yield turn
        finally:
            await turn.release()

    async def _wait_for_reset(self, gateway: Gateway) -> None:
        if self._used_up_until < time.monotonic():
            log.error("session starts exhausted", extra={"reset_after_s": round(gateway.reset_after)})
        self._used_up_until = time.monotonic() + gateway.reset_after
        await asyncio.sleep(min(gateway.reset_after, self._timing.longest_reset_wait))
