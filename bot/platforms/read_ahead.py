"""Read-ahead of an answer: arrived parts are shown while the next one is awaited."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from bot.chat import Part
from bot.concurrency.tasks import CLEAN_UP_SECONDS, cancel


class ReadAhead:
    """Reads all `parts` in a single task of its own.

    One task, because the iterator may hold an `asyncio.timeout` over a `yield`, which ends the task that
    entered it. Leaving the context ends the task, and with it the iterator.
    """

    def __init__(self, parts: AsyncIterator[Part]) -> None:
        self._parts = parts
        self._arrived: list[Part] = []
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await cancel(self._task, patience=CLEAN_UP_SECONDS)
        if not self._task.cancelled():
            self._task.exception()  # retrieved: asyncio logs exceptions that are never retrieved

    async def _read(self) -> None:
        try:
            async for part in self._parts:
                self._arrived.append(part)
                self._news.set()
        finally:
            self._news.set()

    @property
    def has_ended(self) -> bool:
        """Return whether the answer has ended or failed, and all its parts were taken."""
        return self._task.done() and not self._arrived

    @property
    def failure(self) -> BaseException | None:
        """Return the exception of `parts`, once it has ended."""
        return self._task.exception()

    async def take(self, patience: float | None) -> list[Part]:
        """Return the parts that have arrived; wait for one or the end, at most `patience` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._news.wait()
        self._news.clear()
        parts, self._arrived = self._arrived, []
        return parts
