"""Long-term memory: records stored with their readers, found by words and by meaning."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from redis.asyncio import Redis
from redisvl.query.filter import FilterExpression, Num, Tag

from bot.chat import Audience, Message, Turn
from bot.chat.text import one_line
from bot.concurrency.tasks import cancel
from bot.memory.accounts import AccountLinks
from bot.memory.embeddings import EmbeddingFailed, Embeddings, Vector
from bot.memory.index import ERRORS, Store
from bot.memory.owners import Owners
from bot.memory.records import (
    MAX_FACT_CHARS,
    MAX_TEXT_CHARS,
    MemoryRecord,
    Utterance,
    digest,
)
from bot.memory.terms import indexed_terms, query_terms
from bot.memory.visibility import (
    Scope,
    account_of,
    fact_for,
    search_readers,
    thread_reader,
    turn_readers,
)

log = logging.getLogger(__name__)

MOST_FACTS = 200
"""Most facts for the same readers; the oldest is removed for a new one."""

_DAY_SECONDS = 24 * 3600
_CANDIDATES = 30
"""Candidates of the search by words, and of the search by vectors."""

_LEAST_COSINE = 0.3
"""Lowest cosine of related texts: unrelated sentences have 0.15 at most with the offline model."""

_SAME_COSINE = 0.98
_SAME_WORDS = 0.9
"""Two facts are the same if they reach both limits. Offline, "the budget is 5,000" and "… 6,000" have a
cosine of 0.92, and "Ann leads Bob" and "Bob leads Ann" of 1: with vectors alone a fact would replace another
one."""

_MOST_COMPARED = 200
"""Most words to compare between the common beginning and end of two facts: the time is cubic."""

_RANK_OFFSET = 60
"""Constant of reciprocal rank fusion: https://plg.uwaterloo.ca/~gvcormac/cormacksigir09-rrf.pdf"""

_BATCH = 64
_GATHER_SECONDS = 1.0
_RETRY_SECONDS = 60.0
"""Seconds between two searches for records without a vector: other processes write, and services fail."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Search result: records, the best first, or the newest of this thread if nothing matched."""

    records: tuple[MemoryRecord, ...]
    is_match: bool


@dataclass(frozen=True, slots=True)
class SavedFact:
    """Saved fact, and the fact that it replaced, if there was one."""

    text: str
    scope: Scope
    previous: MemoryRecord | None


class LongTermMemory:
    """Facts and turns of all threads, each found only by its readers. All methods raise `ERRORS`.

    Implements `bot.chat.MemoryWriter`. `audience` returns the readers of a message's place, see
    `bot.chat.Platform`.
    """

    def __init__(
        self,
        redis: Redis,
        embeddings: Embeddings,
        links: AccountLinks,
        audience: Callable[[Message], Awaitable[Audience]],
        *,
        fact_days: float,
        turn_days: float,
    ) -> None:
        self.store = Store(redis)
        self.owners = Owners(redis, self.store, round(turn_days * _DAY_SECONDS))
        self._embeddings = embeddings
        self._links = links
        self._audience = audience
        self._fact_seconds = round(fact_days * _DAY_SECONDS)
        self._turn_seconds = round(turn_days * _DAY_SECONDS)
        self._kept = asyncio.Event()
        self._dimensions = 0
        self._is_of_one_model = False

    async def note(self, memory: str, turn: Turn) -> None:
        """Record the authors of a turn before its messages enter the thread memory of that name."""
        await self.owners.note(memory, turn)

    async def remember(self, turn: Turn, answer: str) -> None:
        """Store a finished turn; a repeated turn replaces its earlier record."""
        record = MemoryRecord(
            kind="turn",
            id=digest(str(turn.thread), turn.id),
            said=tuple(_utterance(message) for message in turn.messages),
            at=turn.messages[0].sent_at,
            source=str(turn.thread),
            answer=answer[:MAX_TEXT_CHARS],
        )
        readers = turn_readers(turn, await self._audience_of(turn))
        await self.store.keep(record, readers, thread_reader(turn.thread), self._turn_seconds)
        self._kept.set()  # its vector is computed in the background: a service may be slow

    async def save(self, turn: Turn, text: str, scope: Scope) -> SavedFact:
        """Save a fact for the readers of `scope` in the turn's place. Raises `NotHere`.

        It replaces an earlier fact with the same meaning.
        """
        text = one_line(text)[:MAX_FACT_CHARS]
        reader = fact_for(turn, scope, await self._audience_of(turn))
        said = {account_of(each).digest: each.author_name for each in turn.messages}
        record = MemoryRecord(
            kind="fact",
            id=digest(reader, *(indexed_terms(text) or [text])),
            said=tuple(Utterance(*who, "" if at else text) for at, who in enumerate(said.items())),
            at=time.time(),
            source=str(turn.thread),
            scope=scope,
        )
        vector = (await self._vectors([text]))[0]
        facts = (Tag("readers") == reader) & (Tag("kind") == "fact")
        replaced = await self._same(facts, record, vector)
        named = (self._embeddings.model, vector) if vector else None
        thread = thread_reader(turn.thread)
        await self.store.keep(record, frozenset({reader}), thread, self._fact_seconds, named)
        await self.store.remove([each.key for each in replaced if each.key != record.key])
        await self._make_room(facts)
        self._kept.set()
        return SavedFact(text, scope, replaced[0] if replaced else None)

    async def _audience_of(self, turn: Turn) -> Audience:
        """Return the audience of a turn; external users must not read the memory of the whole space."""
        if any(message.is_external for message in turn.messages):
            return "outsiders"
        return await self._audience(turn.messages[0])

    async def _same(
        self, facts: FilterExpression, record: MemoryRecord, vector: Vector | None
    ) -> list[MemoryRecord]:
        """Return the facts with the same meaning as `record`."""
        known = await self.store.read([record.key])
        if vector:
            near = await self.store.nearest(facts, self._embeddings.model, vector, 5, _SAME_COSINE)
            found = await self.store.read([key for key in near if key != record.key])
            known += [each for each in found if _is_reworded(each.text, record.text)]
        return known

    async def _make_room(self, facts: FilterExpression) -> None:
        excess = await self.store.count(facts) - MOST_FACTS
        if excess > 0:
            await self.store.remove(await self.store.newest(facts, excess, oldest=True))

    async def search(
        self,
        turn: Turn,
        query: str,
        since: float | None = None,
        until: float | None = None,
        limit: int = 5,
    ) -> SearchResult:
        """Return at most `limit` records that match `query` and that the turn may read.

        `since` (inclusive) and `until` (exclusive) are in Unix seconds.
        """
        message = turn.messages[0]
        accounts = await self._links.accounts(account_of(message))
        readers = search_readers(turn, accounts, await self._audience_of(turn))
        within = _between(since, until)
        allowed = (Tag("readers") == sorted(readers)) & within
        ranked = await self._rank(allowed, query)
        if ranked or not query_terms(query):
            best = ranked[:limit] or await self.store.newest(allowed, limit)
            return SearchResult(tuple(await self.store.read(best)), is_match=bool(ranked))
        here = (Tag("thread") == thread_reader(turn.thread)) & allowed
        newest = await self.store.newest(here, limit)
        return SearchResult(tuple(await self.store.read(newest)), is_match=False)

    async def _rank(self, allowed: FilterExpression, query: str) -> list[str]:
        """Return keys, the best first, from the rankings by words and by meaning."""
        terms = query_terms(query)
        by_words = await self.store.by_words(allowed, terms, _CANDIDATES) if terms else []
        vector = (await self._vectors([query]))[0] if terms else None
        if vector is None:
            return by_words
        near = await self.store.nearest(allowed, self._embeddings.model, vector, _CANDIDATES, _LEAST_COSINE)
        return _fuse(by_words, near)

    async def _vectors(self, texts: Sequence[str]) -> Sequence[Vector | None]:
        """Return vectors, or None for each text if the model fails: those are embedded later."""
        try:
            return await self._embeddings.embed(texts)
        except EmbeddingFailed as error:
            log.warning("embedding failed", extra={"error": str(error)})
            return [None] * len(texts)

    @contextlib.asynccontextmanager
    async def embed_in_background(self, gather_seconds: float = _GATHER_SECONDS) -> AsyncIterator[None]:
        """Embed records in the background while the context is open, see `keep_embedded`."""
        task = asyncio.create_task(self.keep_embedded(gather_seconds), name="recall embedding")
        try:
            yield
        finally:
            await cancel(task)

    async def keep_embedded(self, gather_seconds: float) -> None:
        """Embed all records, also those of an earlier model, until cancelled.

        After a new record it waits `gather_seconds` for more, because a batch costs little more than one.
        """
        while True:
            # not at once: the start needs the processor, but no vectors
            with contextlib.suppress(TimeoutError):  # other processes may have stored records
                async with asyncio.timeout(_RETRY_SECONDS):
                    await self._kept.wait()
                    await asyncio.sleep(gather_seconds)
            self._kept.clear()
            try:
                await self.embed_missing()
            except (*ERRORS, OSError, EmbeddingFailed) as error:
                log.warning("record embedding failed", extra={"error": repr(error)})
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception:  # a bug is logged and must not end this task: later records need vectors
                log.exception("record embedding failed")
                await asyncio.sleep(_RETRY_SECONDS)

    async def embed_missing(self) -> None:
        """Embed all records that lack a vector. Raises `EmbeddingFailed`, too."""
        while await self._embed_some():
            pass

    async def _embed_some(self) -> int:
        """Embed a batch of records; return how many."""
        keys = await self.store.without_vector(_BATCH)
        if not keys and not self._is_of_one_model:
            if not await self.store.newest(Tag("kind") == ["fact", "turn"], 1):
                return 0
            dimensions = await self._find_dimensions()
            keys = await self.store.of_other_models(self._embeddings.model, dimensions, _BATCH)
            self._is_of_one_model = not keys
        records = await self.store.read(keys)
        if records:
            dimensions = await self._find_dimensions()
            vectors = await self._embeddings.embed([each.text for each in records])
            usable = [each if each and len(each) == dimensions else None for each in vectors]
            found = dict(zip((each.key for each in records), usable, strict=True))
            await self.store.set_vectors(self._embeddings.model, dimensions, found)
        return len(records)

    async def _find_dimensions(self) -> int:
        """Return the length of the model's vectors, measured once, because no service reports it."""
        if not self._dimensions:
            (vector,) = await self._embeddings.embed(["memory"])
            if vector is None:
                raise EmbeddingFailed(f"{self._embeddings.model} gives no vector for a word")
            self._dimensions = len(vector)
        return self._dimensions


def _is_reworded(one: str, other: str) -> bool:
    words, others = indexed_terms(one), indexed_terms(other)
    most = _SAME_WORDS * (len(words) + len(others)) / 2
    begin = _common_prefix(words, others)
    words, others = words[begin:], others[begin:]
    end = _common_prefix(words[::-1], others[::-1])
    words, others = words[: len(words) - end], others[: len(others) - end]
    if max(len(words), len(others)) > _MOST_COMPARED:
        return False
    same = SequenceMatcher(None, words, others, autojunk=False).get_matching_blocks()
    return begin + end + sum(block.size for block in same) >= most


def _common_prefix(words: Sequence[str], others: Sequence[str]) -> int:
    """Return the length of the common beginning."""
    pairs = enumerate(zip(words, others, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(words), len(others)))


def _utterance(message: Message) -> Utterance:
    return Utterance(account_of(message).digest, message.author_name, message.text[:MAX_TEXT_CHARS])


def _between(since: float | None, until: float | None) -> FilterExpression:
    within = Num("at") >= (since if since is not None else 0)
    return within & (Num("at") < until) if until is not None else within


def _fuse(*rankings: Sequence[str]) -> list[str]:
    """Merge rankings by reciprocal rank fusion: keys that several rankings put high come first."""
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, key in enumerate(ranking):
            scores[key] = scores.get(key, 0) + 1 / (_RANK_OFFSET + rank)
    return sorted(scores, key=lambda key: -scores[key])
