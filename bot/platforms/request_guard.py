"""Guard of the HTTP requests of a client library, also of its own retries: checked, and limited in time.

A single call waits for rate limits, connections and retries, and a process may be suspended in between; the
permission to write may be lost in the meantime. So it is checked when the headers are about to be sent.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import aiohttp

Hold = Callable[[], Awaitable[None]]
"""Function that raises if nothing may be written any more, as `bot.chat.Receipt.hold`."""


@dataclass(frozen=True, slots=True)
class _Guard:
    hold: Hold | None
    deadline: asyncio.Timeout | None = None
    seconds: float = 0.0


_guard: ContextVar[_Guard | None] = ContextVar("guard", default=None)


@asynccontextmanager
async def guard_requests(hold: Hold | None, seconds: float) -> AsyncIterator[None]:
    """Await `hold` before each request that the body makes with a traced client, and limit each in time.

    It is awaited on the open connection, directly before the first byte is sent; its error ends the request.
    The limit is `seconds`. Waits for rate limits are not limited: cutting one short would cause another
    request, and discord.py would never end a global one (http.py, HTTPClient.request, 2.7.1). Raises
    `TimeoutError`.
    """
    async with asyncio.timeout(None) as deadline:
        token = _guard.set(_Guard(hold, deadline, seconds))
        try:
            yield
        finally:
            _guard.reset(token)


def hold_requests(hold: Hold) -> None:
    """Await `hold` before each request that this task makes from now on, see `guard_requests`."""
    _guard.set(_Guard(hold))


def trace_config() -> aiohttp.TraceConfig:
    """Return the trace configuration through which `guard_requests` sees a client's requests."""
    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(_begin)
    trace.on_request_headers_sent.append(_check)  # aiohttp awaits it before it writes them
    trace.on_request_end.append(_end)
    trace.on_request_exception.append(_end)
    return trace


async def _begin(*_: object) -> None:
    guard = _guard.get()
    if guard and guard.deadline:
        guard.deadline.reschedule(asyncio.get_running_loop().time() + guard.seconds)


async def _check(*_: object) -> None:
    guard = _guard.get()
    if guard and guard.hold:
        await guard.hold()


async def _end(*_: object) -> None:
    guard = _guard.get()
    if guard and guard.deadline and not guard.deadline.expired():  # an expired one cannot be rescheduled
        guard.deadline.reschedule(None)
