"""Parts of the slash commands, for tests of something else."""

from bot.chat import Health, Stop
from bot.commands.commands import Commands


async def no_health() -> list[Health]:
    """Return the state of no part."""
    return []


async def nothing_to_stop(stop: Stop) -> int:
    """Stop nothing."""
    return 0


NO_COMMANDS = Commands(no_health, nothing_to_stop)
"""Commands for a platform on which nobody runs one."""
