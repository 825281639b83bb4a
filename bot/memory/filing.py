"""Finished turns that wait for their record: a stream in Redis, empty most of the time.

The inbox adds a turn in the step that ends it, and the step that stores its record removes it: a crash loses
no record, and a turn whose user was forgotten meanwhile gets none.
"""

import json
import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from redis.asyncio import Redis

from bot.chat import Json, Message, Space, ThreadId, Turn
from bot.memory.records import MAX_TEXT_CHARS, MemoryRecord, Utterance, digest
from bot.memory.visibility import account_of

log = logging.getLogger(__name__)

_TAG = "{bot}"
STREAM = f"{_TAG}:filing"
MOST_WAITING = 10_000
"""Most turns that wait, because of a fault: of more the oldest get no record."""

_PAGE = 500
_FIELDS = (
    *("id", "author", "author_name", "text", "sent_at", "addressed", "direct"),
    *("channel", "parent", "is_private_thread", "place", "author_space", "is_guest"),
)
"""Stored fields of a message: what its record has, and what tells its readers."""


@dataclass(frozen=True, slots=True)
class FinishedTurn:
    """Turn with the text of its answer."""

    turn: Turn
    answer: str

    @property
    def authors(self) -> frozenset[str]:
        """Return the digests of the authors."""
        return frozenset(account_of(each).digest for each in self.turn.messages)

    @property
    def record(self) -> MemoryRecord:
        """Return the record of the turn; that of a repeated turn has the same key."""
        turn = self.turn
        return MemoryRecord(
            kind="turn",
            id=digest(str(turn.thread), turn.id),
            said=tuple(_utterance(message) for message in turn.messages),
            at=turn.messages[0].sent_at,
            source=str(turn.thread),
            answer=self.answer[:MAX_TEXT_CHARS],
        )

    def without(self, authors: frozenset[str]) -> "FinishedTurn | None":
        """Return the turn without these authors and without the answer, or None if nobody remains."""
        others = tuple(each for each in self.turn.messages if account_of(each).digest not in authors)
        return FinishedTurn(replace(self.turn, messages=others), "") if others else None

    def dump(self) -> str:
        """Return the stored form, without what a record does not have.

        A private answer counts as a direct message, which processes without private answers know.
        """
        messages = [
            {name: getattr(each, name) for name in _FIELDS}
            | {"text": each.text[:MAX_TEXT_CHARS], "direct": each.direct or each.is_private}
            for each in self.turn.messages
        ]
        return json.dumps([self.turn.id, asdict(self.turn.thread), messages, self.answer[:MAX_TEXT_CHARS]])


def _load(stored: bytes) -> FinishedTurn:
    """Raise `ValueError`, `TypeError` or `KeyError` for what `dump` has not returned."""
    turn_id, thread, messages, answer = json.loads(stored)
    known = tuple(_message(thread, each) for each in messages)
    return FinishedTurn(Turn(id=turn_id, thread=ThreadId(**thread), messages=known), answer)


def _message(thread: Json, fields: Json) -> Message:
    return Message.from_json({**fields, "thread": thread, "attachments": []})


def _utterance(message: Message) -> Utterance:
    return Utterance(account_of(message).digest, message.author_name, message.text[:MAX_TEXT_CHARS])


class WaitingTurns:
    """Finished turns without a record, by their entries in the stream. Errors of redis-py pass through."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def add(self, turn: FinishedTurn) -> str:
        """Add a turn and return its entry."""
        fields: dict[Any, Any] = {"turn": turn.dump()}
        return _text(await self._redis.xadd(STREAM, fields, maxlen=MOST_WAITING))

    async def read(self, idle_seconds: float = 0) -> AsyncIterator[tuple[str, FinishedTurn]]:
        """Yield the turns that have waited for `idle_seconds`, the oldest first; remove unreadable ones."""
        begin, until = "-", f"{round((time.time() - idle_seconds) * 1000)}" if idle_seconds else "+"
        while entries := await self._page(begin, until):
            for entry, fields in entries:
                try:
                    yield entry, _load(fields[b"turn"])
                except (ValueError, TypeError, KeyError) as error:
                    log.warning("turn to be filed is unreadable", extra={"error": repr(error)})
                    await self.remove([entry])
            begin = f"({entries[-1][0]}"

    async def _page(self, begin: str, until: str) -> list[tuple[str, Any]]:
        entries: Any = await self._redis.xrange(STREAM, begin, until, count=_PAGE)
        return [(_text(entry), fields) for entry, fields in entries]

    async def remove(self, entries: Sequence[str]) -> None:
        """Remove turns, which then get no record."""
        if entries:
            await self._redis.xdel(STREAM, *entries)

    async def by(self, authors: frozenset[str]) -> list[MemoryRecord]:
        """Return the records that the turns of these authors will have."""
        return [turn.record async for _, turn in self.read() if turn.authors & authors]

    async def erase(self, authors: frozenset[str]) -> None:
        """Remove the words of these authors and the answers to them; those of others wait on."""
        async for entry, turn in self.read():
            if turn.authors & authors:
                rest = turn.without(authors)
                if rest:  # added before the other is removed: a crash leaves both, which have one record
                    await self.add(rest)
                await self.remove([entry])

    async def erase_space(self, space: Space) -> None:
        """Remove the turns of a space."""
        await self.remove([entry async for entry, turn in self.read() if space.has(str(turn.turn.thread))])

    async def erase_thread(self, thread: str) -> None:
        """Remove the turns of a thread."""
        await self.remove([entry async for entry, turn in self.read() if str(turn.turn.thread) == thread])


def _text(entry: bytes | str) -> str:
    return entry.decode() if isinstance(entry, bytes) else entry
