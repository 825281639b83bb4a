"""What this process remembers of the inbox, to put it back should Redis come back without it.

A failover to a server that has none of the data takes with it what waits, what runs, and which threads the
bot takes part in. Each process therefore keeps in its own memory what it has taken and what it answers, until
that is finished, and compares it with Redis every few seconds.
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
from bot.inbox.queries import SEEN_SECONDS

log = logging.getLogger(__name__)

Value = TypeVar("Value")

MOST = 1_000
"""Messages and threads that are remembered; the oldest are forgotten first."""

RESTORE_SECONDS = 3.0
"""Between two looks whether Redis has lost anything."""

PATIENCE = 5
"""So many looks in turn must miss a message that another process may be answering: that one knows what was
shown of the answer already, and puts it back first."""


@dataclass(slots=True)
class _Entry:
    message: Message
    receipt: Mapping[str, Json] = field(default_factory=dict)
    begun: bool = False
    under_way: bool = False
    missed: int = 0


class Journal:
    """The messages that are not finished, as far as this process has to do with them, and their receipts."""

    def __init__(self, redis: Redis, follow_seconds: int) -> None:
        self._redis = redis
        self._follow_seconds = follow_seconds
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._threads: OrderedDict[str, tuple[ThreadId, float]] = OrderedDict()
        """By the time of the newest message (Unix seconds), the oldest first."""
        self._done: OrderedDict[str, None] = OrderedDict()
        self._restore = redis.register_script(scripts.RESTORE)

    def taken(self, message: Message) -> None:
        """A message waits, or waits with other words than before."""
        self._entry(message).message = message
        self._threads.pop(str(message.thread), None)
        _put(self._threads, str(message.thread), (message.thread, time.time()))

    def begun(self, turn: Turn, receipt: Mapping[str, Json]) -> None:
        """A turn runs in this process."""
        for message in turn.messages:
            entry = self._entry(message)
            entry.begun = entry.under_way = True
        self.kept(turn, receipt)

    def kept(self, turn: Turn, receipt: Mapping[str, Json]) -> None:
        """What is known of the turn's reply."""
        if turn.id in self._entries:
            self._entries[turn.id].receipt = dict(receipt)

    def left(self, turn: Turn) -> None:
        """The turn does not run in this process any more."""
        for message in turn.messages:
            if message.id in self._entries:
                self._entries[message.id].under_way = False

    def finished(self, messages: Sequence[str]) -> None:
        """These are done with."""
        for message_id in messages:
            self._entries.pop(message_id, None)
            _put(self._done, message_id, None)

    def is_done(self, message_id: str) -> bool:
        """Whether that message was finished a short while ago."""
        return message_id in self._done

    async def keep_whole(self) -> None:
        """Look every few seconds whether Redis still has what it was given, until cancelled."""
        while True:
            await asyncio.sleep(RESTORE_SECONDS)
            try:
                await self.restore()
            except (RedisError, OSError) as error:
                log.info("the inbox cannot be compared with what is known", extra={"error": repr(error)})

    async def restore(self) -> int:
        """Put back what Redis does not know any more; returns how many messages. Errors of redis-py pass."""
        if not self._threads and not self._entries:
            return 0
        lost = await self._lost()
        restored = sum([await self._put_back(entry) for entry in lost])
        if await self._rejoin() or restored:
            log.warning("Redis has lost data, put back what is known", extra={"messages": restored})
        return restored

    def _entry(self, message: Message) -> _Entry:
        _put(self._entries, message.id, self._entries.get(message.id) or _Entry(message))
        return self._entries[message.id]

    async def _lost(self) -> list[_Entry]:
        """The messages that Redis has lost, in order; those that it has finished are forgotten.

        Behind a turn that still runs here nothing is looked at: it comes first, once it has ended.
        """
        busy = {entry.message.thread for entry in self._entries.values() if entry.under_way}
        entries = [entry for entry in self._entries.values() if entry.message.thread not in busy]
        if not entries:
            return []
        async with self._redis.pipeline(transaction=False) as pipe:
            for entry in entries:
                pipe.exists(keys.seen(entry.message.id))
                pipe.hexists(keys.messages(str(entry.message.thread)), entry.message.id)
            answers = await pipe.execute()
        ours = {entry.message.thread for entry in entries if entry.begun}
        lost = []
        for entry, is_known, waits in zip(entries, answers[::2], answers[1::2], strict=True):
            entry.missed = 0 if is_known else entry.missed + 1
            if is_known and not waits:
                self.finished([entry.message.id])
            elif entry.missed and (entry.message.thread in ours or entry.missed >= PATIENCE):
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
        """Take part in the threads again, if that was forgotten; whether it was."""
        self._leave_idle()
        if not self._threads:
            return False
        newest = next(reversed(self._threads))
        async with self._redis.pipeline(transaction=True) as step:  # in one, or one that is left looks lost
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
                pipe.zadd(keys.threads(thread.platform), {json.dumps(asdict(thread)): at}, gt=True)
            await pipe.execute()
        return True

    def _leave_idle(self) -> None:
        """Forget the threads that Redis has forgotten by now, since nobody wrote there for so long."""
        begin = time.time() - self._follow_seconds
        while self._threads and next(iter(self._threads.values()))[1] <= begin:
            self._threads.popitem(last=False)


def _put(known: OrderedDict[str, Value], name: str, value: Value) -> None:
    known[name] = value
    if len(known) > MOST:
        known.popitem(last=False)
