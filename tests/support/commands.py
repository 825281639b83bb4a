"""Parts of the slash commands, for tests of something else."""

from bot.chat import Health, Stop


async def no_health() -> list[Health]:
    """Return the state of no part."""
    return []


async def nothing_to_stop(stop: Stop) -> int:
    """Stop nothing."""
    return 0
