"""Records and threads by author, for showing, exporting and erasing a user's data.

Keys are scanned instead of searched, because an index that was just created again may be incomplete.
"""

import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redisvl.query.filter import Tag

from bot.chat import Author, Json, Space, Turn
from bot.memory.filing import WaitingTurns
from bot.memory.index import Store
from bot.memory.records import PREFIX, MemoryRecord, fact_id, source_of
from bot.memory.visibility import Account, account_of

_BATCH = 500
_MARGIN_SECONDS = 24 * 3600
_AUTHORS = "recall:authors:"

_KNOWN_SECONDS = _MARGIN_SECONDS // 2
"""Time for which the authors of a thread are not stored again; the margin covers it."""


@dataclass(frozen=True, slots=True)
class ThreadNames:
    """Thread by its checkpoint name and its inbox name; `is_alone` means that it has only one author."""

    memory: str
    inbox: str
    is_alone: bool


@dataclass(slots=True)
class AuthorNote:
    """Authors of a turn, stored in the step that stores the first of its messages.

    The entry lives as long as the thread memory, also for authors whose words are only in its summary. It is
    not stored again soon while the memory has messages of all these authors: those of a forgotten user are
    gone. `stored_at` is the time when it was stored last (Unix seconds).
    """

    key: str
    authors: Mapping[str, str]
    ttl_seconds: int
    is_stored: bool = False
    stored_at: int = 0

    def recognise(self, authors: Collection[str], stored_at: int) -> None:
        """Take over what the thread memory tells: the authors of its messages, and `stored_at`."""
        is_recent = 0 <= time.time() - stored_at < _KNOWN_SECONDS
        self.is_stored = is_recent and self.authors.keys() <= set(authors)
        self.stored_at = stored_at

    def add_to(self, pipeline: Pipeline) -> None:
        """Add the commands that store the authors."""
        fields: dict[Any, Any] = dict(self.authors)
        pipeline.hset(self.key, mapping=fields)
        pipeline.expire(self.key, self.ttl_seconds)
        self.stored_at = int(time.time())


class FactOfOthers(Exception):
    """Fact of somebody else that the same readers find already: it must not change its authors."""


class Owners:
    """Index of authors by thread and by record. Errors of redis-py pass through.

    Implements `bot.chat.PersonalDataSource` for the records. `ttl_seconds` is the time for which a thread's
    memory lives after its last turn, `fact_seconds` that of a fact.
    """

    name = "memory"

    def __init__(
        self, redis: Redis, store: Store, waiting: WaitingTurns, ttl_seconds: int, fact_seconds: int
    ) -> None:
        self._redis = redis
        self._store = store
        self._waiting = waiting
        self._ttl_seconds = ttl_seconds + _MARGIN_SECONDS
        self._fact_seconds = fact_seconds

    def note(self, memory: str, turn: Turn) -> "AuthorNote":
        """Return a note of a turn's authors, for the step that writes into the thread memory of that name."""
        authors = {account_of(each).digest: str(turn.thread) for each in turn.messages}
        return AuthorNote(_AUTHORS + memory, authors, self._ttl_seconds)

    async def threads(self, authors: frozenset[str]) -> list[ThreadNames]:
        """Return the threads in which one of these authors wrote."""
        found = []
        async for key, known in self._hashes(_AUTHORS, "HGETALL"):
            writers = {name.decode(): thread.decode() for name, thread in _pairs(known)}
            mine = authors & writers.keys()
            if mine:
                inbox = writers[next(iter(mine))]
                found.append(ThreadNames(key.removeprefix(_AUTHORS), inbox, writers.keys() <= authors))
        return found

    async def records(self, authors: frozenset[str]) -> list[MemoryRecord]:
        """Return the records of these authors, the newest first, including those that are not stored yet."""
        waiting = await self._waiting.by(authors)  # first: they may be stored meanwhile
        known = {each.key: each for each in waiting}
        known |= {each.key: each for each in await self._stored(authors)}
        return sorted(known.values(), key=lambda each: -each.at)

    async def newest(
        self, authors: frozenset[str], kind: str, limit: int, first: int = 0
    ) -> tuple[int, Sequence[MemoryRecord]]:
        """Return the number of stored records of a kind by these authors, and the newest after the `first`.

        They are searched: that is as fast in a large Redis, but an index that was just made may miss some.
        """
        theirs = (Tag("kind") == kind) & (Tag("authors") == sorted(authors))
        keys = await self._store.newest(theirs, limit, first=first)
        return await self._store.count(theirs), await self._store.read(keys)

    async def facts(self, authors: frozenset[str]) -> list[MemoryRecord]:
        """Return the facts of these authors, the newest first."""
        facts = [each for each in await self._stored(authors) if each.kind == "fact"]
        return sorted(facts, key=lambda each: -each.at)

    async def correct(self, fact: MemoryRecord, text: str, authors: frozenset[str]) -> MemoryRecord | None:
        """Replace a fact of these authors for the same readers; return the new one, or None if it is gone.

        Its vector is made later, as for a record of a service that failed. Raises `FactOfOthers`.
        """
        access = await self._store.access(fact.key)
        if access is None:
            return None
        readers, thread, _ = access
        own = [each for each in fact.said if each.by in authors]
        others = [replace(each, text="") for each in fact.said if each != own[0]]
        said = (replace(own[0], text=text), *others)
        id = fact_id(next(iter(readers)), text)
        corrected = replace(fact, id=id, said=said, at=time.time())
        same = await self._store.read([corrected.key])
        if any(each.authors - corrected.authors for each in same):
            raise FactOfOthers
        await self._store.keep(corrected, readers, thread, self._fact_seconds)
        if corrected.key != fact.key:
            await self.forget_fact(fact)
        return corrected

    async def forget_fact(self, fact: MemoryRecord) -> bool:
        """Remove a fact; return False if it was gone."""
        return await self._store.remove([fact.key]) > 0

    async def _stored(self, authors: frozenset[str]) -> list[MemoryRecord]:
        keys = []
        async for key, known in self._hashes(f"{PREFIX}:", "HGET", "authors"):
            if known and authors & set(known.decode().split(",")):
                keys.append(key)
        return await self._store.read(keys)

    async def export(self, user: Sequence[Author]) -> Mapping[str, Json]:
        """Return the facts that a user has saved, and their questions with the answers."""
        authors = digests(user)
        records = await self.records(authors)
        return {
            "facts": [_fact(each) for each in records if each.kind == "fact"],
            "conversations": [_conversation(each, authors) for each in records if each.kind == "turn"],
        }

    async def erase(self, user: Sequence[Author]) -> None:
        """Remove a user's words and the answers to them, but not the questions of others in the same turn."""
        authors = digests(user)
        await self._waiting.erase(authors)  # first: what is filed meanwhile is erased below
        for record in await self._stored(authors):
            others = tuple(each for each in record.said if each.by not in authors)
            access = await self._store.access(record.key)
            if record.kind == "turn" and others and access:
                await self._store.keep(replace(record, said=others, answer=""), *access)
            else:
                await self._store.remove([record.key])

    async def threads_in(self, space: Space) -> list[ThreadNames]:
        """Return the threads of a space."""
        found = []
        async for key, known in self._hashes(_AUTHORS, "HGETALL"):
            inbox = next((thread.decode() for _, thread in _pairs(known)), "")
            if space.has(inbox):
                found.append(ThreadNames(key.removeprefix(_AUTHORS), inbox, is_alone=True))
        return found

    async def erase_space(self, space: Space) -> None:
        """Remove the facts and conversations of a space."""
        await self._waiting.erase_space(space)
        found = []
        async for key, body in self._hashes(f"{PREFIX}:", "HGET", "body"):
            if body and space.has(source_of(body)):
                found.append(key)
        await self._store.remove(found)

    async def forget_conversation(self, thread: str) -> None:
        """Remove the authors of a thread, and what was said in it; facts that were saved there stay."""
        await self._redis.delete(_AUTHORS + thread)
        await self._waiting.erase_thread(thread)  # first: what is filed meanwhile is removed below
        found = []
        async for key, body in self._hashes(f"{PREFIX}:turn:", "HGET", "body"):
            if body and source_of(body) == thread:
                found.append(key)
        await self._store.remove(found)

    async def forget_authors(self, thread: ThreadNames) -> None:
        """Remove all authors of a thread."""
        await self._redis.delete(_AUTHORS + thread.memory)

    async def forget_thread(self, thread: ThreadNames, authors: frozenset[str]) -> None:
        """Remove these authors from the authors of a thread."""
        await self._redis.hdel(_AUTHORS + thread.memory, *authors)

    async def _hashes(self, prefix: str, *command: str) -> AsyncIterator[tuple[str, Any]]:
        """Yield the keys that begin with `prefix`, each with the reply of a command."""
        cursor, first = 0, True
        while cursor or first:
            first = False
            cursor, keys = await self._redis.scan(cursor, match=f"{prefix}*", count=_BATCH)
            async with self._redis.pipeline(transaction=False) as pipeline:
                for key in keys:
                    pipeline.execute_command(command[0], key, *command[1:])
                answers = await pipeline.execute() if keys else []
            for key, answer in zip(keys, answers, strict=True):
                yield _text(key), answer


def digests(user: Sequence[Author]) -> frozenset[str]:
    """Return the digests of a user's accounts, as they are stored in records."""
    return frozenset(Account.of(each.id, each.space).digest for each in user)


def date(at: float) -> str:
    """Format a time (Unix seconds) for users."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def own_texts(record: MemoryRecord, authors: frozenset[str]) -> list[str]:
    """Return the texts of these authors in a record."""
    return [each.text for each in record.said if each.by in authors]


def _fact(record: MemoryRecord) -> dict[str, Json]:
    saved = {"text": record.question, "scope": record.scope}
    return {**saved, "saved_at": date(record.at), "source": record.source}


def _conversation(record: MemoryRecord, authors: frozenset[str]) -> dict[str, Json]:
    asked = {"asked_at": date(record.at), "source": record.source, "you_wrote": own_texts(record, authors)}
    return {**asked, "answer": record.answer}


def _pairs(known: Mapping[bytes, bytes] | Sequence[bytes]) -> Sequence[tuple[bytes, bytes]]:
    if isinstance(known, Mapping):
        return list(known.items())
    return list(zip(known[::2], known[1::2], strict=True))


def _text(key: bytes | str) -> str:
    return key.decode() if isinstance(key, bytes) else key
