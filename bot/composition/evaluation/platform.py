"""Chat platform without a service: people write by a method, and answers are kept as parts.

It has channels with threads and direct messages, as Slack and Discord have.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from bot.chat import (
    Announcement,
    Approval,
    Attachment,
    Audience,
    Context,
    Deliver,
    FileRefused,
    Health,
    Message,
    NameKind,
    Opening,
    Part,
    Passage,
    PastMessage,
    PlatformInfo,
    ReadContext,
    Receipt,
    Since,
    Stop,
    Thread,
    ThreadId,
    Undeliverable,
    register,
)
from bot.commands.commands import Commands
from bot.platforms.adapter import Adapter, PlatformSettings, Receiver, Services, Webhook

INFO = register(PlatformInfo(name="story", title="Story", location="in the story", has_global_ids=True))

LINKS = "links"
"""Key of a message's `place`: the ids of the messages that it links to."""


class StoryPlatformSettings(PlatformSettings):
    """Settings of the platform: it has none, and is always on."""

    info = INFO
    switch = ""

    @property
    def is_configured(self) -> bool:
        return True


@dataclass(slots=True)
class Shown:
    """Answer to one turn."""

    turn: str
    parts: list[Part] = field(default_factory=list)


@dataclass(slots=True)
class Conversation:
    """Messages of people and answers of the bot in one thread."""

    messages: list[PastMessage] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)

    async def reply(self, parts: AsyncIterator[Part], receipt: Receipt) -> None:
        """Keep an answer; a later attempt replaces what an earlier one has shown."""
        if receipt.turn.attempt > 1 and self.shown and self.shown[-1].turn == receipt.turn.id:
            self.shown.pop()
        shown = Shown(receipt.turn.id)
        self.shown.append(shown)
        async for part in parts:
            shown.parts.append(part)


@dataclass(frozen=True, slots=True)
class Reception:
    """Side of the bot that takes events and answers commands."""

    deliver: Deliver
    commands: Commands


class StoryPlatform:
    """Implements `Receiver`. Nothing leaves the process."""

    name = INFO.name

    def __init__(self) -> None:
        self._conversations: dict[str, Conversation] = {}
        self._places: dict[str, ThreadId] = {}
        self._files: dict[str, bytes] = {}
        self._receives = asyncio.Event()
        self._reception: Reception | None = None

    @property
    def webhooks(self) -> Mapping[str, Webhook]:
        return {}

    async def receive(self, deliver: Deliver, commands: Commands) -> None:
        """Take messages until cancelled."""
        self._reception = Reception(deliver, commands)
        self._receives.set()
        await asyncio.Event().wait()

    async def catch_up(self, deliver: Deliver) -> None:
        """Read nothing: no message can be missed."""

    async def reception(self) -> Reception:
        """Wait until the bot receives; return what it receives with."""
        await self._receives.wait()
        assert self._reception
        return self._reception

    def conversation(self, id: ThreadId) -> Conversation:
        return self._conversations.setdefault(str(id), Conversation())

    def note(self, message: Message) -> None:
        """Keep a message of a person for the context of later ones."""
        files = tuple(each.name for each in message.attachments)
        past = PastMessage(
            id=message.id,
            author=message.author_name,
            text=message.text,
            sent_at=message.sent_at,
            files=files,
            link=f"message {message.id}",
        )
        self.conversation(message.thread).messages.append(past)
        self._places[message.id] = message.thread

    def keep(self, address: str, content: bytes) -> None:
        """Keep a file of a person."""
        self._files[address] = content

    def thread(self, id: ThreadId) -> Thread:
        return self.conversation(id)

    async def fetch(self, message: Message, attachment: Attachment, most_bytes: int) -> bytes:
        content = self._files.get(attachment.url)
        if content is None or len(content) > most_bytes:
            raise FileRefused(NO_FILE)
        return content

    def context(self, message: Message, since: Since | None) -> ReadContext | None:
        passages = [self._linked(each) for each in message.place.get(LINKS, "").split()]
        if since is not None:
            passages.append(self._earlier(message, since))
        found = tuple(each for each in passages if each.messages)
        return partial(_read, found) if found else None

    def _linked(self, id: str) -> Passage:
        messages = _before(self._conversations[str(self._places[id])].messages, id, is_included=True)
        return Passage(source="the linked conversation", messages=tuple(messages))

    def _earlier(self, message: Message, since: Since) -> Passage:
        messages = _before(self.conversation(message.thread).messages, message.id)
        at = next((n for n, each in enumerate(messages, 1) if each.id == since.after), 0)
        new = tuple(each for each in messages[at:] if each.sent_at >= since.at)
        return Passage(source="this conversation, before this message", messages=new)

    def archive(self, message: Message) -> None:
        """Return nothing: a story has no history of its own."""

    async def audience(self, message: Message) -> Audience:
        return "members" if message.direct else "everyone"

    async def name_of(self, kind: NameKind, id: str) -> str:
        """Return the name that a user has in the story; channels have none."""
        return id if kind == "user" else ""

    async def show_request(
        self, approval: Approval, to: str, receipt: Receipt, *, is_channel: bool
    ) -> ThreadId | None:
        """Refuse: people of a story see the request in its conversation."""
        raise Undeliverable("requests are shown in their conversation")

    async def settle_request(self, approval: Approval, receipt: Receipt) -> None:
        """Do nothing: no request was shown elsewhere."""

    async def announce(self, announcement: Announcement, to: str, receipt: Receipt) -> Opening:
        """Refuse: nothing is announced in a story."""
        raise Undeliverable("nothing is announced in a story")

    def forget_thread(self, id: ThreadId) -> None:
        """Do nothing: nobody sees it."""

    def refuse_stop(self, stop: Stop, words: str) -> None:
        """Do nothing: there is nobody to notify."""

    async def health(self) -> Health:
        return Health(name=self.name, state="ok" if self._reception else "down")


NO_FILE = "it is not a file of this story"


def _before(messages: Sequence[PastMessage], id: str, *, is_included: bool = False) -> Sequence[PastMessage]:
    at = next((n for n, each in enumerate(messages) if each.id == id), len(messages))
    return messages[: at + is_included]


async def _read(passages: tuple[Passage, ...], most: int) -> Context:
    newest = (
        Passage(source=each.source, messages=each.messages[-most:], is_cut=len(each.messages) > most)
        for each in passages
    )
    return Context(passages=tuple(newest)) if most else Context()


@asynccontextmanager
async def _open(settings: StoryPlatformSettings, services: Services) -> AsyncIterator[Receiver]:
    yield StoryPlatform()


ADAPTER = Adapter(StoryPlatformSettings, _open)
