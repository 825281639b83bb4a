"""Commands that users run, the same on every platform."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bot.chat import (
    Admission,
    Correction,
    Health,
    HealthCheck,
    Message,
    Purpose,
    Request,
    Stop,
    StopRefused,
    ThreadEraser,
    ThreadEvent,
    parse_decision,
)
from bot.commands import question_texts, texts
from bot.commands.answers import AnswerActions
from bot.commands.approval_texts import NOT_FOR_EXTERNAL
from bot.commands.channel import ChannelCommand
from bot.commands.decisions import Chooser, DecisionAnswer, Decisions, RequestsOfUser, unknown_request
from bot.commands.health import describe, in_a_line
from bot.commands.memory import PersonalMemory, answer_typed, is_typed
from bot.commands.redis import Operations

STOP = "!stop"
HEALTH = "!health"
USAGE = "!usage"
QUIET = "!quiet"

_PURPOSES: Mapping[str, Purpose] = {**dict.fromkeys((HEALTH, USAGE), "command"), QUIET: "quiet"}


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
    channel: ChannelCommand | None = None
    """Subcommands of `/agent-channel`; without them the platforms do not offer it."""
    is_admin: Callable[[str], bool] | None = None
    """Function that recognises administrators; without it there are none."""
    answers: AnswerActions | None = None
    """Actions of the buttons below answers, also of those that were shown before they were switched off."""
    model: HealthCheck | None = None
    """Health of the language model as its last calls have shown it; None in a process without one."""
    admission: Admission | None = None
    """Access control of the home page; without it everybody is answered."""
    waiting: RequestsOfUser | None = None
    """Look-up of the requests that the home page shows."""
    eraser: ThreadEraser | None = None
    """Eraser of deleted conversations, for platforms where users can delete some."""

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

    async def choose(self, id: str, answer: int | str, by: Chooser) -> DecisionAnswer:
        """Take the answer to a question by a button or in a form, see `Decisions`."""
        if self.requests is None:
            return DecisionAnswer(question_texts.UNKNOWN, is_known=False)
        return await self.requests.choose(id, answer, by)

    async def find_request(self, id: str) -> Request | None:
        """Return a request as it is now, for a user who sees it; None for an unknown id."""
        found = await self.requests.find(id) if self.requests else None
        return found[0] if found else None

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
        if command == QUIET:
            return texts.NEVER_QUIET if message.direct else texts.QUIET
        return await answer_typed(self.memory, message) if self.memory else None


def recognise_command(event: ThreadEvent) -> ThreadEvent:
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
    purpose = "command" if is_typed(message) else _PURPOSES.get(message.text.strip().lower())
    return replace(message, purpose=purpose) if purpose else message
