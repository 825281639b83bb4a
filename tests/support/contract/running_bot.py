"""Bot that runs in a task of its own, so that the tests of a file share it and a story can restart it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from bot.platforms.adapter import Adapter
from tests.support.bot import run_bot
from tests.support.wait import wait_until


class RunningBot:
    """One bot at a time, always with the same settings."""

    def __init__(self, platforms: Sequence[Adapter[Any]], settings: Mapping[str, Any]) -> None:
        self._platforms = platforms
        self._settings = settings
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the bot; return once it takes messages."""
        self._stop = asyncio.Event()
        started = asyncio.Event()
        self._task = task = asyncio.create_task(self._run(started))
        await wait_until(lambda: started.is_set() or task.done(), "it has started")
        if not started.is_set():
            await task

    async def _run(self, started: asyncio.Event) -> None:
        async with run_bot(self._platforms, **self._settings):
            started.set()
            await self._stop.wait()

    async def stop(self) -> None:
        """Stop the bot; running turns are handed over."""
        self._stop.set()
        if self._task:
            await self._task
