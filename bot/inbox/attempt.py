"""Attempt of a turn under a lease: it ends the turn, or has it retried."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from redis.exceptions import RedisError

from bot.chat import (
    Halt,
    LeaseLost,
    PlatformError,
    Receipt,
    StorageDown,
    Turn,
    Undeliverable,
    name_work,
)
from bot.inbox.fence import fence_turn
from bot.inbox.inbox import Inbox
from bot.inbox.lease import Begun, Lease, TurnStart
from bot.inbox.retries import MAX_ATTEMPTS, back_off, final_text, is_mute, reason_to_give_up

log = logging.getLogger(__name__)

Work = Callable[[Turn, Receipt, Halt], Awaitable[None]]
"""Runs one turn to its end; the error that it raises decides whether the turn is retried."""

_FORESEEN = (PlatformError, StorageDown)
"""Errors that pass: of a service that is out of reach or busy."""


@dataclass(slots=True, eq=False)
class Attempt:
    """Attempt of the next turn of a thread.

    `check` raises `LeaseLost` before a visible write if the lease is lost. `renewed_at` is the last time when
    it was known to be held (monotonic seconds).
    """

    lease: Lease
    inbox: Inbox
    work: Work
    max_failures: int
    check: Callable[[], Awaitable[None]]
    halt: Halt
    renewed_at: float
    task: asyncio.Task[None] = field(init=False)
    turn: str = ""
    """Id of the turn; empty until it has begun."""
    is_released: bool = False
    """The lease is being released by this process: do not renew it, and do not treat it as lost."""

    @property
    def names(self) -> dict[str, str]:
        """Return the ids of the thread and the turn for the log."""
        return {"thread_id": self.lease.thread, "turn": self.turn}

    async def run(self, begun: Begun | None, idle_ms: int) -> None:
        """Run the turn. After an error here it is retried: the lease is found again, or expires.

        Unless it has `begun`, it begins, and renews a lease that was not renewed for `idle_ms` milliseconds.
        """
        try:
            if begun:
                start = await self.inbox.read_start(self.lease, begun)
            else:
                start = await self.inbox.begin(self.lease, idle_ms=idle_ms)
            if start:
                await self._run_turn(start)
        except LeaseLost:
            log.warning("lease lost, turn abandoned", extra=self.names)
        except (RedisError, OSError) as error:
            log.warning("turn interrupted by Redis", extra={**self.names, "error": repr(error)})

    async def _run_turn(self, start: TurnStart) -> None:
        try:
            with name_work(f"turn:{start.turn.id}"):
                await self._try(start)
        finally:
            self.inbox.leave(start.turn)

    async def _try(self, start: TurnStart) -> None:
        turn, self.turn = start.turn, start.turn.id
        dead = reason_to_give_up(start, self.max_failures)
        if start.has_crashed and turn.crashes > 2 and not dead:
            # a turn that kills the process may take other turns along: separate them in time
            seconds = random.uniform(0, 2.0**turn.crashes)  # noqa: S311 - not for secrets
            await self._postpone(turn, seconds, "the process died", failed=False)
            return
        if dead and is_mute(start, self.max_failures):
            await self._finish(turn, dead)
            return
        words = final_text(start, dead)
        if (dead or start.stop_reason) and not self.halt.done():
            self.halt.set_result(words)
        known = {"ending": words, **start.receipt} if dead else start.receipt  # a halt alone ends no decision
        receipt = Receipt(
            turn,
            lambda state: self.inbox.keep(self.lease, turn, state),
            known,
            self.check,
            partial(self.inbox.replicate, turn),
        )
        try:
            async with fence_turn(self.inbox.fence(self.lease, receipt, start.read)):
                await self.work(turn, receipt, self.halt)
        except (LeaseLost, RedisError):
            raise
        except asyncio.CancelledError:  # another process continues the turn, if it is not stopped for good
            with suppress(LeaseLost, RedisError, OSError):
                await receipt.flush()
            raise
        except Undeliverable as error:
            log.warning("reply undeliverable", extra={**self.names, "error": str(error)})
            # nobody waits for a stopped turn, and its channel may be gone
            is_stopped = start.stop_reason or self.halt.done()
            dead = dead or ("" if is_stopped else f"the reply cannot be shown: {error}")
        except Exception as error:  # whatever fails, the turn is tried again or ends: its thread is freed
            # a service that is out of reach or limits calls is told again that the turn is given up
            if not dead or (isinstance(error, _FORESEEN) and turn.attempt <= MAX_ATTEMPTS):
                await receipt.flush()
                await self._try_again(turn, error)
                return
            log.exception("end of turn not shown", extra=self.names)
        await self._finish(turn, dead, receipt)

    async def _finish(self, turn: Turn, dead: str, receipt: Receipt | None = None) -> None:
        self.is_released = True
        if dead:
            log.error("turn given up", extra={**self.names, "reference": turn.reference, "reason": dead})
            dead += f" (reference {turn.reference})"
        result = receipt.state if receipt and receipt.has_result else None
        filing, details = (receipt.filing, receipt.details) if receipt and not dead else (None, None)
        gap = receipt.gap if receipt else None
        entry = receipt.entry if receipt else None
        await self.inbox.finish(self.lease, turn, dead, result, filing, gap=gap, details=details, entry=entry)

    async def _try_again(self, turn: Turn, error: Exception) -> None:
        is_foreseen = isinstance(error, _FORESEEN)
        log.warning(
            "turn failed, retry scheduled",
            extra={**self.names, "attempt": turn.attempt, "error": repr(error)},
            exc_info=None if is_foreseen else error,
        )
        await self._postpone(turn, back_off(turn.attempt, error), repr(error), failed=not is_foreseen)

    async def _postpone(self, turn: Turn, seconds: float, error: str, *, failed: bool) -> None:
        self.is_released = True
        await self.inbox.postpone(self.lease, turn, seconds, error=error, failed=failed)
