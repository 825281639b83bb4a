"""Subcommands of `/agent-memory` for all platforms; each platform sends files in its own way."""

import logging
from collections.abc import Awaitable, Callable

from bot.chat import StorageDown
from bot.chat.texts import NO_STORAGE
from bot.commands.memory import Caller, MemoryOrder, PersonalMemory, Verb
from bot.commands.memory import run as run_order

log = logging.getLogger(__name__)

FILE = "memory.json"


async def run(memory: PersonalMemory, caller: Caller, verb: Verb, argument: str = "") -> str:
    """Run a subcommand that answers with text; return the answer, or a sentence if the store fails."""
    try:
        return await run_order(memory, caller, MemoryOrder(verb, argument))
    except StorageDown as error:
        return _not_run(error)


async def export(memory: PersonalMemory, caller: Caller, send: Callable[[bytes], Awaitable[str]]) -> str:
    """Send all stored data as a file; return the answer of `send`, or a sentence if the store fails."""
    try:
        return await send(await memory.export(caller))
    except StorageDown as error:
        return _not_run(error)


def _not_run(error: StorageDown) -> str:
    log.warning("command not executed", extra={"error": str(error)})
    return NO_STORAGE
