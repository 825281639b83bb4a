"""Registry of the platforms that are switched on, by name."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, overload

from bot.chat import (
    Attachment,
    Audience,
    Message,
    Platform,
    Thread,
    ThreadId,
    Unreachable,
)
from bot.config import Settings
from bot.platforms.adapter import Adapter, Services


class Platforms(Sequence[Platform]):
    """Platforms that `settings` switches on; each raises `Unreachable` while it is not connected."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connected: list[Platform] = []
        self.listeners: list[Platform] = []
        """Platforms from which this process receives events."""
        self.catch_up_seconds: dict[str, float] = {}
        """Seconds between two checks for missed messages, by the name of a platform."""

    @asynccontextmanager
    async def connect(self, adapters: Sequence[Adapter[Any]], services: Services) -> AsyncIterator[None]:
        """Connect all platforms, and close them at the end."""
        self.catch_up_seconds |= {each.info.name: each.catch_up_seconds for each in adapters}
        async with AsyncExitStack() as stack:
            self._connected += await open_platforms(stack, adapters, self._settings, services)
            self.listeners += [each for each in self._connected if each.name in self._settings.bot_roles]
            yield

    @overload
    def __getitem__(self, index: int) -> Platform: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Platform]: ...
    def __getitem__(self, index: int | slice) -> Platform | Sequence[Platform]:
        return self._connected[index]

    def __len__(self) -> int:
        return len(self._connected)

    def of(self, name: str) -> Platform:
        """Return the platform with this name. Raises `Unreachable` if it is switched off."""
        for platform in self:
            if platform.name == name:
                return platform
        raise Unreachable(f"{name} is switched off in this process")

    def thread(self, id: ThreadId) -> Thread:
        """Return the thread to answer in. Raises `Unreachable`."""
        return self.of(id.platform).thread(id)

    async def fetch(self, message: Message, attachment: Attachment, most_bytes: int) -> bytes:
        """Return the content of a file that came with a message. Raises `FileRefused`."""
        return await self.of(message.thread.platform).fetch(attachment, most_bytes)

    async def audience(self, message: Message) -> Audience:
        """Return who can read the place of a message; `outsiders` if its platform is switched off."""
        try:
            return await self.of(message.thread.platform).audience(message)
        except Unreachable:
            return "outsiders"


async def open_platforms(
    stack: AsyncExitStack, adapters: Sequence[Adapter[Any]], settings: Settings, services: Services
) -> Sequence[Platform]:
    """Open the platforms that are switched on: a worker answers on all of them."""
    opened = [adapter.connect(settings, services) for adapter in adapters]
    return [await stack.enter_async_context(each) for each in opened if each is not None]
