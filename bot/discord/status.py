"""The typing indicator."""

import asyncio
import logging

from bot.chat import PlatformError
from bot.discord.api import DiscordApi
from bot.platforms.request_guard import Hold

log = logging.getLogger(__name__)

_TYPING_SECONDS = 8.0  # Discord shows it for ten, or until the next message; edits do not end it


class Status:
    """Typing indicator of a channel from `start` to `stop`; its requests run in `tasks`."""

    def __init__(self, tasks: asyncio.TaskGroup, api: DiscordApi, channel: int, hold: Hold) -> None:
        self._tasks = tasks
        self._api = api
        self._channel = channel
        self._hold = hold
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Show the typing indicator, unless it is shown already."""
        if self._task is None or self._task.done():
            self._task = self._tasks.create_task(self._repeat())

    async def stop(self) -> None:
        """Stop the indicator; no request is running when this returns."""
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _repeat(self) -> None:
        try:
            while True:
                await self._api.type(self._channel, hold=self._hold)
                await asyncio.sleep(_TYPING_SECONDS)
        except PlatformError as error:
            log.debug("typing not shown", extra={"reason": str(error)})
