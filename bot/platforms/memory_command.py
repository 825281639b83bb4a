"""Subcommands of `/agent-memory` for all platforms; each platform sends files in its own way."""

from collections.abc import Awaitable, Callable
from typing import Literal

from bot.chat import BotError
from bot.commands.commands import Caller, PersonalMemory

FILE = "memory.json"

CONFIRMATION = "everything"
"""Argument that `forget` needs; without it, it only shows what would be deleted."""

Verb = Literal["show", "forget", "link", "unlink"]


async def run(memory: PersonalMemory, caller: Caller, verb: Verb, argument: str = "") -> str:
    """Run a subcommand that answers with text; return the answer, or the text of the error."""
    try:
        match verb:
            case "show":
                return await memory.show(caller)
            case "forget":
                return await memory.forget(caller, confirmed=argument == CONFIRMATION)
            case "link":
                return await memory.link(caller, argument)
            case "unlink":
                return await memory.unlink(caller)
    except BotError as error:
        return str(error)


async def export(memory: PersonalMemory, caller: Caller, send: Callable[[bytes], Awaitable[str]]) -> str:
    """Send all stored data as a file; return the answer of `send`, or the text of the error."""
    try:
        return await send(await memory.export(caller))
    except BotError as error:
        return str(error)
