"""Copy of the inbox in process memory, which restores messages that Redis has lost.

A failover to an empty server loses waiting and running messages and the joined threads. Each process
therefore keeps the messages that it has taken or answers until they are finished, and compares them with
Redis every few seconds.
"""

import asyncio
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from bot.access.origin import scopes_of
from bot.chat import Json, Message, ThreadId, Turn
from bot.inbox import keys, scripts
from bot.inbox.keys import LEFT, TAG
from bot.inbox.queries import LISTED_SECONDS, SEEN_SECONDS

log = logging.getLogger(__name__)

Value = TypeVar("Value")

MOST = 1_000
"""Most messages, and most threads, in memory by default."""

PATIENCE = 5
"""Comparisons in a row that must miss a message which another process may be answering: that process has the
receipt, and restores it first."""


@dataclass(slots=True)
class _Entry:
    message: Message
    receipt: Mapping[str, Json] = field(default_factory=dict)
    has_begun: bool = False
    is_under_way: bool = False
    misses: int = 0


class Replica:
    """Unfinished messages of this process with their receipts, and the threads that it has joined.

    At most `most` of each are kept; the oldest are dropped first.
    """

    def __init__(self, redis: Redis, follow_seconds: int, most: int = MOST) -> None:
        self._redis = redis
        self._follow_seconds = follow_seconds
        self._most = most
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._threads: OrderedDict[str, tuple[ThreadId, float]] = OrderedDict()
        """Threads with the time of their newest message (Unix seconds), the oldest first."""
        self._done: OrderedDict[str, None] = OrderedDict()
        self._restore = redis.register_script(scripts.RESTORE)

    def add(self, message: Message) -> None:
        """Record a waiting message, or its new text."""
        self._entry(message).message = message
        self._threads.pop(str(message.thread), None)
        self._put(self._threads, str(message.thread), (message.thread, time.time()))

    def begin(self, turn: Turn, receipt: Mapping[str, Json]) -> None:
        """Record that a turn runs in this process."""
        for message in turn.messages:
            entry = self._entry(message)
            entry.has_begun = entry.is_under_way = True
        self.save_receipt(turn, receipt)

    def save_receipt(self, turn: Turn, receipt: Mapping[str, Json]) -> None:
        """Record the receipt of a turn's reply."""
        if turn.id in self._entries:
            self._entries[turn.id].receipt = dict(receipt)

    def leave(self, turn: Turn) -> None:
        """Record that a turn no longer runs in this process."""
        for message in turn.messages:
            if message.id in self._entries:
                self._entries[message.id].is_under_way = False

    def finish(self, messages: Sequence[str]) -> None:
        """Drop finished messages and remember their ids."""
        for message_id in messages:
            self._entries.pop(message_id, None)
            self._put(self._done, message_id, None)

    def is_taken(self, message_id: str) -> bool:
        """Return True if that message's turn runs in this process, or was finished recently."""
        entry = self._entries.get(message_id)
        return message_id in self._done or bool(entry and entry.is_under_way)

    async def keep_whole(self, seconds: float) -> None:
        """Restore lost messages until cancelled, with `seconds` between two comparisons with Redis."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.restore()
            except (RedisError, OSError) as error:
                log.info("inbox comparison failed", extra={"error": repr(error)})

    async def restore(self) -> int:
        """Restore messages that Redis has lost; return how many. Errors of redis-py pass through."""
        if not self._threads and not self._entries:
            return 0
        lost = await self._find_lost()
        restored = sum([await self._put_back(entry) for entry in lost])
        if await self._rejoin() or restored:
            log.warning("redis data lost, messages restored", extra={"messages": restored})
        return restored

    def _entry(self, message: Message) -> _Entry:
        self._put(self._entries, message.id, self._entries.get(message.id) or _Entry(message))
        return self._entries[message.id]

    async def _find_lost(self) -> list[_Entry]:
        """Return the messages that Redis has lost, in order, and drop those that it has finished.

        Threads with a turn that runs here are skipped: its messages must come first.
        """
        busy = {entry.message.thread for entry in self._entries.values() if entry.is_under_way}
        entries = [entry for entry in self._entries.values() if entry.message.thread not in busy]
        if not entries:
            return []
        async with self._redis.pipeline(transaction=False) as pipe:
            for entry in entries:
                pipe.exists(keys.seen(entry.message.id))
                pipe.hexists(keys.messages(str(entry.message.thread)), entry.message.id)
            answers = await pipe.execute()
        ours = {entry.message.thread for entry in entries if entry.has_begun}
        lost = []
        for entry, is_known, waits in zip(entries, answers[::2], answers[1::2], strict=True):
            entry.misses = 0 if is_known else entry.misses + 1
            if is_known and not waits:
                self.finish([entry.message.id])
            elif entry.misses and (entry.message.thread in ours or entry.misses >= PATIENCE):
                lost.append(entry)
        return lost

    async def _put_back(self, entry: _Entry) -> int:
        message, thread = entry.message, str(entry.message.thread)
        return int(
            await self._restore(
                keys=[keys.seen(message.id), keys.turn(message.id)],
                args=[
                    TAG,
                    thread,
                    message.id,
                    message.author,
                    json.dumps(message.to_json()),
                    SEEN_SECONDS,
                    json.dumps(entry.receipt) if entry.receipt else "",
                    message.corrects,
                    scopes_of(message).channel,
                ],
            )
        )

    async def _rejoin(self) -> bool:
        """Restore the joined threads if Redis has lost them; return True if it had."""
        self._leave_idle()
        if not self._threads:
            return False
        newest = next(reversed(self._threads))
        async with self._redis.pipeline(transaction=True) as step:  # atomic, or a left thread looks lost
            step.exists(keys.joined(newest))
            step.smembers(LEFT)
            is_joined, left = await step.execute()
        for name in [each for each in self._threads if left and keys.left(each).encode() in left]:
            if name != newest or not is_joined:
                del self._threads[name]
        if is_joined or newest not in self._threads:
            return False
        async with self._redis.pipeline(transaction=False) as pipe:
            for name, (thread, at) in self._threads.items():
                pipe.set(keys.joined(name), "", ex=self._follow_seconds, nx=True)
                listed = {json.dumps(asdict(thread)): at + LISTED_SECONDS}
                pipe.zadd(keys.threads(thread.platform), listed, gt=True)
            await pipe.execute()
        return True

    def _leave_idle(self) -> None:
        """Drop the threads that have expired in Redis, because nobody wrote there for so long."""
        begin = time.time() - self._follow_seconds
        while self._threads and next(iter(self._threads.values()))[1] <= begin:
            self._threads.popitem(last=False)

    def _put(self, known: OrderedDict[str, Value], name: str, value: Value) -> None:
        known[name] = value
        if len(known) > self._most:
            known.popitem(last=False)
