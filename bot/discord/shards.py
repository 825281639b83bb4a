"""Shards of this process: each is held by a renewed lease, and all processes share them."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

from bot.chat import Coordination, Deliver, PlatformError, StorageDown
from bot.concurrency.tasks import cancel
from bot.discord.connection import Connection
from bot.discord.events import PLATFORM
from bot.discord.shard import Shard, division
from bot.discord.timing import Timing
from bot.platforms.catch_up import CatchUp
from bot.platforms.supervise import persevere

log = logging.getLogger(__name__)

GROUP = f"{PLATFORM}:shards"

Listen = Callable[[Shard], Awaitable[None]]
"""Function that listens to a shard until cancelled. Raises `PlatformError` when its session is lost."""


class Shards:
    """Holds this process's share of the shards, and listens to each in its own task.

    Without Redis the process keeps its shards and takes no new ones: other processes cannot take them either,
    and messages are delivered later.
    """

    def __init__(self, coordination: Coordination, catch_up_hours: float, timing: Timing) -> None:
        self._coordination = coordination
        self._hours = catch_up_hours
        self._timing = timing
        self._opened = asyncio.Event()
        self._count: int | None = None
        self._held: dict[int, Shard] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._connections: dict[int, Connection] = {}  # kept between calls of `hold`
        self._is_certain = True  # if not, others get one round to renew or take theirs first
        self.is_standby = False
        self.is_storage_down = False

    @property
    def held(self) -> Sequence[Shard]:
        """Return the shards that this process holds now."""
        return [self._held[number] for number in sorted(self._held)]

    @property
    def connections(self) -> Sequence[Connection]:
        """Return the connections that this process should have."""
        return list(self._connections.values())

    async def hold(self, wish: int, listen: Listen) -> None:
        """Listen to a fair share of the shards until cancelled; there are `wish` of them, once all processes
        agree.

        Raises `CredentialsRejected`, and any `PlatformError` if this process can connect none of its shards.
        """
        try:
            while True:
                await self._renew(wish, listen)
                await self._watch(self._timing.shard_renewal)
                self._check()
        finally:
            await self._end()

    async def catch_up(self, deliver: Deliver) -> None:
        """Catch up with each held shard, one by one, because they share a rate limit."""
        await self._opened.wait()
        failures: list[Exception] = []
        for shard in self.held:
            try:
                if shard.catch_up.is_connected:
                    await shard.catch_up.run(deliver)
            except Exception as error:  # noqa: BLE001 - no error may delay the others
                failures.append(error)
        if len(failures) > 1:
            raise ExceptionGroup("catch-up of several shards failed", failures)
        for failure in failures:
            raise failure

    async def _renew(self, wish: int, listen: Listen) -> None:
        try:
            place, loads = await self._coordination.attend(GROUP, self._timing.shard_lease, len(self._held))
            await self._agree(wish)
            await self._renew_leases()
            if self._is_certain:
                await self._balance(self._count or 0, loads, place, listen)
            self._is_certain = True
            self.is_storage_down = False
        except StorageDown as error:
            self._is_certain = False
            self.is_storage_down = True
            log.warning("shards not renewed", extra={"error": str(error)})

    async def _agree(self, wish: int) -> None:
        """Agree on the number of shards with all processes; if it has changed, release the old shards."""
        count = await self._coordination.agree(GROUP, wish, in_use=bool(self._held))
        if count == self._count:
            return
        if self._held:
            await self._let_go(self._held)
            count = await self._coordination.agree(GROUP, wish, in_use=False)
        self._count = count
        log.info("number of shards agreed", extra={"shards": count, "wished": wish})

    async def _renew_leases(self) -> None:
        for number in list(self._held):
            if not await self._lease(number):
                log.warning("shard lost to another process", extra={"shard": number})
                await self._let_go([number])

    async def _balance(self, count: int, loads: Sequence[int], place: int, listen: Listen) -> None:
        share = fair_share(count, loads, place)
        if len(self._held) > share:
            # shards without a connection go first, so that no session is wasted
            by_worth = sorted(
                self._held, key=lambda number: (self._connections[number].state() != "ok", number)
            )
            await self._let_go(by_worth[share:])
        for number in range(count):
            if len(self._held) < share and number not in self._held and await self._lease(number):
                self._take(number, count, listen)
        self._connections = {number: self._connections[number] for number in self._held}
        self.is_standby = not self._held

    def _take(self, number: int, count: int, listen: Listen) -> None:
        log.info("shard taken", extra={"shard": number, "shards": count})
        timing = self._timing
        catch_up = CatchUp(
            self._coordination,
            self._hours,
            division(count),
            sweep_seconds=timing.sweep_interval,
            deaf_seconds=timing.deaf_after,
        )
        connection = self._connections.setdefault(number, Connection(timing.down_after))
        shard = self._held[number] = Shard(number, count, connection, catch_up, self._opened)
        attempts = persevere(
            shard.source, partial(_attempt, shard, listen), first_delay=timing.reconnect_backoff
        )
        self._tasks[number] = asyncio.create_task(attempts, name=shard.source)

    async def _let_go(self, numbers: Iterable[int]) -> None:
        """Stop listening to these shards, then release their leases."""
        numbers = list(numbers)
        await self._stop(numbers)
        for number in numbers:
            self._connections.pop(number, None)
            await self._release(number)

    async def _stop(self, numbers: Sequence[int]) -> None:
        tasks = [self._tasks.pop(number) for number in numbers]
        for number in numbers:
            del self._held[number]
        await cancel(*tasks)
        await asyncio.gather(*tasks, return_exceptions=True)  # the first one has reported the error

    async def _watch(self, seconds: float) -> None:
        """Wait for `seconds`, or raise the exception of a task: it concerns all of them."""
        if not self._tasks:
            await asyncio.sleep(seconds)
            return
        done, _ = await asyncio.wait(
            self._tasks.values(), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        for task in done:
            task.result()

    def _check(self) -> None:
        """Raise the error if no shard was connected for a whole lease: other processes may reach them."""
        failures = [shard.failure for shard in self._held.values() if shard.failure]
        if not failures:
            return
        if min(connection.lost_s for connection in self._connections.values()) > self._timing.shard_lease:
            self._is_certain = False
            raise failures[0]

    async def _end(self) -> None:
        numbers = list(self._held)
        self.is_standby = False
        try:
            await self._stop(numbers)
        finally:
            with contextlib.suppress(StorageDown, TimeoutError):  # then the lease expires
                async with asyncio.timeout(self._timing.release_timeout):
                    for number in numbers:
                        await self._release(number)
                    await self._coordination.leave(GROUP)

    async def _lease(self, number: int) -> bool:
        return await self._coordination.lease(_lease_of(number), self._timing.shard_lease)

    async def _release(self, number: int) -> None:
        await self._coordination.release(_lease_of(number))


async def _attempt(shard: Shard, listen: Listen) -> None:
    try:
        await listen(shard)
    except PlatformError as error:
        shard.failure = error
        raise


def _lease_of(number: int) -> str:
    return f"{PLATFORM}:shard:{number}"


def fair_share(count: int, loads: Sequence[int], place: int) -> int:
    """Return how many of `count` shards the process at `place` may hold, if the processes hold `loads`.

    All hold the same number, and some hold one more if the division leaves a remainder. Those that already
    have one more keep it, so that no shard moves without need.
    """
    least, left_over = divmod(count, len(loads))
    laden = [each for each, load in enumerate(loads) if load > least]
    has_more = place in laden[:left_over] if place in laden else len(laden) < left_over
    return least + has_more
