"""What was said in a thread, searchable beyond what the agent still has before it.

A turn is a Redis hash; RediSearch indexes its words. The scope is a hex digest in a TAG field, since
RediSearch compares without case, and it stands inside the query, so that no other thread is ever ranked.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError
from redisvl.exceptions import RedisSearchError, RedisVLError
from redisvl.index import AsyncSearchIndex
from redisvl.query import FilterQuery
from redisvl.query.filter import FilterExpression, Tag, Text
from redisvl.schema import IndexSchema

from bot.tools.words import indexed_terms, query_terms

MAX_TEXT_CHARS = 20_000
"""What is kept of a question or an answer."""

_EXCERPT_CHARS = 600
_INDEXING_SECONDS = 2.0
_DAY_SECONDS = 24 * 3600

_INDEX = {
    "index": {"name": "thread_memory", "prefix": "thread_memory", "storage_type": "hash", "stopwords": []},
    "fields": [
        {"name": "thread", "type": "tag"},
        {"name": "terms", "type": "text"},
        {"name": "asked_at", "type": "numeric", "attrs": {"sortable": True}},
    ],
}
_RETURNED = ["question", "answer", "asked_at"]

ERRORS = (RedisError, RedisVLError)
"""What `ThreadMemory` raises when Redis cannot do its part."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and its answer; `asked_at` is in Unix seconds."""

    question: str
    answer: str
    asked_at: float


@dataclass(frozen=True, slots=True)
class Found:
    """Exchanges, the best first; when nothing matched, the newest ones instead."""

    exchanges: tuple[Exchange, ...]
    is_match: bool


class ThreadMemory:
    """The turns of all threads, each found only with the name of its own thread.

    `ttl_days` after it was answered a turn is forgotten. All methods raise `ERRORS`.
    """

    def __init__(self, redis: Redis, *, ttl_days: float) -> None:
        self._redis = redis
        self._index = AsyncSearchIndex(IndexSchema.from_dict(_INDEX), redis_client=redis)
        self._is_indexed = False
        self._ttl_seconds = round(ttl_days * _DAY_SECONDS)

    async def remember(self, thread: str, turn: str, question: str, answer: str, asked_at: float) -> None:
        """Keep a turn; the same turn again replaces what was kept of it. `asked_at` is in Unix seconds."""
        if not self._is_indexed:  # asked once: it would be a tenth of a turn's cost each time
            await self._ensure_index()
            self._is_indexed = True
        question, answer = question[:MAX_TEXT_CHARS], answer[:MAX_TEXT_CHARS]
        fields: dict[Any, Any] = {  # redis-py's own type is invariant in its keys
            "thread": _digest(thread),
            "question": _encodable(question),
            "answer": _encodable(answer),
            "terms": " ".join(indexed_terms(f"{question}\n{answer}")),
            "asked_at": asked_at,
        }
        key = self._index.key(f"{_digest(thread)}:{_digest(turn)}")
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hset(key, mapping=fields)
            pipeline.expire(key, self._ttl_seconds)
            await pipeline.execute()

    async def search(self, thread: str, query: str, limit: int = 5) -> Found:
        """At most `limit` turns of the thread that hold any word of `query`, those that hold more first."""
        await self._ensure_index()
        scope = Tag("thread") == _digest(thread)
        terms = query_terms(query)
        if terms:
            # terms are letters and digits only, so nothing in them can close the parenthesis
            matches = await self._query(scope & (Text("terms") % "|".join(terms)), limit)
            if matches:
                return Found(matches, is_match=True)
        return Found(await self._query(scope, limit, newest_first=True), is_match=False)

    async def _query(
        self, expression: FilterExpression, limit: int, newest_first: bool = False
    ) -> tuple[Exchange, ...]:
        order = ("asked_at", "DESC") if newest_first else None
        query = FilterQuery(expression, _RETURNED, num_results=limit, sort_by=order)
        documents = await self._index.query(query)
        return tuple(
            Exchange(each["question"], each["answer"], float(each["asked_at"])) for each in documents
        )

    async def _ensure_index(self) -> None:
        """Make the index unless it is there; RediSearch then takes in what was kept before.

        Looked up at each search: after FLUSHALL the index is gone, and without it nothing would be found.
        """
        if await self._index.exists():
            return
        try:
            await self._index.create()
        except RedisSearchError as error:
            if "already exists" not in str(error):  # another process was faster
                raise
        # RediSearch takes in what is there already in the background
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_INDEXING_SECONDS):
                while int((await self._index.info())["indexing"]):  # noqa: ASYNC110 - nothing announces it
                    await asyncio.sleep(0.01)  # how often to look


def described(found: Found, query: str) -> str:
    """What was found, for a model: date, question and an excerpt of the answer of each turn."""
    if not found.exchanges:
        return "Nothing earlier in this conversation is stored."
    head = (
        "From earlier in this conversation, the best match first:"
        if found.is_match
        else "Nothing earlier in this conversation matches these words. Its most recent turns are:"
    )
    terms = query_terms(query) if found.is_match else []
    return "\n\n".join([head, *(_entry(each, terms) for each in found.exchanges)])


def _entry(exchange: Exchange, terms: Sequence[str]) -> str:
    date = datetime.fromtimestamp(exchange.asked_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"[{date}] asked: {_excerpt(exchange.question, terms)}\nanswered: {_excerpt(exchange.answer, terms)}"
    )


def _excerpt(text: str, terms: Sequence[str]) -> str:
    """The part of `text` around the first of the terms, on one line."""
    line = " ".join(text.split())
    found = [at for term in terms if (at := line.casefold().find(term)) >= 0]
    start = max(0, min(found, default=0) - _EXCERPT_CHARS // 3)
    end = start + _EXCERPT_CHARS
    return ("…" if start else "") + line[start:end] + ("…" if end < len(line) else "")


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
