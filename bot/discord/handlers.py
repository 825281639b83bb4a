"""Event handlers of discord.py: deliver messages in order, and end before the client does."""

import asyncio
import logging
from weakref import WeakValueDictionary

from tenacity import AsyncRetrying, RetryCallState, stop_after_delay, wait_random_exponential

from bot.chat import Deliver, Event
from bot.concurrency.tasks import cancel
from bot.discord.timing import Timing

log = logging.getLogger(__name__)


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

    def __init__(self, deliver: Deliver, timing: Timing) -> None:
        self._deliver = deliver
        self._timing = timing
        self._locks: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    async def __call__(self, event: Event, channel: int) -> None:
        lock = self._locks.setdefault(channel, asyncio.Lock())
        async with lock:  # waiters are served in order of arrival
            await self._persist(event)

    async def _persist(self, event: Event) -> None:
        backoff = self._timing.delivery_backoff
        repeated = AsyncRetrying(
            stop=stop_after_delay(self._timing.delivery_timeout),
            wait=wait_random_exponential(backoff, max=25 * backoff),
            before_sleep=_log_retry,
            reraise=True,
        )
        await repeated(self._deliver, event)


def _log_retry(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("event delivery delayed", extra={"attempt": state.attempt_number, "error": repr(error)})
