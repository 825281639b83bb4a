"""Operator queries of the inbox: waiting messages, running threads, dead letters, health."""

import json
import re
import time
from dataclasses import dataclass, replace
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from bot.access.origin import scopes_of
from bot.chat import Health, Json, Message, QuestionState, ThreadId
from bot.inbox import keys, scripts
from bot.inbox.keys import ACTIVE, DEAD, GROUP, LATER, READY, TAG

_GAP = re.compile(r"(\|[0-9.]+)?\|gap$")
"""Mark behind the message that was answered last, see `bot.inbox.scripts`."""

_DAY = 86_400
SEEN_SECONDS = 3 * _DAY
"""Seconds during which a duplicate is recognised: longer than any platform redelivers."""

ORDERED_SECONDS = 90 * _DAY
"""Seconds for which the newest order to regenerate an answer is known: as long as the answer itself."""

LISTED_SECONDS = 300
"""Seconds by which a thread's time in the list of joined threads is ahead of its newest message, so that few
messages write it: a reader finds the thread for a little longer."""

_MOST_LEASES = 1_000
"""Most leases that are looked at."""

MANY_DEAD = 1_000
"""Dead letters above which health shows a hint: nothing removes them automatically."""


@dataclass(frozen=True, slots=True)
class Dead:
    """Dead letter: a message that was given up for `reason` at a time `at` (Unix seconds)."""

    entry: str
    id: str
    thread: str
    reason: str
    at: float
    text: str


async def ensure_group(redis: Redis) -> None:
    """Create the workers' consumer group unless it exists."""
    try:
        await redis.xgroup_create(READY, GROUP, "0", mkstream=True)
    except ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise


async def unanswered_messages(redis: Redis) -> list[Message]:
    """Return all unanswered messages, including running ones, thread by thread in order."""
    threads: Any = await redis.smembers(ACTIVE)
    found: list[Message] = []
    for thread in sorted(map(keys.text, threads)):
        entries: Any = await redis.xrange(keys.mailbox(thread))
        ids = [fields[b"id"] for _, fields in entries]
        stored: Any = await redis.hmget(keys.messages(thread), ids) if ids else []
        found += [message for each in stored if each and (message := _read(each))]
    return found


async def newest_answer(redis: Redis, thread: ThreadId) -> str:
    """Return the message that was answered last in a thread, or an empty string."""
    joined: Any = await redis.get(keys.joined(str(thread)))
    return _GAP.sub("", keys.text(joined or b""))


async def question(redis: Redis, message_id: str) -> QuestionState | None:
    """Return the state of an answered question, or None if the inbox does not know it any more."""
    names = ["thread", "withdrawn", "edited", "answer"]
    thread, withdrawn, edited, answer = cast("Any", await redis.hmget(keys.seen(message_id), names))
    if not (thread or withdrawn):
        return None
    return QuestionState(bool(withdrawn), float(edited or -1), keys.text(answer or b""))


async def newest_order(redis: Redis, answer: str, thread: ThreadId) -> tuple[str, bool] | None:
    """Return the newest order to regenerate an answer, and whether it is open or known to have succeeded.

    None if there is none, or it was refused, stopped or has failed.
    """
    stored: Any = await redis.get(keys.ordered(answer))
    if stored is None:
        return None
    order = keys.text(stored)
    async with redis.pipeline(transaction=True) as both:
        both.hexists(keys.messages(str(thread)), order)
        both.hget(keys.turn(order), "receipt")
        is_open, receipt = await both.execute()
    state = json.loads(receipt) if receipt else {}
    if not is_open and state.keys() & {"ending", "received"}:
        return None
    return order, bool(is_open or state)


async def first_turns(redis: Redis, within: ThreadId) -> list[str]:
    """Return the turn of a thread that runs, or will run next, if there is one.

    If no `channel` is known, those of the leased threads of the space: at most as many as the processes have
    places, however many wait.
    """
    threads = [str(within)] if within.channel else await _leased_within(redis, within)
    async with redis.pipeline(transaction=False) as pipe:
        for thread in threads:
            pipe.xrange(keys.mailbox(thread), count=1)
        return [keys.text(entries[0][1][b"id"]) for entries in await pipe.execute() if entries]


async def _leased_within(redis: Redis, space: ThreadId) -> list[str]:
    prefix = str(replace(space, channel="-")).removesuffix("-")
    return [each for each in await leased_threads(redis) if each.startswith(prefix)]


def _read(value: bytes) -> Message | None:
    try:
        return Message.from_json(json.loads(value))
    except (ValueError, LookupError, TypeError):  # its turn will give it up
        return None


async def leased_threads(redis: Redis) -> dict[str, str]:
    """Return the leased threads with the consumer that holds each."""
    await ensure_group(redis)
    leases: Any = await redis.xpending_range(READY, GROUP, "-", "+", _MOST_LEASES)
    async with redis.pipeline(transaction=False) as pipe:
        for lease in leases:
            pipe.xrange(READY, lease["message_id"], lease["message_id"])
        found = await pipe.execute()
    return {
        keys.text(fields[b"thread"]): keys.text(lease["consumer"])
        for lease, entries in zip(leases, found, strict=True)
        for _, fields in entries
    }


async def dead(redis: Redis) -> list[Dead]:
    """Return the dead letters, the oldest first."""
    entries: Any = await redis.xrange(DEAD)
    return [_dead(keys.text(entry), fields) for entry, fields in entries]


def _dead(entry: str, fields: dict[bytes, bytes]) -> Dead:
    known = {name.decode(): value.decode() for name, value in fields.items()}
    try:
        text = str(json.loads(known["message"])["text"])
    except (ValueError, LookupError, TypeError):  # that may be why it is dead
        text = known["message"]
    at = int(entry.split("-")[0]) / 1000
    return Dead(entry, known["id"], known["thread"], known["reason"], at, text)


async def replay(redis: Redis, entry: str) -> bool:
    """Put a dead letter back into its thread as a new message; return False if missing or unreadable."""
    found: Any = await redis.xrange(DEAD, entry, entry)
    if not found:
        return False
    message = _read(found[0][1][b"message"])
    if message is None:
        return False
    again = replace(message, replays=message.replays + 1)
    script = redis.register_script(scripts.REPLAY)
    text, channel = json.dumps(again.to_json()), scopes_of(again).channel
    args: list[str | int] = [TAG, entry, SEEN_SECONDS, again.author, text, channel]
    return bool(await script(keys=[DEAD], args=args))


async def drop(redis: Redis, entry: str) -> bool:
    """Delete a dead letter; return False if there is none with this id."""
    return bool(await redis.xdel(DEAD, entry))


async def health(redis: Redis) -> Health:
    """Report waiting, running and dead messages of all processes, and the age of the oldest one."""
    await ensure_group(redis)  # there may be no worker yet, or an empty Redis
    async with redis.pipeline(transaction=False) as pipe:
        pipe.xlen(READY)
        pipe.xpending(READY, GROUP)
        pipe.zcard(LATER)
        pipe.xlen(DEAD)
        ready, pending, later, given_up = await pipe.execute()
    leased = pending["pending"]
    evidence: dict[str, Json] = {
        "waiting": ready - leased,
        "running": leased,
        "postponed": later,
        "dead": given_up,
    }
    if ready or later:
        evidence["oldest_s"] = await _oldest_age(redis)
    if given_up > MANY_DEAD:
        evidence["hint"] = (
            f"more than {MANY_DEAD:,} messages were given up: list them with `./dev run inbox`, then replay "
            "or drop them"
        )
    return Health(name="inbox", state="degraded" if given_up else "ok", evidence=evidence)


async def _oldest_age(redis: Redis) -> int:
    threads: Any = await redis.srandmember(ACTIVE, 1000)
    async with redis.pipeline(transaction=False) as pipe:
        for thread in threads:
            pipe.xrange(keys.mailbox(keys.text(thread)), count=1)
        heads = [int(entries[0][0].split(b"-")[0]) for entries in await pipe.execute() if entries]
    return max(0, round(time.time() - min(heads) / 1000)) if heads else 0
