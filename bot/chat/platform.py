"""Protocol of a chat service, and the objects that it receives from the rest of the bot."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from bot.chat.answers import StoredDetails
from bot.chat.context import Archive, ReadContext, Since
from bot.chat.conversations import StoredEntry
from bot.chat.events import Attachment, Json, Message, Stop, ThreadId, Turn
from bot.chat.filing import Filing
from bot.chat.hooks import Announcement, Opening
from bot.chat.parts import Approval, Part


@dataclass(slots=True)
class Receipt:
    """State of one reply on its platform, stored so that a restarted process continues it in the same place.

    `keep` stores the state; without it the receipt is read-only. `check_lease` raises `LeaseLost` if the turn
    is no longer ours, and asks Redis only if the last renewal is old enough for that; without it there is no
    lease to lose. `replicate` keeps each noted state in the memory of this process.

    A noted change is stored with the turn's next write, at the latest by `hold` before the next visible
    change. A crash before that loses it, as does one right after the visible change that it is about. A
    findable change, which the next attempt finds by itself, is stored with the turn's next write only.

    `state` is a JSON object whose keys belong to the platform, except for `received`, `ending` and `said`
    (see turn.py) and `copies` (see `bot.access.requests`); it is empty before the first step.
    """

    turn: Turn
    keep: Callable[[Mapping[str, Json]], Awaitable[None]] | None
    state: dict[str, Json] = field(default_factory=dict)
    check_lease: Callable[[], Awaitable[None]] | None = None
    replicate: Callable[[Mapping[str, Json]], None] | None = None
    has_result: bool = field(default=False, init=False)
    """The state is read after the turn, so the step that ends the turn stores it."""

    has_notes: bool = field(default=False, init=False)
    """Something is noted that is not stored yet."""

    _has_findable: bool = field(default=False, init=False)
    filing: Filing | None = None
    """Entry that is stored with the end of the turn, once its answer is complete."""
    details: StoredDetails | None = None
    """Details of the answer, which are stored with the end of the turn."""
    entry: StoredEntry | None = None
    """Answer as users find it later in their conversation, which is stored with the end of the turn."""
    _order: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def gap(self) -> float | None:
        """Return the time of the earliest message up to the turn's that the agent was not given, if any.

        It is in Unix seconds, and 0 if that may be any time.
        """
        received = self.state.get("received", {})  # what was answered or ignored without the agent
        missing = [each.sent_at for each in self.turn.messages if received.get(each.id) == ""]
        return min([*missing, *(at for id, at in self.turn.gaps.items() if id in received)], default=None)

    async def save(self, **changes: Json) -> None:
        """Merge `changes` into the state and store it. Raises `LeaseLost` if the turn is no longer ours."""
        self.state |= changes
        if self.keep is None:
            return
        self.has_notes = True
        async with self.take_notes() as state:
            if state is not None:
                await self.keep(state)

    def note(self, **changes: Json) -> None:
        """Merge `changes` into the state, and store it later; the end of the turn makes that needless."""
        self.state |= changes
        self.has_notes = self.keep is not None
        if self.replicate:
            self.replicate(self.state)

    def note_findable(self, **changes: Json) -> None:
        """Merge `changes` that the next attempt would find by itself: `hold` does not write for them."""
        self.state |= changes
        self._has_findable = self.keep is not None
        if self.replicate:
            self.replicate(self.state)

    def note_result(self, **changes: Json) -> None:
        """Merge `changes` that are read after the turn; the step that ends it stores them."""
        self.note(**changes)
        self.has_result = True

    @asynccontextmanager
    async def take_notes(self) -> AsyncIterator[Mapping[str, Json] | None]:
        """Yield the state for the body to store, or None if it is stored already.

        If the body raises an error, the state counts as not stored.
        """
        async with self._order:  # else an older state of another task could be stored last
            had_notes, self.has_notes = self.has_notes, False
            had_findable, self._has_findable = self._has_findable, False
            try:
                yield self.state if had_notes or had_findable else None
            except BaseException:  # raised again; also a cancelled write may not have stored the state
                self.has_notes = self.has_notes or had_notes
                self._has_findable = self._has_findable or had_findable
                raise

    @property
    def is_behind(self) -> bool:
        """Return whether anything is not stored yet, also what is findable."""
        return self.has_notes or self._has_findable

    async def flush(self) -> None:
        """Store what was noted, and what is findable. Raises `LeaseLost`."""
        if self.is_behind:
            await self.save()

    async def check(self) -> None:
        """Raise `LeaseLost` if the turn is no longer ours."""
        if self.check_lease:
            await self.check_lease()

    async def hold(self) -> None:
        """Store what was noted, and raise `LeaseLost` if the turn is no longer ours.

        Await this before each change that users see: a chat service cannot distinguish a process that lost
        its lease from the one that holds it now. `check` is enough before one that the receipt does not know.
        """
        if self.has_notes:
            await self.save()  # checks the lease, too, but its reply may be read late
        await self.check()


Halt = asyncio.Future[str]
"""Future that is done when a turn has to end now; its result is the last sentence of the reply."""


class Prompt(NamedTuple):
    """Prompt that a platform suggests to users: the title that they see, and the message that it sends."""

    title: str
    message: str


class Thread(Protocol):
    """Place where one answer can be shown."""

    async def reply(self, parts: AsyncIterator[Part], receipt: Receipt) -> None:
        """Render `parts` as they arrive and return once all of them are shown. Raises `PlatformError`.

        With the receipt of an earlier attempt, continue that answer instead of showing a second one; `parts`
        then yields the whole answer again.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """State of one part of the bot, with evidence (the names of its keys include the units)."""

    name: str
    state: Literal["ok", "degraded", "down", "off"]
    evidence: Mapping[str, Json] = field(default_factory=dict)


class HealthCheck(Protocol):
    """Part of the bot that reports its state."""

    @property
    def name(self) -> str:
        """Return the name of the part, as in its `Health`."""

    async def health(self) -> Health:
        """Return the state of the part. An error or a time-out is reported as `down`."""


Audience = Literal["everyone", "members", "outsiders"]
"""Readers of a message's place: `everyone` in its space can read it; or only some, all of them `members` of
the space; or also `outsiders`, or that cannot be excluded."""


NameKind = Literal["user", "channel", "space"]


class Names(Protocol):
    """Names of users, channels and spaces, for texts in which users read no ids."""

    async def name_of(self, kind: NameKind, id: str) -> str:
        """Return the name of `id`, which is `<platform>:<id>` as in the settings. Never raises.

        Returns an empty string if it has none, if not all users may know it, or if nobody tells it.
        """


class Platform(Protocol):
    """Chat service to which answers are sent. `bot.platforms.receiver` adds the side that receives."""

    @property
    def name(self) -> str:
        """Return the first field of its `ThreadId`s, in lower case."""

    def thread(self, id: ThreadId) -> Thread:
        """Return the place for an answer, without a request to the service."""

    async def fetch(self, message: Message, attachment: Attachment, most_bytes: int) -> bytes:
        """Return the content of a file that came with a message. Raises `FileRefused` and `StorageDown`."""

    def context(self, message: Message, since: Since | None) -> ReadContext | None:
        """Return the function that reads what was written before a message, see `ContextSource`.

        It reads only what the message's author can read. None where a message has no context.
        """

    def archive(self, message: Message) -> Archive | None:
        """Return what the author of a message can read, for the agent's tools; no request."""

    async def audience(self, message: Message) -> Audience:
        """Return the readers of a message's place, or a narrower group if in doubt. Never raises."""

    async def name_of(self, kind: NameKind, id: str) -> str:
        """Return the name of a user, of a space, or of a channel that everybody there can read.

        Returns an empty string for others. Raises `PlatformError`.
        """

    async def show_request(
        self, approval: Approval, to: str, receipt: Receipt, *, is_channel: bool
    ) -> ThreadId | None:
        """Show a request to an author in a direct message, or in the channel with that id.

        `receipt` belongs to this message; with the receipt of an earlier attempt nothing is shown twice.
        Returns the thread below the message, if there is one. Raises `PlatformError`, which is
        `Undeliverable` if the author or channel cannot be written to.
        """

    async def settle_request(self, approval: Approval, receipt: Receipt) -> None:
        """Add the decision to the message that `show_request` has sent. Raises `PlatformError`."""

    async def announce(self, announcement: Announcement, to: str, receipt: Receipt) -> Opening:
        """Post a message in a channel, which is `<platform>:<id>`, and return the place below it.

        `receipt` is as in `show_request`. Raises `PlatformError`, which is `Undeliverable` if the channel
        does not take the message.
        """

    def forget_thread(self, id: ThreadId) -> None:
        """Start to show that the memory of a thread was removed. Returns at once, and never raises."""

    def refuse_stop(self, stop: Stop, words: str) -> None:
        """Start to tell a user privately that their stop is refused.

        Does nothing where a private reply is impossible. Returns at once, and never raises.
        """

    async def health(self) -> Health:
        """Return the state of the connection, with evidence. Never raises, and ends within seconds."""
