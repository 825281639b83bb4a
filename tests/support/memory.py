"""Turns that the long-term memory files."""

from redis.asyncio import Redis

from bot.chat import Turn
from bot.memory import LongTermMemory
from bot.memory.filing import FinishedTurn
from tests.support.wait import wait_until


async def end(memory: LongTermMemory, turn: Turn, answer: str) -> str:
    """End a turn, as the inbox does, and return its entry; it waits to be filed in the background."""
    filing = memory.filer.filing(turn, answer)
    entry = await memory.waiting.add(FinishedTurn(turn, answer))
    filing.added(entry)
    return entry


async def remember(memory: LongTermMemory, turn: Turn, answer: str) -> None:
    """End a turn and file it."""
    await end(memory, turn, answer)
    await memory.filer.file_own()


async def wait_until_filed(redis: Redis, count: int) -> None:
    """Wait until so many turns of a running bot are filed, a second after their end."""

    async def are_filed() -> bool:
        return len(await redis.keys("recall:record:turn:*")) >= count

    await wait_until(are_filed, f"{count} turns are filed")
