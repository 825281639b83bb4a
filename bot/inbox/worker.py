"""Runs turns: takes threads from the inbox, keeps their leases, and puts back what could not be finished."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from redis.exceptions import RedisError, ResponseError

from bot.chat import LeaseLost, PlatformError, RateLimited, Receipt, StorageDown, Turn, Undeliverable
from bot.inbox.inbox import Begun, Inbox, Lease

log = logging.getLogger(__name__)

Work = Callable[[Turn, Receipt], Awaitable[None]]
"""Runs one turn to its end; what it raises decides whether the turn is tried again."""

MAX_ATTEMPTS = 8
"""After so many the turn is given up, when it fails for a reason that nobody foresaw."""

MAX_PATIENT_ATTEMPTS = 1500
"""The same when a service is away: at the longest back-off these are about 25 hours."""

_HAND_OVER_SECONDS = 3.0
_BLOCK_MS = 2_000  # below the shared client's socket timeout of 5 s
_LONGEST_BACK_OFF = 60.0


async def serve(
    inbox: Inbox, work: Work, *, limit: int, lease_seconds: float, grace: float, stop: asyncio.Event
) -> None:
    """Run turns, at most `limit` at once, until `stop` is set.

    Turns under way then have `grace` seconds to finish; the rest is cancelled and handed over, so that
    another process (or the next start) goes on with it at once.
    """
    await _Worker(inbox, work, limit, lease_seconds).serve(stop, grace)


class _Worker:
    def __init__(self, inbox: Inbox, work: Work, limit: int, lease_seconds: float) -> None:
        self._inbox = inbox
        self._work = work
        self._limit = limit
        self._lease_seconds = lease_seconds
        self._running: dict[Lease, asyncio.Task[None]] = {}
        self._settling: set[Lease] = set()  # given back by ourselves: not to be renewed, and not lost

    async def serve(self, stop: asyncio.Event, grace: float) -> None:
        reader = asyncio.create_task(self._read(), name="inbox reader")
        keeper = asyncio.create_task(self._keep_leases(), name="inbox leases")
        waiter = asyncio.create_task(stop.wait(), name="inbox stop")
        try:
            await asyncio.wait({reader, keeper, waiter}, return_when=asyncio.FIRST_COMPLETED)
            await _cancel(reader)
            await self._drain(grace)
        finally:
            await _cancel(reader, keeper, waiter, *self._running.values())
        if not stop.is_set():
            raise RuntimeError("the inbox's loops ended by themselves")  # they never return: a bug

    async def _drain(self, grace: float) -> None:
        turns = list(self._running.values())
        if turns:
            log.info("waiting for turns under way", extra={"turns": len(turns), "grace_s": grace})
            await asyncio.wait(turns, timeout=grace)
        await _cancel(*turns)
        try:
            async with asyncio.timeout(_HAND_OVER_SECONDS):
                handed = await self._inbox.hand_over()
        except (RedisError, OSError) as error:  # the leases expire by themselves
            log.warning("turns not handed over", extra={"error": repr(error)})
        else:
            log.info("handed turns over", extra={"turns": handed})

    async def _read(self) -> None:
        entered = False
        while True:
            try:
                if not entered:
                    self._start(await self._inbox.enter())
                    entered = True
                free = self._limit - len(self._running)
                if free > 0:
                    self._start(await self._inbox.take(free, _BLOCK_MS))
                else:
                    await asyncio.wait(self._running.values(), return_when=asyncio.FIRST_COMPLETED)
            except (RedisError, OSError) as error:
                await self._recover(error)

    async def _recover(self, error: Exception) -> None:
        log.warning("the inbox cannot be read, trying again", extra={"error": repr(error)})
        await asyncio.sleep(1)
        if isinstance(error, ResponseError) and "NOGROUP" in str(error):
            try:
                await self._inbox.ensure_group()
            except (RedisError, OSError) as again:
                log.warning("the inbox's group cannot be made", extra={"error": repr(again)})

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 5)
            try:
                await self._keep_leases_once()
            except (RedisError, OSError) as error:
                log.warning("leases cannot be renewed, trying again", extra={"error": repr(error)})

    async def _keep_leases_once(self) -> None:
        if self._running:
            for lease in await self._inbox.renew([*self._running.keys() - self._settling]):
                if lease in self._running and lease not in self._settling:
                    log.warning("lease lost, cancelling the turn", extra={"thread_id": lease.thread})
                    self._running[lease].cancel()
        await self._inbox.wake()
        free = self._limit - len(self._running)
        if free > 0:
            self._start(await self._inbox.take_over(int(self._lease_seconds * 1000), free))

    def _start(self, leases: list[Lease]) -> None:
        for lease in leases:
            if lease not in self._running:
                task = asyncio.create_task(self._run(lease), name=f"turn {lease.thread}")
                self._running[lease] = task
                task.add_done_callback(partial(self._ended, lease))

    def _ended(self, lease: Lease, _: asyncio.Task[None]) -> None:
        self._running.pop(lease, None)
        self._settling.discard(lease)

    async def _run(self, lease: Lease) -> None:
        """One lease, one turn. After a failure here the lease expires, and the turn is taken again."""
        try:
            begun = await self._inbox.begin(lease)
            if begun:
                await self._settle(lease, begun)
        except LeaseLost:
            log.warning("lease lost, turn left to its new holder", extra={"thread_id": lease.thread})
        except (RedisError, OSError) as error:
            log.warning("turn interrupted by Redis", extra={"thread_id": lease.thread, "error": repr(error)})

    async def _settle(self, lease: Lease, begun: Begun) -> None:
        turn = begun.turn
        receipt = Receipt(turn, lambda state: self._inbox.keep(lease, turn, state), begun.receipt)
        try:
            await self._work(turn, receipt)
        except (LeaseLost, RedisError):
            raise
        except Undeliverable as error:
            log.warning(
                "reply impossible", extra={"thread_id": lease.thread, "turn": turn.id, "error": str(error)}
            )
        except Exception as error:  # noqa: BLE001 - whatever failed, the turn is tried again or kept for an operator
            self._settling.add(lease)
            await self._try_again(lease, turn, error)
            return
        self._settling.add(lease)
        await self._inbox.finish(lease, turn)

    async def _try_again(self, lease: Lease, turn: Turn, error: Exception) -> None:
        fields = {"thread_id": lease.thread, "turn": turn.id, "attempt": turn.attempt, "error": repr(error)}
        is_foreseen = isinstance(error, PlatformError | StorageDown)
        unexpected = None if is_foreseen else error
        if turn.attempt >= (MAX_PATIENT_ATTEMPTS if is_foreseen else MAX_ATTEMPTS):
            log.error("turn given up", extra=fields, exc_info=unexpected)
            await self._inbox.finish(lease, turn, dead=repr(error))
        else:
            log.warning("turn failed, trying again", extra=fields, exc_info=unexpected)
            await self._inbox.postpone(lease, _back_off(turn.attempt, error))


def _back_off(attempt: int, error: Exception) -> float:
    if isinstance(error, RateLimited):
        return error.retry_after
    return min(_LONGEST_BACK_OFF, 0.5 * 2.0**attempt)


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel until all have ended: redis-py under Python 3.11 swallows a cancellation now and then."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.5)
