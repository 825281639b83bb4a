"""What the slash commands do, the same on every platform."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from bot.chat import Approval, Event, Health, Message, Stop, StopRefused, ThreadId
from bot.operations import Operations

STOP = "!stop"
HEALTH = "!health"
USAGE = "!usage"
MEMORY = "!memory"

_DECISION = re.compile(
    r"!?(approve|reject)\s+`?([0-9a-f]{8})`?(?:[\s:,]+(\S.{0,500}))?", re.IGNORECASE | re.DOTALL
)
"""How a request is decided in words, which works wherever no button can be pressed."""

_MOST_REASON = 200
"""Characters of a reason that are shown; the model is told all of it."""

NOT_FOR_EXTERNAL = "People of other organisations and guests cannot approve anything."

MOST_NAMES = 5
"""Approvers that are named; there may be more."""

MARKS = {"ok": "🟢", "degraded": "🟡", "down": "🔴", "off": "⚪"}

_WORST_FIRST: tuple[Literal["down", "degraded"], ...] = ("down", "degraded")
_FOR_ADMINISTRATORS = "The details are for administrators."
_IN_A_LINE = {
    "ok": "Everything works.",
    "degraded": f"I am working, but not everything does. {_FOR_ADMINISTRATORS}",
    "down": f"Something that I need does not work. {_FOR_ADMINISTRATORS}",
}


Usage = Callable[[str, bool], Awaitable[str]]
"""`/agent-usage`: what an author has used of the model today, or what all have. Raises `StorageDown`."""


async def nothing_used(by: str, of_all: bool) -> str:
    """The usage of a model that costs nothing."""
    return "No language model is configured, so nothing is used up."


@dataclass(frozen=True, slots=True)
class Decided:
    """What a person who decides is told. `thread` is set once there is a decision, be it another's."""

    words: str
    thread: ThreadId | None = None
    is_known: bool = True


class Decide(Protocol):
    """Decides the request `id` for `by` (an author as in `Message`). Raises `StorageDown`."""

    async def __call__(self, id: str, by: str, *, approve: bool, reason: str = "") -> Decided:
        """Take the decision, if it is theirs and nobody was faster."""


async def nothing_waits(id: str, by: str, *, approve: bool, reason: str = "") -> Decided:
    """The answer where there is no such request."""
    return Decided(f"I know of no request `{id}` that waits. It may be too old: ask again.", is_known=False)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who runs a command: an author, as in `Message`, in the space where that was, as in `ThreadId`."""

    author: str
    space: str


class PersonalMemory(Protocol):
    """What is kept about a person, for that person. All methods raise `BotError`; texts are Markdown."""

    async def show(self, caller: Caller) -> str:
        """What there is, the newest first."""

    async def summary(self, message: Message) -> str:
        """How much there is about who wrote a message, in words that others may read."""

    async def export(self, caller: Caller) -> bytes:
        """All of it, as a JSON document."""

    async def forget(self, caller: Caller, *, confirmed: bool) -> str:
        """Remove all of it, once that is confirmed; before that say what would go."""

    async def link(self, caller: Caller, code: str) -> str:
        """Make a code, or use the one that another account of the same person has made."""

    async def unlink(self, caller: Caller) -> str:
        """Undo that."""


def nobody_administers(author: str) -> bool:
    """Know no administrators."""
    return False


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands a platform offers. Each returns Markdown for the caller's eyes only."""

    examine: Callable[[], Awaitable[Sequence[Health]]]
    halt: Callable[[Stop], Awaitable[int]]
    """Stops turns at once, in whichever process they run; returns how many. Raises `StopRefused`."""
    decide: Decide = nothing_waits
    """Decides what the bot has asked leave for."""
    operations: Operations | None = None
    """What `/agent-redis` runs; without it the platforms do not offer that command."""
    usage: Usage = nothing_used
    memory: PersonalMemory | None = None
    is_admin: Callable[[str], bool] = nobody_administers

    async def health(self, by: str) -> str:
        """`/agent-health`: a line; for administrators the state of each part and the evidence for it."""
        parts = await self.examine()
        return describe(parts) if self.is_admin(by) else in_a_line(parts)

    async def stop(self, request: Stop) -> str:
        """`/agent-stop`: end the answers that `request` names."""
        try:
            stopped = await self.halt(request)
        except StopRefused as refusal:
            return str(refusal)
        if not stopped:
            return "There is nothing to stop here."
        return "Stopped." if stopped == 1 else f"Stopped {stopped} answers."

    async def said(self, message: Message) -> str | None:
        """What a command typed in a thread is answered with, as Slack's threads take no slash commands.

        None when the message holds none. `!stop` is none either: it acts at the door, see `typed`.
        """
        command = message.text.strip().lower()
        if command == HEALTH:
            return await self.health("" if message.is_external else message.author)
        if order := _DECISION.fullmatch(message.text.strip()):
            verb, request, reason = order.groups()
            approve = verb.lower() == "approve"
            if approve and message.is_external:
                return NOT_FOR_EXTERNAL
            decided = await self.decide(request.lower(), message.author, approve=approve, reason=reason or "")
            return decided.words
        if command == USAGE:
            return await self.usage(message.author, False)
        if self.memory and command == MEMORY:
            return await self.memory.summary(message)
        return None


def typed(message: Message) -> Event:
    """The message, or the stop that it orders, which is not to wait for its turn."""
    if message.text.strip().lower() == STOP:
        return Stop(
            by=message.author,
            id=message.id,
            at=message.sent_at,
            thread=message.thread,
            channel=message.place.get("channel", ""),
        )
    return message


def asked(approval: Approval, name: Callable[[str], str] = str) -> str:
    """What the bot asks leave for, as Markdown; `name` tells how to write an author."""
    action = approval.action.replace("```", "`\u200b`\u200b`")  # which would end the block
    return (
        f"**{approval.title}?** {approval.effect}\n\n```{approval.language}\n{action}\n```\n"
        f"{standing(approval, name)}"
    )


def standing(approval: Approval, name: Callable[[str], str] = str) -> str:
    """Who may decide a request, or who has; `name` tells how to write an author."""
    match approval.state:
        case "asked":
            approvers = [name(each) for each in approval.approvers[:MOST_NAMES]]
            who = " or ".join(approvers) or "Somebody whom the operator names in APPROVERS"
            return (
                f"{who} may press a button, or write `approve {approval.id}` or `reject {approval.id} why`."
            )
        case "expired":
            return "⌛ Nobody decided this in time."
        case verdict:
            mark = "✅" if verdict == "approved" else "🚫"
            reason = f": {approval.reason[:_MOST_REASON]}" if approval.reason else "."
            return f"{mark} {verdict.capitalize()} by {name(approval.by)}{reason}"


def in_a_line(parts: Sequence[Health]) -> str:
    """Health as everybody may know it: no names, versions or numbers."""
    states = {part.state for part in parts}
    state: Literal["down", "degraded", "ok"] = next((each for each in _WORST_FIRST if each in states), "ok")
    return f"{MARKS[state]} {_IN_A_LINE[state]}"


def describe(parts: Sequence[Health]) -> str:
    """Health as a Markdown list, a line a part."""
    return "\n".join(_line(part) for part in parts)


def _line(part: Health) -> str:
    evidence = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in part.evidence.items())
    line = f"- {MARKS[part.state]} **{part.name}** {part.state}" + (f": {evidence}" if evidence else "")
    return " ".join(line.split())  # an error of Postgres has its details and hints on lines of their own
