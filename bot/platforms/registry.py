"""Registry of the platforms that are switched on, by name."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, overload

from bot.chat import (
    Archive,
    Attachment,
    Audience,
    ConversationStore,
    Coordination,
    Files,
    InboxLookup,
    Message,
    NameKind,
    ReadContext,
    Since,
    Thread,
    ThreadId,
    Unreachable,
    Vault,
)
from bot.config import Settings
from bot.platforms.adapter import Adapter, Receiver, Services, Webhook

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Platforms(Sequence[Receiver]):
    """Platforms that are open in this process; a worker answers on all of them."""

    opened: Sequence[Receiver]
    listeners: Sequence[Receiver]
    """Platforms from which this process receives events."""
    catch_up_seconds: Mapping[str, float]
    """Seconds between two checks for missed messages, by the name of a platform."""
    name_seconds: float = 3.0
    """Longest time to look up one name."""

    @overload
    def __getitem__(self, index: int) -> Receiver: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Receiver]: ...
    def __getitem__(self, index: int | slice) -> Receiver | Sequence[Receiver]:
        return self.opened[index]

    def __len__(self) -> int:
        return len(self.opened)

    @property
    def webhooks(self) -> Mapping[str, Webhook]:
        """Return the webhooks of all platforms, by path."""
        return {path: handler for each in self for path, handler in each.webhooks.items()}

    def of(self, name: str) -> Receiver:
        """Return the platform with this name. Raises `Unreachable` if it is switched off."""
        for platform in self:
            if platform.name == name:
                return platform
        raise Unreachable(f"{name} is switched off in this process")

    def thread(self, id: ThreadId) -> Thread:
        """Return the thread to answer in. Raises `Unreachable`."""
        return self.of(id.platform).thread(id)

    def forget_thread(self, id: ThreadId) -> None:
        """Start to show that the memory of a thread was removed, where its platform is switched on."""
        for platform in self:
            if platform.name == id.platform:
                platform.forget_thread(id)

    async def fetch(self, message: Message, attachment: Attachment, most_bytes: int) -> bytes:
        """Return the content of a file that came with a message. Raises `FileRefused`."""
        return await self.of(message.thread.platform).fetch(message, attachment, most_bytes)

    def context(self, message: Message, since: Since | None) -> ReadContext | None:
        """Return the function that reads the context of a message, or None if there is none."""
        try:
            return self.of(message.thread.platform).context(message, since)
        except Unreachable:
            return None

    def archive(self, message: Message) -> Archive | None:
        """Return what the author of a message can read, or None if its platform keeps nothing."""
        try:
            return self.of(message.thread.platform).archive(message)
        except Unreachable:
            return None

    async def audience(self, message: Message) -> Audience:
        """Return who can read the place of a message; `outsiders` if its platform is switched off."""
        try:
            return await self.of(message.thread.platform).audience(message)
        except Unreachable:
            return "outsiders"

    async def name_of(self, kind: NameKind, id: str) -> str:
        """Return the name of a user, channel or space, see `bot.chat.Names`."""
        platform, _, own_id = id.partition(":")
        try:
            async with asyncio.timeout(self.name_seconds):
                return await self.of(platform).name_of(kind, own_id)
        except Exception as error:  # noqa: BLE001 - whatever a look-up raises, the answer is shown without the name
            log.info("name not found", extra={"kind": kind, "error": repr(error)})
            return ""


@asynccontextmanager
async def open_platforms(
    adapters: Sequence[Adapter[Any]],
    settings: Settings,
    coordination: Coordination,
    lookup: InboxLookup,
    files: Files,
    conversations: ConversationStore,
    vault: Vault | None = None,
) -> AsyncIterator[Platforms]:
    """Open the platforms that are switched on, and close them with the context."""
    services = Services(
        coordination=coordination,
        lookup=lookup,
        files=files,
        conversations=conversations,
        roles=settings.bot_roles,
        catch_up_hours=settings.catch_up_hours,
        bots=settings.allowed_bots,
        vault=vault,
        prompts=settings.suggested_prompts,
        hooks=settings.each_hook,
    )
    contexts = [each.connect(settings, services) for each in adapters]
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(each) for each in contexts if each is not None]
        listeners = [each for each in opened if each.name in settings.bot_roles]
        yield Platforms(opened, listeners, {each.info.name: each.catch_up_seconds for each in adapters})
