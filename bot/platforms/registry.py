"""The chat services that are switched on, and how to find the one that a message belongs to."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from bot.chat import (
    Audience,
    Fetch,
    Message,
    Platform,
    Thread,
    ThreadId,
    Unreachable,
)
from bot.config import Settings
from bot.platforms.adapter import Adapter, Services


class Platforms(list[Platform]):
    """The platforms that have been opened; others may hold it before there is any."""

    def of(self, name: str) -> Platform:
        """The platform of that name. Raises `Unreachable` where it is switched off."""
        for platform in self:
            if platform.name == name:
                return platform
        raise Unreachable(f"{name} is switched off in this process")

    def thread(self, id: ThreadId) -> Thread:
        """The place to answer. Raises `Unreachable`."""
        return self.of(id.platform).thread(id)

    def fetch(self, message: Message) -> Fetch:
        """How to get the files of a message. Raises `Unreachable`."""
        return self.of(message.thread.platform).fetch

    async def audience(self, message: Message) -> Audience:
        """Who reads the place of a message; where its platform is switched off nothing is known."""
        try:
            return await self.of(message.thread.platform).audience(message)
        except Unreachable:
            return "outsiders"


async def open_platforms(
    stack: AsyncExitStack, adapters: Sequence[Adapter[Any]], settings: Settings, services: Services
) -> Sequence[Platform]:
    """Open the platforms that are switched on: a worker answers on all, whatever this process listens to."""
    opened = [adapter.connect(settings, services) for adapter in adapters]
    return [await stack.enter_async_context(each) for each in opened if each is not None]
