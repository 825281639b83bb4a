"""Long-term memory: records stored with their readers, found by words and by meaning."""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from redis.asyncio import Redis
from redisvl.query.filter import FilterExpression, Num, Tag

from bot.chat import Audience, Message, Turn, is_hook
from bot.chat.text import one_line
from bot.memory.accounts import AccountLinks
from bot.memory.embeddings import EmbeddingFailed, Embeddings, Vector
from bot.memory.filer import Filer
from bot.memory.filing import FinishedTurn, WaitingTurns
from bot.memory.index import Embedded, Store
from bot.memory.owners import Owners
from bot.memory.records import (
    MAX_FACT_CHARS,
    MemoryRecord,
    Utterance,
    fact_id,
)
from bot.memory.terms import indexed_terms, query_terms
from bot.memory.visibility import (
    Scope,
    account_of,
    fact_for,
    search_readers,
    thread_reader,
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

    `audience` returns the readers of a message's place, see `bot.chat.Platform`.
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
        turn_seconds = round(turn_days * _DAY_SECONDS)
        self.waiting = WaitingTurns(redis)
        fact_seconds = round(fact_days * _DAY_SECONDS)
        self.owners = Owners(redis, self.store, self.waiting, turn_seconds, fact_seconds)
        self.filer = Filer(self.store, self.waiting, embeddings, self._audience_of, turn_seconds)
        self._embeddings = embeddings
        self._links = links
        self._audience = audience
        self._fact_seconds = fact_seconds

    async def save(self, turn: Turn, text: str, scope: Scope) -> SavedFact:
        """Save a fact for the readers of `scope` in the turn's place. Raises `NotHere`.

        It replaces an earlier fact with the same meaning.
        """
        text = one_line(text)[:MAX_FACT_CHARS]
        reader = fact_for(turn, scope, await self._audience_of(turn))
        said = {account_of(each).digest: each.author_name for each in turn.messages}
        record = MemoryRecord(
            kind="fact",
            id=fact_id(reader, text),
            said=tuple(Utterance(*who, "" if at else text) for at, who in enumerate(said.items())),
            at=time.time(),
            source=str(turn.thread),
            scope=scope,
        )
        vector = (await self._vectors([text]))[0]
        facts = (Tag("readers") == reader) & (Tag("kind") == "fact")
        replaced = await self._same(facts, record, vector)
        embedded = Embedded(self._embeddings.model, len(vector), vector) if vector else None
        thread = thread_reader(turn.thread)
        await self.store.keep(record, frozenset({reader}), thread, self._fact_seconds, embedded)
        await self.store.remove([each.key for each in replaced if each.key != record.key])
        await self._make_room(facts)
        return SavedFact(text, scope, replaced[0] if replaced else None)

    async def _audience_of(self, turn: Turn) -> Audience:
        """Return the audience of a turn; external users and hooks read no memory of the whole space."""
        if any(each.is_external or (each.bot_ids and is_hook(each.author)) for each in turn.messages):
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

        `since` (inclusive) and `until` (exclusive) are in Unix seconds. A turn that answers a question again
        does not find its first answer.
        """
        message = turn.messages[0]
        accounts = await self._links.accounts(account_of(message))
        readers = search_readers(turn, accounts, await self._audience_of(turn))
        within = _between(since, until)
        allowed = (Tag("readers") == sorted(readers)) & within
        question = replace(turn, id=turn.regenerates)
        replaced = FinishedTurn(question, "").record.key if turn.regenerates else ""
        ranked = [each for each in await self._rank(allowed, query) if each != replaced]
        if ranked or not query_terms(query):
            best = ranked[:limit] or await self._newest(allowed, limit, replaced)
            return SearchResult(tuple(await self.store.read(best)), is_match=bool(ranked))
        here = (Tag("thread") == thread_reader(turn.thread)) & allowed
        newest = await self._newest(here, limit, replaced)
        return SearchResult(tuple(await self.store.read(newest)), is_match=False)

    async def _newest(self, allowed: FilterExpression, limit: int, replaced: str) -> list[str]:
        newest = await self.store.newest(allowed, limit + 1 if replaced else limit)
        return [each for each in newest if each != replaced][:limit]

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
