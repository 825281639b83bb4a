"""Erasure of one user's data from the inbox, and pauses of threads meanwhile."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from bot.chat import Author, Json, Space, StillBusy, ThreadId, Withdrawal
from bot.inbox import keys, scripts
from bot.inbox.inbox import Inbox
from bot.inbox.keys import ACTIVE, DEAD, LATER, LEFT, TAG
from bot.inbox.queries import SEEN_SECONDS, unanswered_messages

_HOLD_SECONDS = 30

LEFT_SECONDS = 60
"""Seconds in which every running process notices that a thread was left (`bot.inbox.replica`)."""

_LOOK_SECONDS = 0.2
_BATCH = 500


class Erasure:
    """Removal of messages, a `bot.chat.PersonalDataSource` and `Mailboxes`. Passes errors of redis-py on.

    A pause ends by itself after `hold_seconds` if its holder died.
    """

    name = "inbox"

    def __init__(self, redis: Redis, inbox: Inbox, hold_seconds: int = _HOLD_SECONDS) -> None:
        self._redis = redis
        self._inbox = inbox
        self._hold_seconds = hold_seconds
        self._pause = redis.register_script(scripts.PAUSE)
        self._resume = redis.register_script(scripts.RESUME)
        self._leave = redis.register_script(scripts.LEAVE)

    async def withdraw(self, author: Author | Space) -> int:
        """Withdraw unanswered messages of a user or a space, and return their number; others' turns go on."""
        theirs = [
            each
            for each in await unanswered_messages(self._redis)
            if author.wrote(each.author, str(each.thread))
        ]
        for each in theirs:
            # an order to regenerate an answer may be about the question of somebody else
            message_id = each.id if each.regenerates else each.corrects or each.id
            await self._inbox.put(Withdrawal(message_id=message_id))
        return len(theirs)

    @asynccontextmanager
    async def pause(self, thread: str, patience: float) -> AsyncIterator[None]:
        """Pause a thread once it has no turn, for at most `hold_seconds`.

        Raises `StillBusy` if its turn has not ended after `patience` seconds.
        """
        token = secrets.token_hex(8)
        until = time.monotonic() + patience
        while not await self._is_paused(thread, token):
            if time.monotonic() >= until:
                raise StillBusy
            await asyncio.sleep(_LOOK_SECONDS)  # polling: nothing announces the end of a turn
        try:
            async with asyncio.timeout(self._hold_seconds / 2):
                yield
        finally:
            await self._resume(
                keys=[ACTIVE, keys.paused(thread), LATER, keys.mailbox(thread)], args=[thread, token, TAG]
            )

    async def _is_paused(self, thread: str, token: str) -> bool:
        due = time.time() + self._hold_seconds
        paused = await self._pause(
            keys=[ACTIVE, keys.paused(thread), LATER], args=[thread, token, self._hold_seconds, due]
        )
        return bool(paused)

    async def leave(self, thread: str) -> Sequence[ThreadId]:
        """Leave a thread, as if the bot had never joined it; return its id if it is listed."""
        listed = keys.threads(thread.partition(":")[0])
        ids = {each: ThreadId(**json.loads(each)) for each in await self._members(listed)}
        members = [each for each, id in ids.items() if str(id) == thread]
        # one step: a mention before it keeps its place in the list, and one after it joins and lists again
        await self._leave(
            keys=[keys.joined(thread), keys.partner(thread), LEFT, keys.mailbox(thread), listed],
            args=[keys.left(thread), LEFT_SECONDS, *members],
        )
        return [ids[each] for each in members]

    async def _members(self, key: str) -> list[bytes]:
        members: Any = await self._redis.zrange(key, 0, -1)
        return list(members)

    async def export(self, user: Sequence[Author]) -> Mapping[str, Json]:
        """Return nothing: what waits will be in a thread's memory, and receipts tell nothing else."""
        return {}

    async def erase(self, user: Sequence[Author]) -> None:
        """Remove a user's receipts, stops, dead and early messages, and the author from other entries.

        The message ids stay: else a redelivered message would be answered again.
        """
        for writer in user:
            await self._erase(writer)

    async def erase_space(self, space: Space) -> None:
        """Remove the same for all users of a space, and leave its threads."""
        await self.withdraw(space)
        await self._erase(space)
        for member in await self._members(keys.threads(space.platform)):
            if space.has(thread := str(ThreadId(**json.loads(member)))):
                await self.leave(thread)

    async def _erase(self, user: Author | Space) -> None:
        async for key in self._keys("seen:"):
            author, thread, turn = await self._fields(key, "author", "thread", "turn")
            if not user.wrote(author, thread) or await self._waits(thread, _id(key)):
                continue
            await self._redis.delete(keys.turn(turn or _id(key)), keys.turn(_id(key)))
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.hset(key, mapping={"author": "", "thread": ""})
                pipeline.hdel(key, "turn", "channel")
                pipeline.expire(key, SEEN_SECONDS)  # it may have ended just now
                await pipeline.execute()
        async for key in self._keys("early:"):
            early: Any = await self._redis.hgetall(key)
            thread = key.removeprefix(f"{TAG}:early:")
            theirs = [id for id, each in early.items() if user.wrote(json.loads(each)[1], thread)]
            if theirs:
                await self._redis.hdel(key, *theirs)
        async for key in self._keys("stops:"):
            thread = key.removeprefix(f"{TAG}:stops:")
            stoppers: Any = await self._redis.hkeys(key)
            if theirs := [each for each in stoppers if user.wrote(keys.text(each), thread)]:
                await self._redis.hdel(key, *theirs)
        async for key in self._keys("partner:"):
            since, _, partner = keys.text(await self._redis.get(key) or b"").partition(" ")
            if user.wrote(partner, key.removeprefix(f"{TAG}:partner:")):
                await self._redis.set(key, f"{since} ", keepttl=True)
        dead: Any = await self._redis.xrange(DEAD)
        for entry, fields in dead:
            if user.wrote(_author(fields), keys.text(fields[b"thread"])):
                await self._redis.xdel(DEAD, entry)

    async def _waits(self, thread: str, id: str) -> bool:
        return bool(await self._redis.hexists(keys.messages(thread), id))

    async def _fields(self, key: str, *fields: str) -> list[str]:
        known: Any = await self._redis.hmget(key, list(fields))
        return [keys.text(each or b"") for each in known]

    async def _keys(self, kind: str) -> AsyncIterator[str]:
        async for key in self._redis.scan_iter(match=f"{TAG}:{kind}*", count=_BATCH):
            yield keys.text(key)


def _id(key: str) -> str:
    return key.removeprefix(f"{TAG}:seen:")


def _author(fields: Mapping[bytes, bytes]) -> str:
    """Return the author of a dead letter, or an empty string if it is unreadable."""
    try:
        message: Json = json.loads(fields[b"message"])
        return str(message["author"])
    except (ValueError, LookupError, TypeError):
        return ""
