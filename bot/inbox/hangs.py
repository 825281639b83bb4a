"""Counter of event loop hangs, by the turn or the event that caused them."""

from collections.abc import Iterable
from typing import Any

from redis.asyncio import Redis

from bot.inbox import keys, scripts
from bot.inbox.inbox import Inbox
from bot.inbox.queries import SEEN_SECONDS
from bot.storage.client import open_redis

MAX_HANGS = 2
"""After so many hangs of the event loop that it caused, a turn is given up, and an event skipped."""


async def note_hang(redis: Redis, inbox: Inbox, work: str) -> None:
    """Count a hang of this process for its cause, as `bot.chat.work_at_hand` names it, before it exits.

    `redis` must belong to an event loop that still runs. Without a cause every turn counts a crash.
    """
    kind, _, id = work.partition(":")
    turns = {*inbox.under_way, *await _heads(redis, inbox.beginning)} - {id}
    others = [keys.turn(each) for each in sorted(turns)]
    if kind == "turn":
        await redis.register_script(scripts.TURN_HUNG)(keys=[keys.turn(id), *others], args=[inbox.consumer])
    elif kind == "event":
        await redis.register_script(scripts.EVENT_HUNG)(
            keys=[keys.HUNG, *others], args=[inbox.consumer, id, SEEN_SECONDS]
        )


async def note_hang_apart(redis_url: str, inbox: Inbox, work: str) -> None:
    """Count a hang over a connection of its own: the others belong to the event loop that hangs."""
    async with open_redis(redis_url, pool_size=1) as redis:
        await note_hang(redis, inbox, work)


async def _heads(redis: Redis, threads: Iterable[str]) -> list[str]:
    """Return the next turn of each thread: Redis may have begun it while this process was silent."""
    async with redis.pipeline(transaction=False) as batch:
        for thread in threads:
            batch.xrange(keys.mailbox(thread), count=1)
        heads: list[Any] = await batch.execute()
    return [keys.text(fields[b"id"]) for entries in heads for _, fields in entries]
