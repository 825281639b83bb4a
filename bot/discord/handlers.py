"""Event handlers of discord.py: deliver messages in order, and end before the client does."""

import asyncio
import logging
from weakref import WeakValueDictionary

from tenacity import AsyncRetrying, RetryCallState, stop_after_delay, wait_random_exponential

from bot.chat import Deliver, Event
from bot.concurrency.tasks import cancel

log = logging.getLogger(__name__)

REPEAT_SECONDS = 0.2
_GIVE_UP_SECONDS = 60.0
"""Seconds that a message may wait for a failed store; Discord never sends it again."""


class Handlers:
    """Tasks in which discord.py runs handlers, which it does not keep itself."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()

    def join(self) -> None:
        """Count the current task."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self, seconds: float) -> None:
        """Wait until all tasks have ended; cancel the others after `seconds`."""
        await asyncio.sleep(0)  # tasks that discord.py has just started begin first
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            await cancel(*late)


class HandOver:
    """Implementation of `Deliver` that keeps the order of each channel and retries: Discord never does."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._locks: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    async def __call__(self, event: Event, channel: int) -> None:
        lock = self._locks.setdefault(channel, asyncio.Lock())
        async with lock:  # waiters are served in order of arrival
            await self._persist(event)

    async def _persist(self, event: Event) -> None:
        repeated = AsyncRetrying(
            stop=stop_after_delay(_GIVE_UP_SECONDS),
            wait=wait_random_exponential(REPEAT_SECONDS, max=25 * REPEAT_SECONDS),
            before_sleep=_log_retry,
            reraise=True,
        )
        await repeated(self._deliver, event)


def _log_retry(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("event delivery delayed", extra={"attempt": state.attempt_number, "error": repr(error)})
