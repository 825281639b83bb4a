"""Worker: leases threads from the inbox, runs their turns, and returns unfinished ones."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from redis.exceptions import RedisError, ResponseError

from bot.chat import (
    Halt,
    Json,
    LeaseLost,
    PlatformError,
    Receipt,
    StorageDown,
    Turn,
    Undeliverable,
    name_work,
    texts,
)
from bot.concurrency.tasks import CLEAN_UP_SECONDS, cancel
from bot.inbox.fair_queue import FairQueue
from bot.inbox.fence import fence_turn
from bot.inbox.inbox import Inbox
from bot.inbox.lease import Begun, Lease, TurnStart
from bot.inbox.retries import MAX_ATTEMPTS, MAX_FAILURES, back_off, final_text, is_mute, reason_to_give_up

log = logging.getLogger(__name__)

Work = Callable[[Turn, Receipt, Halt], Awaitable[None]]
"""Runs one turn to its end; the error that it raises decides whether the turn is retried."""

_FORESEEN = (PlatformError, StorageDown)
"""Errors that pass: of a service that is out of reach or busy."""

_HAND_OVER_SECONDS = 3.0
_BLOCK_MS = 2_000  # below the shared client's socket timeout of 5 s
_LOOK_SECONDS = 0.2
"""Seconds between two checks for users without a turn while no turn is free."""

_CROWDED_BLOCK_MS = 100  # while deferred threads may be wanted soon
_FRESH_SHARE = 0.1
"""Share of the lease time within which a lease counts as just renewed when its turn starts. `_HELD_SHARE` is
counted from there: together they leave a third of the time for the visible write."""

_HELD_SHARE = 0.6
"""Share of the lease time after its last renewal after which Redis is asked before a visible write."""


@dataclass(slots=True)
class _RunningTurn:
    """Running turn. `renewed_at` is the last time when its lease was known to be held (monotonic seconds)."""

    task: asyncio.Task[None]
    halt: Halt
    renewed_at: float
    turn: str = ""
    is_released: bool = False
    """The lease is being released by this process: do not renew it, and do not treat it as lost."""


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
        self._running: dict[Lease, _RunningTurn] = {}
        self._reserved: dict[Lease, float] = {}
        """Reservations, with the time of each (monotonic seconds)."""
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
                wanted = self._queue.demand
                if not (wanted and await self._lease(wanted)) and not self._queue.free:
                    timeout = _LOOK_SECONDS if wanted else None
                    await asyncio.wait(self._tasks(), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            except (RedisError, OSError) as error:
                await self._recover(error)

    async def _lease(self, count: int) -> bool:
        """Lease waiting threads; return True if there were any.

        While no turn is free this does not block: a new thread may be for a process with a free turn.
        """
        block_ms = _CROWDED_BLOCK_MS if self._is_crowded else _BLOCK_MS
        leases = await self._inbox.lease(count, block_ms if self._queue.free else None)
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
            self._inbox.beginning.add(wish.thread)
        return can_begin

    def settle(self, wish: Lease, lease: Lease | None = None, begun: Begun | None = None) -> None:
        reserved_at = self._reserved.pop(wish)
        self._inbox.beginning.discard(wish.thread)
        self._queue.end(wish)
        if lease and not self._is_draining:  # else it is handed over in the end
            if begun:
                self._queue.begin(lease)
                self._begin(lease, reserved_at, begun)
            else:
                self._queue.add(lease)
        self._start()

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
                log.warning("lease lost, turn cancelled", extra=self._names(lease))
                running.task.cancel()
        await self._inbox.stay()
        await self._inbox.wake()
        wanted = 0 if self._is_draining else self._queue.demand
        if wanted > 0:
            await self._enqueue(await self._inbox.take_over(int(self._lease_seconds * 1000), wanted))

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
        """Check the lease before a visible write. Raises `LeaseLost`."""
        running = self._running[lease]
        is_fresh = time.monotonic() - running.renewed_at <= _HELD_SHARE * self._lease_seconds
        if not is_fresh and await self._renew([lease]):
            raise LeaseLost(lease.thread)

    async def _enqueue(self, leases: list[Lease]) -> None:
        """Queue leases until there is a share for their turns; defer those that find no room."""
        without_room = []
        for lease in leases:
            if lease not in self._running and lease not in self._queue and not self._queue.add(lease):
                without_room.append(lease)
            self._start()
        if without_room:
            self._is_crowded = True
            await self._inbox.defer(without_room)

    def _start(self) -> None:
        while not self._is_draining and (lease := self._queue.next()):
            self._begin(lease, time.monotonic())

    def _begin(self, lease: Lease, renewed_at: float, begun: Begun | None = None) -> None:
        task = asyncio.create_task(self._run(lease, begun), name=f"turn {lease.thread}")
        halt = asyncio.get_running_loop().create_future()
        self._running[lease] = _RunningTurn(task, halt, renewed_at)
        task.add_done_callback(partial(self._on_end, lease))

    def _on_end(self, lease: Lease, _: asyncio.Task[None]) -> None:
        self._running.pop(lease, None)
        self._queue.end(lease)
        self._start()

    async def _run(self, lease: Lease, begun: Begun | None) -> None:
        """Run one turn under one lease; after an error here the lease expires and the turn is retried."""
        try:
            if begun:
                start = await self._inbox.read_start(lease, begun)
            else:
                idle_ms = int(_FRESH_SHARE * self._lease_seconds * 1000)
                start = await self._inbox.begin(lease, idle_ms=idle_ms)
            if start:
                await self._attempt(lease, start)
        except LeaseLost:
            log.warning("lease lost, turn abandoned", extra=self._names(lease))
        except (RedisError, OSError) as error:
            log.warning("turn interrupted by Redis", extra={**self._names(lease), "error": repr(error)})

    def _names(self, lease: Lease) -> dict[str, str]:
        """Return the ids of a running turn for the log; that of the turn is empty until it has begun."""
        return {"thread_id": lease.thread, "turn": self._running[lease].turn}

    async def _attempt(self, lease: Lease, start: TurnStart) -> None:
        try:
            with name_work(f"turn:{start.turn.id}"):
                await self._settle(lease, start)
        finally:
            self._inbox.leave(start.turn)

    async def _settle(self, lease: Lease, start: TurnStart) -> None:
        turn, running = start.turn, self._running[lease]
        running.turn = turn.id
        dead = reason_to_give_up(start, self._max_failures)
        if start.has_crashed and start.turn.crashes > 2 and not dead:
            # a turn that kills the process may take other turns along: separate them in time
            seconds = random.uniform(0, 2.0**start.turn.crashes)  # noqa: S311 - not for secrets
            await self._postpone(lease, turn, seconds, "the process died", failed=False)
            return
        if dead and is_mute(start, self._max_failures):
            await self._finish(lease, turn, dead)
            return
        words = final_text(start, dead)
        if (dead or start.stop_reason) and not running.halt.done():
            running.halt.set_result(words)
        known = {"ending": words, **start.receipt} if dead else start.receipt  # a halt alone ends no decision
        receipt = Receipt(
            turn,
            lambda state: self._inbox.keep(lease, turn, state),
            known,
            partial(self._check, lease),
            partial(self._inbox.replicate, turn),
        )
        try:
            async with fence_turn(self._inbox.fence(lease, receipt, start.read)):
                await self._work(turn, receipt, running.halt)
        except (LeaseLost, RedisError):
            raise
        except asyncio.CancelledError:  # another process continues the turn, if it is not stopped for good
            with suppress(LeaseLost, RedisError, OSError):
                await receipt.flush()
            raise
        except Undeliverable as error:
            log.warning(
                "reply undeliverable", extra={"thread_id": lease.thread, "turn": turn.id, "error": str(error)}
            )
            # nobody waits for a stopped turn, and its channel may be gone
            is_stopped = start.stop_reason or running.halt.done()
            dead = dead or ("" if is_stopped else f"the reply cannot be shown: {error}")
        except Exception as error:  # whatever fails, the turn is tried again or ends: its thread is freed
            # a service that is out of reach or limits calls is told again that the turn is given up
            if not dead or (isinstance(error, _FORESEEN) and turn.attempt <= MAX_ATTEMPTS):
                await receipt.flush()
                await self._try_again(lease, turn, error)
                return
            log.exception("end of turn not shown", extra={"thread_id": lease.thread, "turn": turn.id})
        await self._finish(lease, turn, dead, receipt)

    async def _finish(self, lease: Lease, turn: Turn, dead: str, receipt: Receipt | None = None) -> None:
        self._running[lease].is_released = True
        if dead:
            what = {"thread_id": lease.thread, "turn": turn.id, "reference": turn.reference}
            log.error("turn given up", extra={**what, "reason": dead})
            dead += f" (reference {turn.reference})"
        result = receipt.state if receipt and receipt.has_result else None
        filing, details = (receipt.filing, receipt.details) if receipt and not dead else (None, None)
        gap = receipt.gap if receipt else None
        await self._inbox.finish(lease, turn, dead, result, filing, gap=gap, details=details)

    async def _try_again(self, lease: Lease, turn: Turn, error: Exception) -> None:
        is_foreseen = isinstance(error, _FORESEEN)
        log.warning(
            "turn failed, retry scheduled",
            extra={
                "thread_id": lease.thread,
                "turn": turn.id,
                "attempt": turn.attempt,
                "error": repr(error),
            },
            exc_info=None if is_foreseen else error,
        )
        await self._postpone(lease, turn, back_off(turn.attempt, error), repr(error), failed=not is_foreseen)

    async def _postpone(self, lease: Lease, turn: Turn, seconds: float, error: str, *, failed: bool) -> None:
        self._running[lease].is_released = True
        await self._inbox.postpone(lease, turn, seconds, error=error, failed=failed)
