"""Protocol of a chat service, and what the rest of the bot gives it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from bot.chat.events import Attachment, Deliver, Json, Message, Stop, ThreadId, Turn
from bot.chat.parts import Approval, Part


@dataclass(slots=True)
class Receipt:
    """State of one reply on its platform, kept so that a restart finishes it in the same place.

    `keep` stores the state; without it the receipt is only read. `check_lease` raises `LeaseLost` when the
    turn is no longer ours, and asks Redis only when the last renewal is so old that this may be; without it
    there is no lease to lose.

    `state` is a JSON object whose keys belong to the platform, except for `received`, `ending` and `said`
    (see turn.py) and `copies` (see `bot.access.approvals`); it is empty before the first step.
    """

    turn: Turn
    keep: Callable[[Mapping[str, Json]], Awaitable[None]] | None
    state: dict[str, Json] = field(default_factory=dict)
    check_lease: Callable[[], Awaitable[None]] | None = None
    _order: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def save(self, **changes: Json) -> None:
        """Merge `changes` into the state and store it. Raises `LeaseLost` when the turn is no longer ours."""
        self.state |= changes
        if self.keep is None:
            return
        async with self._order:  # else an older state of another task could be stored last
            await self.keep(self.state)

    async def hold(self) -> None:
        """Raise `LeaseLost` when the turn is no longer ours.

        To be awaited before each thing that users will see: a chat service cannot tell a process that lost
        its lease from the one that has it now.
        """
        if self.check_lease:
            await self.check_lease()


Halt = asyncio.Future[str]
"""Done when a turn is to end now; its result is the sentence to end the reply with."""


class Thread(Protocol):
    """A place where one answer can be shown."""

    async def reply(self, parts: AsyncIterator[Part], receipt: Receipt) -> None:
        """Render `parts` as they come and return once all of it is shown.

        With a receipt that an earlier attempt left, finish that answer instead of showing a second one;
        `parts` then yields the whole answer again. Raises `PlatformError`.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The state of one part of the bot, with the evidence for it (units are in the keys' names)."""

    name: str
    state: Literal["ok", "degraded", "down", "off"]
    evidence: Mapping[str, Json] = field(default_factory=dict)


class HealthCheck(Protocol):
    """A part of the bot whose state is known."""

    @property
    def name(self) -> str:
        """The name of the part, as in its `Health`."""

    async def health(self) -> Health:
        """Return the state of the part. What it raises, or takes too long, is reported as `down`."""


Audience = Literal["everyone", "members", "outsiders"]
"""Readers of the place of a message: `everyone` of its space may; only some do, all of them `members` of the
space; or `outsiders` do, or may for all that is known."""


class Platform(Protocol):
    """A chat service, connected. Open it with the `connect` function of its folder."""

    @property
    def name(self) -> str:
        """Return the first field of its `ThreadId`s, in lower case."""

    async def receive(self, deliver: Deliver) -> None:
        """Hand every event to `deliver` until cancelled; may be called again after it has raised.

        Each call builds its connections again. Replies work before, during and after it, and in processes
        that never call it. Raises `PlatformError` when the connection is lost for good
        (`CredentialsRejected`: do not try again).
        """

    async def catch_up(self, deliver: Deliver) -> None:
        """Once connected, make sure that all which people wrote until now was handed to `deliver`.

        Called every few seconds beside `receive`. Reads the history, the oldest first, after each gap in the
        connection, and now and then to find out whether it is deaf; from the moment until which all is known
        to have been heard, and no further back than CATCH_UP_HOURS. What was taken already is handed over
        again, which does nothing. Raises `PlatformError`, and what `deliver` raises: the gap then stays.
        """

    def thread(self, id: ThreadId) -> Thread:
        """Return the place to answer; makes no request."""

    async def fetch(self, attachment: Attachment, most_bytes: int) -> bytes:
        """Return the content of a file that came with a message. Raises `FileRefused`, and `StorageDown`."""

    async def audience(self, message: Message) -> Audience:
        """Return the readers of a message's place, the narrower group in doubt. Never raises."""

    async def show_request(
        self, approval: Approval, to: str, receipt: Receipt, *, is_channel: bool
    ) -> ThreadId | None:
        """Show a request to an author in a direct message, or in the channel of that name.

        `receipt` belongs to this one message: with one that an earlier attempt left, nothing is shown twice.
        Returns the thread in which people write below the message, if there is one. Raises `PlatformError`,
        which is `Undeliverable` where nobody can be written to.
        """

    async def settle_request(self, approval: Approval, receipt: Receipt) -> None:
        """Let the message that `show_request` has shown say what was decided. Raises `PlatformError`."""

    def refuse_stop(self, stop: Stop, words: str) -> None:
        """Begin to tell who wants a stop that it is refused, for their eyes only.

        Nothing is told where that is not possible. Returns at once, and never raises.
        """

    async def health(self) -> Health:
        """Return whether it is connected, with the evidence. Never raises, and ends within seconds."""
