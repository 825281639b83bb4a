"""Counter of event loop hangs, by the turn or the event that caused them."""

from redis.asyncio import Redis

from bot.inbox import keys, scripts
from bot.inbox.inbox import Inbox
from bot.inbox.queries import SEEN_SECONDS

MAX_HANGS = 2
"""After so many hangs of the event loop that it caused, a turn is given up, and an event skipped."""


async def note_hang(redis: Redis, inbox: Inbox, work: str) -> None:
    """Count a hang of this process for its cause, as `bot.chat.work_at_hand` names it, before it exits.

    `redis` must belong to an event loop that still runs. Without a cause every turn counts a crash.
    """
    kind, _, id = work.partition(":")
    if kind == "turn":
        others = [keys.turn(each) for each in inbox.under_way if each != id]
        await redis.register_script(scripts.HUNG)(keys=[keys.turn(id), *others], args=[inbox.consumer])
    elif kind == "event":
        await redis.hincrby(keys.HUNG, id, 1)
        await redis.expire(keys.HUNG, SEEN_SECONDS)
