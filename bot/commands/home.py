"""A user's home page: what the bot tells this user about itself and about them, and nothing about others."""

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass

from bot.chat import StorageDown
from bot.chat.texts import NO_STORAGE
from bot.commands import home_texts as texts
from bot.commands.channel import ChannelCaller
from bot.commands.commands import Commands
from bot.commands.memory import Caller, MemoryOverview

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Home:
    """Sections of the page in Markdown; an empty one is not shown.

    `memory` is None without a memory, or while it cannot be read: then `trouble` says why.
    """

    health: str
    usage: str
    feedback: str
    settings: str
    memory: MemoryOverview | None = None
    trouble: str = ""


async def read_home(commands: Commands, caller: Caller, channel: str, *, is_external: bool) -> Home:
    """Return the page of a user; `channel` is that of their direct messages, as in `ChannelSettings`.

    The state of the bot and settings are for administrators. A section that cannot be read has a sentence.
    """
    by = caller.author
    is_admin = not is_external and commands.is_admin is not None and commands.is_admin(by)
    health, usage, feedback, settings, (memory, trouble) = await asyncio.gather(
        _read(commands.health(by)) if is_admin else _nothing(),
        _read(commands.report_usage(by)) if commands.usage else _nothing(),
        _read(_feedback(commands, by)),
        _read(_settings(commands, by, channel)) if is_admin else _nothing(),
        _memory(commands, caller),
    )
    return Home(health, usage, feedback, settings, memory, trouble)


async def _nothing() -> str:
    return ""


async def _read(section: Awaitable[str]) -> str:
    try:
        return await section
    except StorageDown as error:
        log.warning("section of a home page not read", extra={"error": str(error)})
        return NO_STORAGE
    except Exception:  # a bug is logged with its trace; the other sections are still shown
        log.exception("section of a home page failed")
        return texts.NOT_READ


async def _memory(commands: Commands, caller: Caller) -> tuple[MemoryOverview | None, str]:
    """Return the memory of a user, or a sentence that says why it cannot be read."""
    memory: MemoryOverview | None = None

    async def read() -> str:
        nonlocal memory
        memory = await commands.memory.overview(caller) if commands.memory else None
        return ""

    trouble = await _read(read())
    return memory, trouble


async def _feedback(commands: Commands, by: str) -> str:
    if commands.answers is None:
        return ""
    votes = await commands.answers.count_votes(by)
    return texts.feedback(votes.get("up", 0), votes.get("down", 0))


async def _settings(commands: Commands, by: str, channel: str) -> str:
    if commands.channel is None:
        return ""
    return await commands.channel.answer_text("show", ChannelCaller(author=by, name="", channel=channel))
