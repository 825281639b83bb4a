"""A user's home page: what the bot tells this user about itself and about them.

Only administrators see more: the health of the bot, and the newest feedback without its authors.
"""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bot.chat import Admit, Message, Refuse, StorageDown
from bot.chat.texts import NO_STORAGE
from bot.commands import answer_texts
from bot.commands import home_texts as texts
from bot.commands.commands import Commands
from bot.commands.decisions import WaitingRequest
from bot.commands.memory import Caller, MemoryOverview

log = logging.getLogger(__name__)

_MOST_OPINIONS = 5
"""Most entries of the newest feedback."""

_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True)
class Unread:
    """Part of the page that cannot be read, and the sentence that says so."""

    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Parts of the page; texts are Markdown, and an empty one is not shown."""

    health: str | Unread = ""
    usage: str | Unread = ""
    feedback: str | Unread = ""
    opinions: str | Unread = ""
    memory: MemoryOverview | Unread | None = None
    waiting: Sequence[WaitingRequest] | Unread = ()
    is_admin: bool = False

    @property
    def threads(self) -> Sequence[str]:
        """Return the threads that the page names, as text."""
        known = self.memory.threads if isinstance(self.memory, MemoryOverview) else ()
        waiting = () if isinstance(self.waiting, Unread) else self.waiting
        return [*(each.thread for each in known), *(thread for each in waiting for thread in each.threads)]

    @property
    def is_complete(self) -> bool:
        """Return whether all parts could be read."""
        parts = (self.health, self.usage, self.feedback, self.opinions, self.memory, self.waiting)
        return not any(isinstance(each, Unread) for each in parts)


async def check_access(commands: Commands, press: Message) -> Refuse | None:
    """Return the refusal of a user whom the bot does not answer, else None. Raises `StorageDown`.

    `press` is a message without text in their direct messages.
    """
    if commands.admission is None:
        return None
    match await commands.admission.check(press):
        case Admit():
            return None
        case Refuse(sentence):
            return Refuse(texts.refused(sentence))
        case _:
            return Refuse(answer_texts.NOT_ALLOWED)


async def read_home(commands: Commands, press: Message, first: int = 0) -> Home | Refuse:
    """Return the page of a user, with the facts after the `first` of them.

    `press` is as in `check_access`. A part that cannot be read has a sentence.
    """
    refusal = await _read(check_access(commands, press))
    if refusal:
        return refusal if isinstance(refusal, Refuse) else Refuse(refusal.sentence)
    by, is_admin = press.author, is_administrator(commands, press)
    health, usage, feedback, opinions, memory, waiting = await asyncio.gather(
        _read(commands.health(by) if is_admin else _nothing("")),
        _read(commands.report_usage(by) if commands.usage else _nothing("")),
        _read(_feedback(commands, by)),
        _read(_opinions(commands) if is_admin else _nothing("")),
        _read(_memory(commands, Caller(by, press.thread.space), first)),
        _read(_waiting(commands, press)),
    )
    return Home(
        health=health,
        usage=usage,
        feedback=feedback,
        opinions=opinions,
        memory=memory,
        waiting=waiting,
        is_admin=is_admin,
    )


def is_administrator(commands: Commands, press: Message) -> bool:
    """Return whether a user is an administrator; external users are none."""
    return not press.is_external and commands.is_admin is not None and commands.is_admin(press.author)


async def _nothing(part: _Part) -> _Part:
    return part


async def _read(part: Awaitable[_Part]) -> _Part | Unread:
    try:
        return await part
    except StorageDown as error:
        log.warning("part of a home page not read", extra={"error": str(error)})
        return Unread(NO_STORAGE)
    except Exception:  # a bug is logged with its trace; the other parts are still shown
        log.exception("part of a home page failed")
        return Unread(texts.NOT_READ)


async def _memory(commands: Commands, caller: Caller, first: int) -> MemoryOverview | None:
    return await commands.memory.overview(caller, first) if commands.memory else None


async def _waiting(commands: Commands, press: Message) -> Sequence[WaitingRequest]:
    if commands.waiting is None:
        return ()
    found = await commands.waiting.waiting_for(press.author)
    return [each for each in found if each.kind != "approval" or not press.is_external]


async def _feedback(commands: Commands, by: str) -> str:
    if commands.answers is None:
        return ""
    votes = await commands.answers.count_votes(by)
    return texts.feedback(votes.get("up", 0), votes.get("down", 0))


async def _opinions(commands: Commands) -> str:
    if commands.answers is None:
        return ""
    return texts.opinions(await commands.answers.newest_opinions(_MOST_OPINIONS))
