"""Commands that users run, the same on every platform."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from bot.chat import Correction, Event, Health, Message, Purpose, Stop, StopRefused, parse_decision
from bot.commands import texts
from bot.commands.approval_texts import NOT_FOR_EXTERNAL
from bot.commands.channel import ChannelCommand
from bot.commands.decisions import DecisionAnswer, Decisions, unknown_request
from bot.commands.health import describe, in_a_line
from bot.commands.redis import Operations

STOP = "!stop"
HEALTH = "!health"
USAGE = "!usage"
MEMORY = "!memory"
QUIET = "!quiet"

_PURPOSES: Mapping[str, Purpose] = {
    **dict.fromkeys((HEALTH, USAGE, MEMORY), "command"),
    QUIET: "quiet",
}


@dataclass(frozen=True, slots=True)
class Caller:
    """User of a command: an author, as in `Message`, in a space, as in `ThreadId`."""

    author: str
    space: str


class PersonalMemory(Protocol):
    """Commands on a user's own data. All methods raise `BotError`; texts are Markdown."""

    async def show(self, caller: Caller) -> str:
        """Return a summary with the newest facts and conversations."""

    async def summary(self, message: Message) -> str:
        """Return the amount of data about the author of a message, in words that others can read."""

    async def export(self, caller: Caller) -> bytes:
        """Return all data, as a JSON document."""

    async def forget(self, caller: Caller, *, is_confirmed: bool) -> str:
        """Remove all data; without a confirmation only describe it."""

    async def link(self, caller: Caller, code: str) -> str:
        """Create a code, or use the code that another account of the same user has created."""

    async def unlink(self, caller: Caller) -> str:
        """Remove the links of this account."""


@dataclass(frozen=True, slots=True)
class Commands:
    """Commands that a platform offers. Each returns Markdown for the caller only."""

    check_health: Callable[[], Awaitable[Sequence[Health]]]
    halt: Callable[[Stop], Awaitable[int]]
    """Function that stops turns in any process and returns their number. Raises `StopRefused`."""
    approvals: Decisions | None = None
    operations: Operations | None = None
    """Operations of `/agent-redis`; without them the platforms do not offer that command."""
    usage: Callable[[str, bool], Awaitable[str]] | None = None
    """Function that reports today's usage of one author, or of all; None without a language model."""
    memory: PersonalMemory | None = None
    channel: ChannelCommand | None = None
    """Subcommands of `/agent-channel`; without them the platforms do not offer it."""
    is_admin: Callable[[str], bool] | None = None
    """Function that recognises administrators; without it there are none."""

    async def health(self, by: str, *, is_external: bool = False) -> str:
        """Answer `/agent-health` with one line, or for administrators with the evidence of each part."""
        parts = await self.check_health()
        is_admin = self.is_admin is not None and self.is_admin(by)
        return describe(parts) if is_admin and not is_external else in_a_line(parts)

    async def report_usage(self, by: str, *, of_all: bool = False, is_external: bool = False) -> str:
        """Answer `/agent-usage` with the usage of one user, or for administrators of all users."""
        if of_all and is_external:
            return texts.NOT_ADMINISTERED
        return await self.usage(by, of_all) if self.usage else texts.NO_USAGE

    async def decide(
        self, id: str, by: str, *, approve: bool, reason: str = "", name: str = ""
    ) -> DecisionAnswer:
        """Take a decision made by a button or over HTTP, see `Decisions`."""
        if self.approvals is None:
            return unknown_request(id)
        return await self.approvals.decide(id, by, approve=approve, reason=reason, name=name)

    async def stop(self, request: Stop) -> str:
        """Answer `/agent-stop`: stop the answers that `request` names."""
        try:
            return texts.stopped(await self.halt(request))
        except StopRefused as refusal:
            return str(refusal)

    async def answer(self, message: Message) -> str | None:
        """Answer a command typed in a thread, where Slack has no slash commands; None for other messages.

        `!stop` is handled when it is received, see `recognise_command`.
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
            return await self.report_usage(message.author)
        if self.memory and command == MEMORY:
            return await self.memory.summary(message)
        if command == QUIET:
            return texts.NEVER_QUIET if message.direct else texts.QUIET
        return None


def recognise_command(event: Event) -> Event:
    """Return the event, or a `Stop` for a typed `!stop`, which takes effect immediately.

    Messages that are commands get that purpose. A typed decision counts as addressed to the bot, also in a
    thread that the bot has not joined.
    """
    match event:
        case Message():
            return _recognise(event)
        case Correction():
            message = _recognise(event.message)
            return replace(event, message=message) if isinstance(message, Message) else event
        case _:
            return event


def _recognise(message: Message) -> Message | Stop:
    if message.text.strip().lower() == STOP:
        return Stop(
            by=message.author,
            id=message.id,
            at=message.sent_at,
            thread=message.thread,
            channel=message.channel,
            is_external=message.is_external,
        )
    if parse_decision(message.text):
        return replace(message, addressed=True, purpose="command")
    purpose = _PURPOSES.get(message.text.strip().lower())
    return replace(message, purpose=purpose) if purpose else message
