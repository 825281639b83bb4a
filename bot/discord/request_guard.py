"""Each single HTTP request that discord.py makes, those too that it repeats by itself: allowed, and bounded.

It waits for rate limits and tries again within one call, for half a minute and more; what was allowed before
that need not be allowed any more.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import aiohttp

Hold = Callable[[], Awaitable[None]]
"""Raises when something may not be written any more; see `bot.chat.Receipt.hold`."""

EXCHANGE_SECONDS = 5.0
"""How long Discord may take to answer one request.

A turn is ours for at least 0.4 of LEASE_SECONDS (15 by default) after `hold` has returned: what is sent later
than that might come after the words of another process.
"""


@dataclass(frozen=True, slots=True)
class _Guard:
    hold: Hold | None
    deadline: asyncio.Timeout
    seconds: float


_guard: ContextVar[_Guard | None] = ContextVar("guard", default=None)


@asynccontextmanager
async def guard_requests(hold: Hold | None, seconds: float | None = None) -> AsyncIterator[None]:
    """Await `hold` before each request that the body makes with a traced client, and limit each in time.

    Each may take `seconds`, else `EXCHANGE_SECONDS`.
    Only the requests: a wait for a rate limit that is cut short would be another request too many, and
    discord.py would never end a global one (http.py, HTTPClient.request, 2.7.1). Raises `TimeoutError`.
    """
    async with asyncio.timeout(None) as deadline:
        token = _guard.set(_Guard(hold, deadline, seconds or EXCHANGE_SECONDS))
        try:
            yield
        finally:
            _guard.reset(token)


def trace_config() -> aiohttp.TraceConfig:
    """Return the trace that makes the requests of a client known to `guard_requests`."""
    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(_begin)
    trace.on_request_end.append(_end)
    trace.on_request_exception.append(_end)
    return trace


async def _begin(*_: object) -> None:
    guard = _guard.get()
    if guard is None:
        return
    if guard.hold:
        await guard.hold()
    guard.deadline.reschedule(asyncio.get_running_loop().time() + guard.seconds)


async def _end(*_: object) -> None:
    guard = _guard.get()
    if guard and not guard.deadline.expired():  # an expired one takes no other time
        guard.deadline.reschedule(None)
