"""What the slash commands do, the same on every platform."""

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Protocol

from bot.chat import (
    SIGN,
    Approval,
    Event,
    Health,
    Message,
    Stop,
    StopRefused,
    ThreadId,
    TypedDecision,
    harmless,
    parse_decision,
)
from bot.chat.text import one_line
from bot.commands.redis import Operations

STOP = "!stop"
HEALTH = "!health"
USAGE = "!usage"
MEMORY = "!memory"

_MOST_REASON = 200
"""Characters of a reason that are shown; the model is told all of it."""

NOT_FOR_EXTERNAL = "People from other organisations and guests cannot approve anything."

ADMINISTER_NOTHING = "People of other organisations and guests administer nothing here."

MOST_NAMES = 5
"""Approvers that are named; there may be more."""

_MOST_NAME = 60
"""Characters of a display name."""

_TWO_OF_THREE = re.compile("``(?=`)")
"""Two backticks with a third behind them: three would end a block of code, on Discord anywhere in a line."""

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
    """Decides the request `id` for `by` (an author as in `Message`, called `name`). Raises `StorageDown`."""

    async def __call__(self, id: str, by: str, *, approve: bool, reason: str = "", name: str = "") -> Decided:
        """Take the decision of somebody who has the request before their eyes, if it is theirs to take."""


DecideInWords = Callable[[TypedDecision, Message], Awaitable[str]]
"""Takes a decision that somebody has typed, if it is certain that it is meant and the request is shown there;
else shows the request and tells how to go on. Returns the answer. Raises `StorageDown`."""


async def nothing_waits(id: str, by: str, *, approve: bool, reason: str = "", name: str = "") -> Decided:
    """The answer where there is no such request."""
    return Decided(f"I know of no open request `{id}`. It may be too old: ask again.", is_known=False)


async def nothing_waits_in_words(order: TypedDecision, message: Message) -> str:
    """Answer a typed decision where there is no such request."""
    return (await nothing_waits(order.request, message.author, approve=order.approve)).words


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
    """Decides about approval requests, by buttons and over HTTP."""
    operations: Operations | None = None
    """What `/agent-redis` runs; without it the platforms do not offer that command."""
    usage: Usage = nothing_used
    memory: PersonalMemory | None = None
    decide_in_words: DecideInWords = nothing_waits_in_words
    is_admin: Callable[[str], bool] = nobody_administers

    async def health(self, by: str, *, is_external: bool = False) -> str:
        """`/agent-health`: a line; for administrators the state of each part and the evidence for it."""
        parts = await self.examine()
        return describe(parts) if self.is_admin(by) and not is_external else in_a_line(parts)

    async def spending(self, by: str, *, of_all: bool, is_external: bool) -> str:
        """`/agent-usage`: what somebody has used, or for administrators what all have."""
        return ADMINISTER_NOTHING if of_all and is_external else await self.usage(by, of_all)

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
            return await self.health(message.author, is_external=message.is_external)
        if order := parse_decision(message.text):
            is_refused = order.approve and message.is_external
            return NOT_FOR_EXTERNAL if is_refused else await self.decide_in_words(order, message)
        if command == USAGE:
            return await self.usage(message.author, False)
        if self.memory and command == MEMORY:
            return await self.memory.summary(message)
        return None


def typed(message: Message) -> Event:
    """The message, or the stop that it orders, which is not to wait for its turn.

    A decision is for the bot wherever it is typed, also in a thread that the bot has not joined.
    """
    if message.text.strip().lower() == STOP:
        return Stop(
            by=message.author,
            id=message.id,
            at=message.sent_at,
            thread=message.thread,
            channel=message.place.get("channel", ""),
            is_external=message.is_external,
        )
    if not message.addressed and parse_decision(message.text):
        return replace(message, addressed=True)
    return message


Name = Callable[[str], str]
"""Function that returns the display form of an author."""

_TITLES = {"slack": "on Slack", "discord": "on Discord", "http": "over HTTP"}


def named(approval: Approval, author: str) -> str:
    """Return an author's name for a place without mentions. It is never the id of the account."""
    name = harmless(approval.names.get(author, ""))
    letters = (each if each.isalnum() or each in "-.'\u2019" else " " for each in name)
    return one_line("".join(letters))[:_MOST_NAME] or f"somebody {_place(author)}"


def _place(author: str) -> str:
    platform = author.partition(":")[0]
    return _TITLES.get(platform, f"on {platform}")


def approvers_of(approval: Approval, name: Name, is_named: Callable[[str], bool]) -> str:
    """Return the approvers in words: up to `MOST_NAMES` names, and how many others there are."""
    known = [name(each) for each in approval.approvers if is_named(each)][:MOST_NAMES]
    others = counted(each for each in approval.approvers if not is_named(each))
    return " or ".join([*known, *others])


def counted(authors: Iterable[str]) -> list[str]:
    """Return the number of approvers on each platform, in words."""
    places = Counter(_place(each) for each in authors)
    return [
        f"{'an approver' if many == 1 else f'{many} approvers'} {place}" for place, many in places.items()
    ]


def described(approval: Approval, name: Name | None = None) -> str:
    """Return the action, its effect and its requesters, as Markdown."""
    action = _TWO_OF_THREE.sub("``\u200b", approval.action)
    language = approval.language if approval.language.isalnum() else ""
    return f"{headline(approval, name)}\n\n```{language}\n{action}\n```"


def headline(approval: Approval, name: Name | None = None, bold: str = "**") -> str:
    """Return a request's title, effect and requesters in one line of Markdown, without the action."""
    name = name or partial(named, approval)
    asked_by = " and ".join(dict.fromkeys(name(each) for each in approval.askers[:MOST_NAMES]))
    who = f" Asked for by {asked_by}." if asked_by else ""
    return f"{SIGN} {bold}{harmless(approval.title)}?{bold} {harmless(approval.effect)}{who}"


def asked(
    approval: Approval,
    name: Name | None = None,
    is_named: Callable[[str], bool] | None = None,
    where: str = "here",
) -> str:
    """Return a request as Markdown, with its approvers or the decision. Words decide `where` it says."""
    return f"{described(approval, name)}\n{standing(approval, name, is_named, where)}"


def standing(
    approval: Approval,
    name: Name | None = None,
    is_named: Callable[[str], bool] | None = None,
    where: str = "here",
) -> str:
    """Return who can decide a request, or its decision. An author without a name is shown by the platform."""
    name = name or partial(named, approval)
    match approval.state:
        case "asked":
            who = approvers_of(approval, name, is_named or approval.names.__contains__)
            who = who or "somebody whom the operator names in APPROVERS"
            return (
                f"{who[0].upper()}{who[1:]} can press a button, or write `approve {approval.id}` or "
                f"`reject {approval.id} why` {where}."
            )
        case "expired":
            return "⌛ Nobody decided this in time."
        case verdict:
            mark = "✅" if verdict == "approved" else "🚫"
            reason = harmless(one_line(approval.reason)[:_MOST_REASON])
            reason = f": {reason}" if reason else "."
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
    return one_line(line)  # an error of Postgres has its details and hints on lines of their own
