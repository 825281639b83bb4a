"""Subcommands of `/agent-memory`, the same on every platform; how a file is sent is the platform's."""

from collections.abc import Awaitable, Callable
from typing import Literal

from bot.chat import BotError
from bot.commands.commands import Caller, PersonalMemory

FILE = "memory.json"

CONFIRMATION = "everything"
"""The argument without which `forget` only tells what would go."""

Verb = Literal["show", "forget", "link", "unlink"]


async def run(memory: PersonalMemory, caller: Caller, verb: Verb, argument: str = "") -> str:
    """Run a subcommand that answers with text; return its answer, or why there is none."""
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
    """Send all that is kept as a file; return the answer of `send`, or why there is none."""
    try:
        return await send(await memory.export(caller))
    except BotError as error:
        return str(error)
