"""Look-ups in the inbox for platforms, approvals and the running bot."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from bot.chat import Json, StorageDown, ThreadId
from bot.inbox import keys
from bot.inbox.hangs import MAX_HANGS
from bot.storage.errors import storage_errors

log = logging.getLogger(__name__)

_LEARN_SECONDS = 2.0
_LISTEN_SECONDS = 1.0  # below the shared client's socket timeout


class Lookup:
    """Implements `bot.chat.InboxLookup`, and listens to what the inbox publishes."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._hung: set[str] = set()

    async def active_threads(self, platform: str, since: float) -> Sequence[ThreadId]:
        """Return the threads of a platform with a message after `since`, the newest first."""
        with storage_errors():
            threads: Any = await self._redis.zrevrangebyscore(keys.threads(platform), "+inf", since)
        return [ThreadId(**json.loads(each)) for each in threads]

    async def active(self, threads: Sequence[ThreadId]) -> frozenset[ThreadId]:
        """Return those in which something waits for an answer, or is being answered."""
        if not threads:
            return frozenset()
        with storage_errors():
            known: Any = await self._redis.smismember(keys.ACTIVE, [str(each) for each in threads])
        return frozenset(each for each, is_active in zip(threads, known, strict=True) if is_active)

    async def is_known(self, message_id: str) -> bool:
        """Return true for a message that was taken within the last days."""
        with storage_errors():
            return bool(await self._redis.exists(keys.seen(message_id)))

    async def is_idle(self, thread: ThreadId) -> bool:
        """Return true if nothing in a thread waits for an answer, or is being answered."""
        with storage_errors():
            return not await self._redis.sismember(keys.ACTIVE, str(thread))

    def has_hung(self, event_id: str) -> bool:
        """Return true for an event that is skipped, because it has hung the process too often."""
        return event_id in self._hung

    async def learn_hangs(self) -> None:
        """Look up which events have hung a process. Raises `StorageDown`."""
        with storage_errors():
            hung: Any = await self._redis.hgetall(keys.HUNG)
        self._hung = {event.decode() for event, times in hung.items() if int(times) >= MAX_HANGS}

    async def keep_learning_hangs(self) -> None:
        """Look them up again and again until cancelled: other processes find hangs, too."""
        while True:
            await asyncio.sleep(_LEARN_SECONDS)
            try:
                await self.learn_hangs()
            except StorageDown as error:
                log.info("hangs not looked up", extra={"error": str(error)})

    async def receipt_of(self, message_id: str) -> Mapping[str, Json] | None:
        """Return the state of the receipt of the turn that took a message; None while no turn has."""
        with storage_errors():
            turn: Any = await self._redis.hget(keys.seen(message_id), "turn")
            if turn is None:
                return None
            receipt: Any = await self._redis.hget(keys.turn(turn.decode()), "receipt")
        state: dict[str, Json] = json.loads(receipt) if receipt else {}
        return state

    async def is_taken_back(self, thread: ThreadId, message_id: str) -> bool:
        """Return true for a message that left its thread before any turn had it."""
        with storage_errors():
            async with self._redis.pipeline(transaction=True) as both:
                both.hmget(keys.seen(message_id), ["thread", "turn"])
                both.hexists(keys.messages(str(thread)), message_id)
                (taken, turn), waits = await both.execute()
        return taken is not None and turn is None and not waits

    @asynccontextmanager
    async def news(self, topic: str) -> AsyncIterator[AsyncIterator[Json]]:
        """Yield what a script of the inbox publishes, from the moment the context is entered.

        A lost connection is opened again; what comes in between is not heard. Raises `StorageDown`.
        """
        async with self._redis.pubsub(ignore_subscribe_messages=True) as listener:
            with storage_errors():
                await listener.subscribe(keys.news(topic))
            yield _listen(listener)


async def _listen(listener: PubSub) -> AsyncIterator[Json]:
    while True:
        try:
            message = await listener.get_message(timeout=_LISTEN_SECONDS)
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            log.info("inbox news interrupted", extra={"error": repr(error)})  # redis-py subscribes again
            continue
        if message is not None:
            yield json.loads(message["data"])
