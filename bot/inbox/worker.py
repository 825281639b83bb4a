"""Worker: leases threads from the inbox, runs their turns, and returns unfinished ones."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from contextvars import copy_context
from functools import partial

from redis.exceptions import RedisError, ResponseError

from bot.chat import Json, LeaseLost, texts
from bot.concurrency.tasks import CLEAN_UP_SECONDS, cancel
from bot.inbox.attempt import Attempt, Work
from bot.inbox.fair_queue import FairQueue
from bot.inbox.inbox import Inbox
from bot.inbox.lease import Begun, Lease
from bot.inbox.retries import MAX_FAILURES

log = logging.getLogger(__name__)

_HAND_OVER_SECONDS = 3.0
_BLOCK_MS = 2_000  # below the shared client's socket timeout of 5 s
_LOOK_SECONDS = 0.2
"""Seconds between two checks for users without a turn while no turn is free."""

_CROWDED_BLOCK_MS = 100  # while deferred threads may be wanted soon
_FRESH_SHARE = 0.1
"""Share of the lease time within which a lease counts as just renewed when its turn starts, and as on its way
to this process if that knows nothing of it. `_HELD_SHARE` is counted from there: together they leave a third
of the time for the visible write."""

_HELD_SHARE = 0.6
"""Share of the lease time after its last renewal after which Redis is asked before a visible write."""


async def serve(
    inbox: Inbox,
    work: Work,
    *,
    limit: int,
    lease_seconds: float,
    grace: float,
    stop: asyncio.Event,
    stops: AsyncIterator[Json],
    user_turns: int | None = None,
    channel_turns: int | None = None,
    max_failures: int = MAX_FAILURES,
) -> None:
    """Run turns, at most `limit` at once and shared fairly (`FairQueue`), until `stop` is set.

    Running turns then have `grace` seconds to finish; the rest is cancelled and handed over to other
    processes. `stops` yields ids of turns to end; a missed one is seen at the next renewal of the lease.
    `max_failures` is the number of failures, or crashes of the process, after which a turn is given up.
    """
    queue = FairQueue(limit, user_turns, channel_turns)
    worker = _Worker(inbox, work, queue, lease_seconds, max_failures)
    with inbox.open_desk(worker):
        await worker.serve(stop, grace, stops)


class _Worker:
    """Worker, and its `bot.inbox.lease.Desk`."""

    def __init__(
        self, inbox: Inbox, work: Work, queue: FairQueue, lease_seconds: float, max_failures: int
    ) -> None:
        self._inbox = inbox
        self._work = work
        self._queue = queue
        self._is_crowded = False
        self._lease_seconds = lease_seconds
        self._max_failures = max_failures
        self._running: dict[Lease, Attempt] = {}
        self._reserved: dict[Lease, float] = {}
        """Reservations, with the time of each (monotonic seconds)."""
        self._vacancy = asyncio.Event()
        """Set whenever a turn or a reservation ends: it wakes the reader."""
        self._context = copy_context()
        """Context of each turn: it inherits nothing of who delivered the message."""
        self._has_entered = False
        self._is_draining = False

    async def serve(self, stop: asyncio.Event, grace: float, stops: AsyncIterator[Json]) -> None:
        loops = [
            asyncio.create_task(self._read(), name="inbox reader"),
            asyncio.create_task(self._keep_leases(), name="inbox leases"),
            asyncio.create_task(self._listen_for_stops(stops), name="inbox stops"),
        ]
        waiter = asyncio.create_task(stop.wait(), name="inbox stop")
        try:
            await asyncio.wait({*loops, waiter}, return_when=asyncio.FIRST_COMPLETED)
            await cancel(loops[0])
            await self._drain(grace)
        finally:
            self._is_draining = True
            await cancel(*loops, waiter, *self._tasks())
        if not stop.is_set():
            raise RuntimeError("a loop of the inbox ended unexpectedly")  # they never return: a bug

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [each.task for each in self._running.values()]

    async def _drain(self, grace: float) -> None:
        self._is_draining = True
        self._queue.clear()
        await self._hand_over(list(self._running))  # leases that the cancelled reader had taken
        turns = self._tasks()
        if turns:
            log.info("turns draining", extra={"turns": len(turns), "grace_s": grace})
            await asyncio.wait(turns, timeout=grace)
        await cancel(*self._tasks(), patience=CLEAN_UP_SECONDS)  # their leases are renewed until they end
        await self._hand_over([])

    async def _hand_over(self, keep: list[Lease]) -> None:
        try:
            async with asyncio.timeout(_HAND_OVER_SECONDS):
                handed = await self._inbox.hand_over(keep)
        except (RedisError, OSError) as error:  # the leases expire anyway
            log.warning("turns not handed over", extra={"error": repr(error)})
        else:
            log.info("turns handed over", extra={"turns": handed})

    async def _read(self) -> None:
        while True:
            try:
                if not self._has_entered:
                    await self._enqueue(await self._inbox.enter())
                    self._has_entered = True
                wants_lease = self._queue.demand > 0
                if not (wants_lease and await self._lease()) and not self._queue.free:
                    await self._wait_for_place(_LOOK_SECONDS if wants_lease else None)
            except (RedisError, OSError) as error:
                await self._recover(error)

    async def _wait_for_place(self, seconds: float | None) -> None:
        self._vacancy.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._vacancy.wait()

    async def _lease(self) -> bool:
        """Lease a waiting thread; return True if there was one.

        While no turn is free this does not block: a new thread may be for a process with a free turn. It
        takes one at a time, because messages that arrive while it blocks take places, too.
        """
        block_ms = _CROWDED_BLOCK_MS if self._is_crowded else _BLOCK_MS
        leases = await self._inbox.lease(1, block_ms if self._queue.free else None)
        await self._enqueue(leases)
        if not leases and self._is_crowded and self._queue.is_short:
            self._is_crowded = await self._inbox.wake() > 0
        return bool(leases)

    @property
    def consumer(self) -> str:
        return self._inbox.consumer

    def reserve(self, wish: Lease) -> bool:
        can_begin = self._has_entered and not self._is_draining and self._queue.reserve(wish)
        if can_begin:
            self._reserved[wish] = time.monotonic()
            self._inbox.beginning.append(wish.thread)
        return can_begin

    async def settle(self, wish: Lease, lease: Lease | None = None, begun: Begun | None = None) -> None:
        reserved_at = self._reserved.pop(wish)
        self._inbox.beginning.remove(wish.thread)
        self._queue.end(wish)
        if lease and begun and not self._is_draining and not self._is_known(lease):
            self._queue.begin(lease)
            self._begin(lease, reserved_at, begun)
            lease = None
        self._offer_place()
        if lease:
            try:
                await self._enqueue([lease])
            except (RedisError, OSError) as error:  # it is found again by the next renewal
                log.warning("lease not deferred", extra={"thread_id": lease.thread, "error": repr(error)})

    async def _recover(self, error: Exception) -> None:
        log.warning("inbox read failed", extra={"error": repr(error)})
        await asyncio.sleep(1)
        await self._restore_group(error)

    async def _restore_group(self, error: Exception) -> None:
        """Create the consumer group again if Redis came back empty."""
        if isinstance(error, ResponseError) and "NOGROUP" in str(error):
            try:
                await self._inbox.ensure_group()
            except (RedisError, OSError) as again:
                log.warning("consumer group creation failed", extra={"error": repr(again)})

    async def _listen_for_stops(self, stops: AsyncIterator[Json]) -> None:
        async for turn in stops:
            self._halt({turn})

    def _halt(self, turns: set[str]) -> None:
        for running in self._running.values():
            if running.turn in turns and not running.halt.done():
                running.halt.set_result(texts.STOPPED)

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 5)
            try:
                await self._keep_leases_once()
            except (RedisError, OSError) as error:
                log.warning("lease renewal failed", extra={"error": repr(error)})
                await self._restore_group(error)

    async def _keep_leases_once(self) -> None:
        running_leases = [each for each, of in self._running.items() if not of.is_released]
        for lease in await self._renew([*running_leases, *self._queue]):
            self._queue.discard(lease)
            running = self._running.get(lease)
            if running and not running.is_released:
                log.warning("lease lost, turn cancelled", extra=running.names)
                running.task.cancel()
        await self._find_leases()
        await self._inbox.stay()
        await self._inbox.wake()
        wanted = 0 if self._is_draining else self._queue.demand
        if wanted > 0:
            await self._enqueue(await self._inbox.take_over(int(self._lease_seconds * 1000), wanted))

    async def _find_leases(self) -> None:
        """Take the leases that Redis has given to this process in a reply that was lost."""
        known = {*self._running, *self._queue}  # their turns may end meanwhile
        found = await self._inbox.find_leases(int(_FRESH_SHARE * self._lease_seconds * 1000))
        awaited = {wish.thread for wish in self._reserved}
        await self._enqueue([each for each in found if each not in known and each.thread not in awaited])

    async def _renew(self, leases: list[Lease]) -> list[Lease]:
        """Renew leases; return the lost ones."""
        if not leases:
            return []
        asked = time.monotonic()
        turns = {each: self._running[each].turn if each in self._running else "" for each in leases}
        lost, stopped = await self._inbox.renew(turns)
        for lease in leases:
            if lease not in lost and lease in self._running:
                self._running[lease].renewed_at = asked
        self._halt(stopped)
        return lost

    async def _check(self, lease: Lease) -> None:
        """Check the lease before a visible write. Raises `LeaseLost`.

        Redis is asked again if its reply was read so late that it may be out of date: the process may have
        been suspended while the reply was waiting for it.
        """
        while running := self._running.get(lease):
            if time.monotonic() - running.renewed_at <= _HELD_SHARE * self._lease_seconds:
                return
            if await self._renew([lease]):
                break
        raise LeaseLost(lease.thread)

    def _is_known(self, lease: Lease) -> bool:
        return lease in self._running or lease in self._queue

    async def _enqueue(self, leases: Sequence[Lease]) -> None:
        """Queue new leases until there is a share for their turns; defer those that find no room.

        A process that stops hands them over.
        """
        if leases and self._is_draining:
            await self._hand_over(list(self._running))
            return
        without_room = []
        for lease in leases:
            if not self._is_known(lease) and not self._queue.add(lease):
                without_room.append(lease)
            self._start()
        if without_room:
            self._is_crowded = True
            await self._inbox.defer(without_room)

    def _start(self) -> None:
        while not self._is_draining and (lease := self._queue.next()):
            self._begin(lease, time.monotonic())

    def _begin(self, lease: Lease, renewed_at: float, begun: Begun | None = None) -> None:
        halt = asyncio.get_running_loop().create_future()
        check = partial(self._check, lease)
        attempt = Attempt(lease, self._inbox, self._work, self._max_failures, check, halt, renewed_at)
        running = attempt.run(begun, int(_FRESH_SHARE * self._lease_seconds * 1000))
        context = self._context.copy()
        attempt.task = asyncio.create_task(running, name=f"turn {lease.thread}", context=context)
        attempt.task.add_done_callback(partial(self._on_end, lease), context=context)
        self._running[lease] = attempt

    def _on_end(self, lease: Lease, _: asyncio.Task[None]) -> None:
        self._running.pop(lease, None)
        self._queue.end(lease)
        self._offer_place()

    def _offer_place(self) -> None:
        self._start()
        self._vacancy.set()
