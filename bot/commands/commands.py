"""Commands that users run, the same on every platform."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from bot.chat import Event, Health, Message, Stop, StopRefused, parse_decision
from bot.commands import question_texts, texts
from bot.commands.approval_texts import NOT_FOR_EXTERNAL
from bot.commands.decisions import Chooser, DecisionAnswer, Decisions, unknown_request
from bot.commands.health import describe, in_a_line
from bot.commands.memory import PersonalMemory, answer_typed
from bot.commands.redis import Operations

STOP = "!stop"
HEALTH = "!health"
USAGE = "!usage"


@dataclass(frozen=True, slots=True)
class Commands:
    """Commands that a platform offers. Each returns Markdown for the caller only."""

    check_health: Callable[[], Awaitable[Sequence[Health]]]
    halt: Callable[[Stop], Awaitable[int]]
    """Function that stops turns and ends questions, and returns their number. Raises `StopRefused`."""
    requests: Decisions | None = None
    operations: Operations | None = None
    """Operations of `/agent-redis`; without them the platforms do not offer that command."""
    usage: Callable[[str, bool], Awaitable[str]] | None = None
    """Function that reports today's usage of one author, or of all; None without a language model."""
    memory: PersonalMemory | None = None
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
        if self.requests is None:
            return unknown_request(id)
        return await self.requests.decide(id, by, approve=approve, reason=reason, name=name)

    async def choose(self, id: str, option: int, by: Chooser) -> DecisionAnswer:
        """Take the answer to a question by a button, see `Decisions`."""
        if self.requests is None:
            return DecisionAnswer(question_texts.UNKNOWN, is_known=False)
        return await self.requests.choose(id, option, by)

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
            if self.requests is None:
                return unknown_request(order.request).words
            return await self.requests.decide_in_words(order, message)
        if command == USAGE:
            return await self.report_usage(message.author)
        return await answer_typed(self.memory, message) if self.memory else None


def recognise_command(message: Message) -> Event:
    """Return the message, or a `Stop` for a typed `!stop`, which takes effect immediately.

    A typed decision counts as addressed to the bot, also in a thread that the bot has not joined.
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
