"""Runs turns: takes threads from the inbox, keeps their leases, and puts back what could not be finished."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from redis.exceptions import RedisError, ResponseError

from bot.chat import (
    Halt,
    Json,
    LeaseLost,
    PlatformError,
    RateLimited,
    Receipt,
    StorageDown,
    Turn,
    Undeliverable,
    working_on,
)
from bot.concurrency.tasks import cancel
from bot.inbox.fair_queue import FairQueue
from bot.inbox.fence import use_fence
from bot.inbox.hangs import MAX_HANGS
from bot.inbox.inbox import Begun, Inbox, Lease
from bot.inbox.stops import WITHDRAWN

log = logging.getLogger(__name__)

Work = Callable[[Turn, Receipt, Halt], Awaitable[None]]
"""Runs one turn to its end; what it raises decides whether the turn is tried again."""

MAX_FAILURES = 8
"""After so many failures that nobody foresaw, or crashes of the process, the turn is given up."""

MUTE_AFTER = 2
"""So often the process may die while a turn that is given up says so; then it ends without a word."""

MAX_ATTEMPTS = 1500
"""The same when a service is away: at the longest back-off these are about 25 hours."""

STOPPED = "Stopped."
DELETED = "Stopped, since the question was deleted."
GIVEN_UP = (
    "I have tried this several times and could not finish it. It is kept for the bot's operator. "
    "Reference: `{reference}`."
)

HUNG = (
    "I stopped responding twice while working on this, so I gave up. It is kept for the bot's operator. "
    "Reference: `{reference}`."
)

_HAND_OVER_SECONDS = 3.0
_CANCEL_SECONDS = 2.0
_BLOCK_MS = 2_000  # below the shared client's socket timeout of 5 s
_LOOK_SECONDS = 0.2
"""Between two looks, when no turn is free, for somebody who has none."""

_CROWDED_BLOCK_MS = 100  # while threads were sent back that may be wanted soon
_LONGEST_BACK_OFF = 60.0
_HELD_SHARE = 0.6
"""The part of a lease after whose last renewal Redis is asked before something is shown."""


@dataclass(slots=True)
class _Running:
    """A turn under way. `renewed` is when its lease was last known to be ours (monotonic seconds)."""

    task: asyncio.Task[None]
    halt: Halt
    renewed: float
    turn: str = ""
    settling: bool = False
    """Given back by ourselves: not to be renewed, and not lost."""


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
) -> None:
    """Run turns, at most `limit` at once, until `stop` is set; how they are shared, `FairQueue` says.

    Turns under way then have `grace` seconds to finish; the rest is cancelled and handed over, so that
    another process (or the next start) goes on with it at once. `stops` are the ids of turns that people
    want to end, as they are announced; one that is missed is seen at the next renewal of the lease.
    """
    queue = FairQueue(limit, user_turns, channel_turns)
    await _Worker(inbox, work, queue, lease_seconds).serve(stop, grace, stops)


class _Worker:
    def __init__(self, inbox: Inbox, work: Work, queue: FairQueue, lease_seconds: float) -> None:
        self._inbox = inbox
        self._work = work
        self._queue = queue
        self._is_crowded = False
        self._lease_seconds = lease_seconds
        self._running: dict[Lease, _Running] = {}
        self._draining = False

    async def serve(self, stop: asyncio.Event, grace: float, stops: AsyncIterator[Json]) -> None:
        loops = [
            asyncio.create_task(self._read(), name="inbox reader"),
            asyncio.create_task(self._keep_leases(), name="inbox leases"),
            asyncio.create_task(self._hear_stops(stops), name="inbox stops"),
        ]
        waiter = asyncio.create_task(stop.wait(), name="inbox stop")
        try:
            await asyncio.wait({*loops, waiter}, return_when=asyncio.FIRST_COMPLETED)
            await cancel(loops[0])
            await self._drain(grace)
        finally:
            self._draining = True
            await cancel(*loops, waiter, *self._tasks())
        if not stop.is_set():
            raise RuntimeError("the inbox's loops ended by themselves")  # they never return: a bug

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [each.task for each in self._running.values()]

    async def _drain(self, grace: float) -> None:
        self._draining = True
        self._queue.clear()
        await self._hand_over(list(self._running))  # what was leased when the reading was cut short
        turns = self._tasks()
        if turns:
            log.info("waiting for turns under way", extra={"turns": len(turns), "grace_s": grace})
            await asyncio.wait(turns, timeout=grace)
        await cancel(*self._tasks(), patience=_CANCEL_SECONDS)
        await self._hand_over([])

    async def _hand_over(self, keep: list[Lease]) -> None:
        try:
            async with asyncio.timeout(_HAND_OVER_SECONDS):
                handed = await self._inbox.hand_over(keep)
        except (RedisError, OSError) as error:  # the leases expire by themselves
            log.warning("turns not handed over", extra={"error": repr(error)})
        else:
            log.info("handed turns over", extra={"turns": handed})

    async def _read(self) -> None:
        entered = False
        while True:
            try:
                if not entered:
                    await self._enqueue(await self._inbox.enter())
                    entered = True
                wanted = self._queue.wanted
                if not (wanted and await self._take(wanted)) and not self._queue.free:
                    timeout = _LOOK_SECONDS if wanted else None
                    await asyncio.wait(self._tasks(), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            except (RedisError, OSError) as error:
                await self._recover(error)

    async def _take(self, wanted: int) -> bool:
        """Lease what waits, and tell if there was anything.

        When no turn is free, nothing is waited for: what comes then may be for a process that has one.
        """
        block_ms = _CROWDED_BLOCK_MS if self._is_crowded else _BLOCK_MS
        leases = await self._inbox.take(wanted, block_ms if self._queue.free else None)
        await self._enqueue(leases)
        if not leases and self._is_crowded and self._queue.is_short:
            self._is_crowded = await self._inbox.wake() > 0
        return bool(leases)

    async def _recover(self, error: Exception) -> None:
        log.warning("the inbox cannot be read, trying again", extra={"error": repr(error)})
        await asyncio.sleep(1)
        await self._mend_group(error)

    async def _mend_group(self, error: Exception) -> None:
        """Make the group again that a Redis which came back empty does not have."""
        if isinstance(error, ResponseError) and "NOGROUP" in str(error):
            try:
                await self._inbox.ensure_group()
            except (RedisError, OSError) as again:
                log.warning("the inbox's group cannot be made", extra={"error": repr(again)})

    async def _hear_stops(self, stops: AsyncIterator[Json]) -> None:
        async for turn in stops:
            self._halt({turn})

    def _halt(self, turns: set[str]) -> None:
        for running in self._running.values():
            if running.turn in turns and not running.halt.done():
                running.halt.set_result(STOPPED)

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 5)
            try:
                await self._keep_leases_once()
            except (RedisError, OSError) as error:
                log.warning("leases cannot be renewed, trying again", extra={"error": repr(error)})
                await self._mend_group(error)

    async def _keep_leases_once(self) -> None:
        running_leases = [each for each, of in self._running.items() if not of.settling]
        for lease in await self._renew([*running_leases, *self._queue]):
            self._queue.discard(lease)
            running = self._running.get(lease)
            if running and not running.settling:
                log.warning("lease lost, cancelling the turn", extra={"thread_id": lease.thread})
                running.task.cancel()
        await self._inbox.stay()
        await self._inbox.wake()
        wanted = 0 if self._draining else self._queue.wanted
        if wanted > 0:
            await self._enqueue(await self._inbox.take_over(int(self._lease_seconds * 1000), wanted))

    async def _renew(self, leases: list[Lease]) -> list[Lease]:
        """Renew leases; returns those that are lost."""
        if not leases:
            return []
        asked = time.monotonic()
        turns = {each: self._running[each].turn if each in self._running else "" for each in leases}
        lost, stopped = await self._inbox.renew(turns)
        for lease in leases:
            if lease not in lost and lease in self._running:
                self._running[lease].renewed = asked
        self._halt(stopped)
        return lost

    async def _hold(self, lease: Lease) -> None:
        """See `bot.chat.Receipt.hold`."""
        running = self._running[lease]
        is_fresh = time.monotonic() - running.renewed <= _HELD_SHARE * self._lease_seconds
        if not is_fresh and await self._renew([lease]):
            raise LeaseLost(lease.thread)

    async def _enqueue(self, leases: list[Lease]) -> None:
        """Run the turns of these leases once there is a share for each; send back what finds no room."""
        without_room = []
        for lease in leases:
            if lease not in self._running and lease not in self._queue and not self._queue.add(lease):
                without_room.append(lease)
            self._start()
        if without_room:
            self._is_crowded = True
            await self._inbox.defer(without_room)

    def _start(self) -> None:
        while not self._draining and (lease := self._queue.next()):
            task = asyncio.create_task(self._run(lease), name=f"turn {lease.thread}")
            halt = asyncio.get_running_loop().create_future()
            self._running[lease] = _Running(task, halt, time.monotonic())
            task.add_done_callback(partial(self._ended, lease))

    def _ended(self, lease: Lease, _: asyncio.Task[None]) -> None:
        self._running.pop(lease, None)
        self._queue.end(lease)
        self._start()

    async def _run(self, lease: Lease) -> None:
        """One lease, one turn. After a failure here the lease expires, and the turn is taken again."""
        try:
            begun = await self._inbox.begin(lease)
            if begun:
                await self._attempt(lease, begun)
        except LeaseLost:
            log.warning("lease lost, turn left to its new holder", extra={"thread_id": lease.thread})
        except (RedisError, OSError) as error:
            log.warning("turn interrupted by Redis", extra={"thread_id": lease.thread, "error": repr(error)})

    async def _attempt(self, lease: Lease, begun: Begun) -> None:
        try:
            with working_on(f"turn:{begun.turn.id}"), use_fence(self._inbox.fence(lease)):
                await self._settle(lease, begun)
        finally:
            self._inbox.leave(begun.turn)

    async def _settle(self, lease: Lease, begun: Begun) -> None:
        turn, running = begun.turn, self._running[lease]
        running.turn = turn.id
        dead = _hopeless(begun)
        if begun.crashed and begun.crashes > 2 and not dead:
            # what kills the process may take the turns beside it along: they part ways here
            seconds = random.uniform(0, 2.0**begun.crashes)  # noqa: S311 - not for secrets
            await self._postpone(lease, turn, seconds, "the process died", failed=False)
            return
        if dead and _is_mute(begun):
            await self._finish(lease, turn, dead)
            return
        words = _last_words(begun, dead)
        if (dead or begun.stopped) and not running.halt.done():
            running.halt.set_result(words)
        known = {"ending": words, **begun.receipt} if dead else begun.receipt  # a halt alone ends no decision
        receipt = Receipt(
            turn,
            lambda state: self._inbox.keep(lease, turn, state),
            known,
            partial(self._hold, lease),
        )
        try:
            await self._work(turn, receipt, running.halt)
        except (LeaseLost, RedisError):
            raise
        except Undeliverable as error:
            log.warning(
                "reply impossible", extra={"thread_id": lease.thread, "turn": turn.id, "error": str(error)}
            )
            is_stopped = (
                begun.stopped or running.halt.done()
            )  # nobody waits for it, and its place may be gone
            dead = dead or ("" if is_stopped else f"the reply cannot be shown: {error}")
        except Exception as error:  # noqa: BLE001 - whatever failed, the turn is tried again or kept for an operator
            if not dead:
                await self._try_again(lease, turn, error)
                return
        await self._finish(lease, turn, dead)

    async def _finish(self, lease: Lease, turn: Turn, dead: str) -> None:
        self._running[lease].settling = True
        if dead:
            what = {"thread_id": lease.thread, "turn": turn.id, "reference": turn.reference}
            log.error("turn given up", extra={**what, "reason": dead})
            dead += f" (reference {turn.reference})"
        await self._inbox.finish(lease, turn, dead=dead)

    async def _try_again(self, lease: Lease, turn: Turn, error: Exception) -> None:
        is_foreseen = isinstance(error, PlatformError | StorageDown)
        log.warning(
            "turn failed, trying again",
            extra={
                "thread_id": lease.thread,
                "turn": turn.id,
                "attempt": turn.attempt,
                "error": repr(error),
            },
            exc_info=None if is_foreseen else error,
        )
        await self._postpone(lease, turn, _back_off(turn.attempt, error), repr(error), failed=not is_foreseen)

    async def _postpone(self, lease: Lease, turn: Turn, seconds: float, error: str, *, failed: bool) -> None:
        self._running[lease].settling = True
        await self._inbox.postpone(lease, turn, seconds, error=error, failed=failed)


def _hopeless(begun: Begun) -> str:
    """Why the turn is given up, in a word for the operator; empty while it is worth another attempt."""
    if begun.hangs >= MAX_HANGS:
        return f"the process hung {begun.hangs} times during this turn"
    if begun.crashes >= MAX_FAILURES:
        return f"the process died {begun.crashes} times during this turn"
    if begun.failures >= MAX_FAILURES or begun.turn.attempt > MAX_ATTEMPTS:
        return f"failed {begun.turn.attempt - 1} times, at last with {begun.error}"
    return ""


def _is_mute(begun: Begun) -> bool:
    """Return whether even saying that the turn is given up ends the process."""
    return begun.hangs > MAX_HANGS or begun.crashes >= MAX_FAILURES + MUTE_AFTER


def _last_words(begun: Begun, dead: str) -> str:
    if begun.hangs >= MAX_HANGS:
        return HUNG.format(reference=begun.turn.reference)
    if dead:
        return GIVEN_UP.format(reference=begun.turn.reference)
    return DELETED if begun.stopped == WITHDRAWN else STOPPED


def _back_off(attempt: int, error: Exception) -> float:
    if isinstance(error, RateLimited):
        return error.retry_after
    return min(_LONGEST_BACK_OFF, 0.5 * 2.0 ** min(attempt, 10))
