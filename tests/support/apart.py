"""Servers of a test on an event loop and a thread of their own."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class Apart:
    """Event loop in another thread; what is measured in this thread does not contain its work."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._stack = AsyncExitStack()

    async def enter(self, server: AbstractAsyncContextManager[T]) -> T:
        """Start a server there; it ends with the thread."""
        return await self.run(self._stack.enter_async_context(server))

    async def run(self, awaitable: Awaitable[T]) -> T:
        """Await something there; without polling from here."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_await(awaitable), self._loop))

    async def close(self) -> None:
        """End the servers."""
        await self.run(self._stack.aclose())


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


@asynccontextmanager
async def apart() -> AsyncIterator[Apart]:
    """Run an event loop in another thread while the context is open."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="servers", daemon=True)
    thread.start()
    servers = Apart(loop)
    try:
        yield servers
    finally:
        await servers.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
