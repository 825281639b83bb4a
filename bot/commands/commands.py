"""Commands that users run, the same on every platform."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from bot.chat import Event, Health, Message, Stop, StopRefused, parse_decision
from bot.commands.approvals import Decided, Decisions, unknown_request
from bot.commands.health import describe, in_a_line
from bot.commands.redis import Operations

STOP = "!stop"
HEALTH = "!health"
USAGE = "!usage"
MEMORY = "!memory"

NOT_FOR_EXTERNAL = "People from other organisations and guests cannot approve anything."

ADMINISTER_NOTHING = "People of other organisations and guests administer nothing here."

NOTHING_USED = "No language model is configured, so nothing is used up."


@dataclass(frozen=True, slots=True)
class Caller:
    """User of a command: an author, as in `Message`, in the space where it was run, as in `ThreadId`."""

    author: str
    space: str


class PersonalMemory(Protocol):
    """Data about a user, for that user. All methods raise `BotError`; texts are Markdown."""

    async def show(self, caller: Caller) -> str:
        """Return a summary with the newest facts and conversations."""

    async def summary(self, message: Message) -> str:
        """Return how much there is about the author of a message, in words that others can read."""

    async def export(self, caller: Caller) -> bytes:
        """Return all of it, as a JSON document."""

    async def forget(self, caller: Caller, *, confirmed: bool) -> str:
        """Remove all of it once that is confirmed; before that, return what would be removed."""

    async def link(self, caller: Caller, code: str) -> str:
        """Create a code, or use the code that another account of the same user has created."""

    async def unlink(self, caller: Caller) -> str:
        """Undo the link of this account."""


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands a platform offers. Each returns Markdown for the caller's eyes only."""

    examine: Callable[[], Awaitable[Sequence[Health]]]
    halt: Callable[[Stop], Awaitable[int]]
    """Stops turns at once, in whichever process they run; returns how many. Raises `StopRefused`."""
    approvals: Decisions | None = None
    operations: Operations | None = None
    """Runs `/agent-redis`; without it the platforms do not offer that command."""
    usage: Callable[[str, bool], Awaitable[str]] | None = None
    """Reports what an author has used of the model today, or what all have; None where it costs nothing."""
    memory: PersonalMemory | None = None
    is_admin: Callable[[str], bool] | None = None
    """Recognises administrators; without it there are none."""

    async def health(self, by: str, *, is_external: bool = False) -> str:
        """Answer `/agent-health`: with a line, and for administrators with the evidence of each part."""
        parts = await self.examine()
        is_admin = self.is_admin is not None and self.is_admin(by)
        return describe(parts) if is_admin and not is_external else in_a_line(parts)

    async def spending(self, by: str, *, of_all: bool = False, is_external: bool = False) -> str:
        """Answer `/agent-usage` with what a user has used, or for administrators with what all have."""
        if of_all and is_external:
            return ADMINISTER_NOTHING
        return await self.usage(by, of_all) if self.usage else NOTHING_USED

    async def decide(self, id: str, by: str, *, approve: bool, reason: str = "", name: str = "") -> Decided:
        """Take a decision made by a button or over HTTP, see `Decisions`."""
        if self.approvals is None:
            return unknown_request(id)
        return await self.approvals.decide(id, by, approve=approve, reason=reason, name=name)

    async def stop(self, request: Stop) -> str:
        """`/agent-stop`: end the answers that `request` names."""
        try:
            stopped = await self.halt(request)
        except StopRefused as refusal:
            return str(refusal)
        if not stopped:
            return "There is nothing to stop here."
        return "Stopped." if stopped == 1 else f"Stopped {stopped} answers."

    async def answer(self, message: Message) -> str | None:
        """Answer a command typed in a thread, where Slack takes no slash commands; None for other messages.

        `!stop` does not come here: it takes effect when it is received, see `typed`.
        """
        command = message.text.strip().lower()
        if command == HEALTH:
            return await self.health(message.author, is_external=message.is_external)
        if order := parse_decision(message.text):
            if order.approve and message.is_external:
                return NOT_FOR_EXTERNAL
            if self.approvals is None:
                return unknown_request(order.request).words
            return await self.approvals.decide_in_words(order, message)
        if command == USAGE:
            return await self.spending(message.author)
        if self.memory and command == MEMORY:
            return await self.memory.summary(message)
        return None


def typed(message: Message) -> Event:
    """Return the message, or the stop that it orders, which does not wait for its turn.

    A decision is for the bot wherever it is typed, also in a thread that the bot has not joined.
    """
    if message.text.strip().lower() == STOP:
        return Stop(
            by=message.author,
            id=message.id,
            at=message.sent_at,
            thread=message.thread,
            channel=message.channel,
            is_external=message.is_external,
        )
    if not message.addressed and parse_decision(message.text):
        return replace(message, addressed=True)
    return message
