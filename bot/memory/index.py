"""Storage and search of records with RediSearch: by words, and by the cosine of vectors.

A record is a hash. One index holds the words; one index per embedding model holds that model's vectors, so
that vectors of different models are never compared. The allowed readers are part of each query, so other
records are never ranked.
"""

import asyncio
import contextlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError
from redisvl.exceptions import RedisSearchError, RedisVLError
from redisvl.index import AsyncSearchIndex
from redisvl.query import CountQuery, FilterQuery, VectorQuery
from redisvl.query.filter import FilterExpression, Tag, Text
from redisvl.schema import IndexSchema

from bot.memory.embeddings import Vector
from bot.memory.records import (
    PREFIX,
    READ,
    MemoryRecord,
    digest,
    read_back,
    readers_of,
)

ERRORS = (RedisError, RedisVLError)
"""Errors of all methods when Redis fails."""

_INDEXING_SECONDS = 2.0
_NOT_EMBEDDED = "none"
"""Tag of a record without a vector: RediSearch can find a tag, but not a missing field."""

_TAGS = [{"name": name, "type": "tag"} for name in ("kind", "readers", "authors", "thread", "embedded")]
_AT = {"name": "at", "type": "numeric", "attrs": {"sortable": True}}

# KEYS stream record | ARGV entry seconds (field value)... -> 0 the entry is gone: another process was faster,
# or its users were forgotten | 1
_MOVE = """
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('DEL', KEYS[2]) -- also its vector, which belongs to the old text
redis.call('HSET', KEYS[2], unpack(ARGV, 3))
redis.call('EXPIRE', KEYS[2], ARGV[2])
return 1
"""

# KEYS record | ARGV field vector -> 0 the record is gone: a vector alone would be a hash without TTL | 1
_SET_VECTOR = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local earlier = redis.call('HGET', KEYS[1], 'embedded')
if earlier and earlier ~= ARGV[1] then redis.call('HDEL', KEYS[1], earlier) end
redis.call('HSET', KEYS[1], 'embedded', ARGV[1])
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
return 1
"""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vector that a model has made of a text, None for a text without a direction."""

    model: str
    dimensions: int
    vector: Vector | None

    @property
    def field(self) -> str:
        """Return the field of the vectors of this model."""
        return _field_name(self.model, self.dimensions)

    @property
    def fields(self) -> dict[str, str | bytes]:
        """Return the fields of a record that was embedded."""
        return {"embedded": self.field} | ({self.field: _to_bytes(self.vector)} if self.vector else {})


@dataclass(frozen=True, slots=True)
class Move:
    """Record that takes the place of an entry in a stream, see `Store.keep` for the rest."""

    entry: str
    record: MemoryRecord
    readers: frozenset[str]
    thread: str
    ttl_seconds: int
    embedded: Embedded | None


class Store:
    """Store of records with search. All methods raise `ERRORS`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._words = _Index(redis, "recall", [{"name": "terms", "type": "text"}, _AT])
        self._vectors: dict[str, _Index] = {}
        self._set_vector = redis.register_script(_SET_VECTOR)
        self._move = redis.register_script(_MOVE)

    async def keep(
        self,
        record: MemoryRecord,
        readers: frozenset[str],
        thread: str,
        ttl_seconds: int,
        embedded: Embedded | None = None,
    ) -> None:
        """Store a record for `ttl_seconds`, in place of one with its key.

        These are plain writes, because a turn's fence cannot run scripts.
        """
        fields = await self._fields(record, readers, thread, embedded)
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.delete(record.key)  # also its vector, which belongs to the old text
            pipeline.hset(record.key, mapping=fields)
            pipeline.expire(record.key, ttl_seconds)
            await pipeline.execute()

    async def keep_moved(self, stream: str, moves: Sequence[Move]) -> None:
        """Store records in place of their entries in a stream; skip those whose entry is gone."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for each in moves:
                fields = await self._fields(each.record, each.readers, each.thread, each.embedded)
                flat = [part for pair in fields.items() for part in pair]
                args = [each.entry, each.ttl_seconds, *flat]
                await self._move(keys=[stream, each.record.key], args=args, client=pipeline)
            await pipeline.execute()

    async def _fields(
        self, record: MemoryRecord, readers: frozenset[str], thread: str, embedded: Embedded | None
    ) -> dict[Any, Any]:
        await self._words.make()
        fields = {**record.fields(readers, thread), "embedded": _NOT_EMBEDDED}
        if embedded is None:
            return fields
        await self._vector_index(embedded.field, embedded.dimensions).make()
        return {**fields, **embedded.fields}

    async def remove(self, keys: Sequence[str]) -> int:
        """Remove records; return how many there were."""
        return int(await self._redis.delete(*keys)) if keys else 0

    async def by_words(self, allowed: FilterExpression, terms: Sequence[str], limit: int) -> list[str]:
        """Return keys of records with any of the terms, those with more terms first."""
        # terms are letters and digits only, so nothing in them can close the parenthesis
        return await self._keys(FilterQuery(allowed & (Text("terms") % "|".join(terms)), num_results=limit))

    async def newest(
        self, allowed: FilterExpression, limit: int, *, oldest: bool = False, first: int = 0
    ) -> list[str]:
        """Return keys of the newest records, or of the oldest, after the `first` of them."""
        query = FilterQuery(allowed, num_results=limit, sort_by=("at", "ASC" if oldest else "DESC"))
        return await self._keys(query.paging(first, limit))

    async def count(self, allowed: FilterExpression) -> int:
        """Return the number of records."""
        await self._words.remake()
        return int(await self._words.index.query(CountQuery(allowed)))

    async def _keys(self, query: FilterQuery) -> list[str]:
        await self._words.remake()
        return [str(each["id"]) for each in await self._words.index.query(query)]

    async def nearest(
        self, allowed: FilterExpression, model: str, vector: Vector, limit: int, least: float
    ) -> list[str]:
        """Return keys of the nearest records with a cosine of at least `least`, the nearest first."""
        field = _field_name(model, len(vector))
        index = self._vector_index(field, len(vector))
        await index.remake()
        query = VectorQuery(list(vector), field, filter_expression=allowed, num_results=limit)
        found = await index.index.query(query)
        return [str(each["id"]) for each in found if 1 - float(each["vector_distance"]) >= least]

    async def read(self, keys: Sequence[str]) -> list[MemoryRecord]:
        """Return the records with these keys, in their order, without expired ones."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hmget(key, READ)
            found = await pipeline.execute()
        return [read_back(key, *each) for key, each in zip(keys, found, strict=True) if None not in each]

    async def access(self, key: str) -> tuple[frozenset[str], str, int] | None:
        """Return a record's readers, thread, and remaining seconds; None if it is gone."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.hgetall(key)
            pipeline.ttl(key)
            fields, ttl = await pipeline.execute()
        return (readers_of(fields), fields[b"thread"].decode(), max(int(ttl), 1)) if fields else None

    async def without_vector(self, limit: int) -> list[str]:
        """Return keys of records that no model has embedded, the newest first."""
        return await self.newest(Tag("embedded") == _NOT_EMBEDDED, limit)

    async def of_other_models(self, model: str, dimensions: int, limit: int) -> list[str]:
        """Return keys of records that this model has not embedded; scans all records."""
        return await self.newest(Tag("embedded") != _field_name(model, dimensions), limit)

    async def set_vectors(self, vectors: Mapping[str, Embedded]) -> None:
        """Store vectors by the records' keys, or mark a record as having none; skip records that are gone."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for key, each in vectors.items():
                await self._vector_index(each.field, each.dimensions).make()
                packed = _to_bytes(each.vector) if each.vector else b""
                await self._set_vector(keys=[key], args=[each.field, packed], client=pipeline)
            await pipeline.execute()

    def _vector_index(self, field: str, dimensions: int) -> "_Index":
        if field not in self._vectors:
            # FLAT: exact, and the filter leaves few vectors to compare
            attrs = {
                "dims": dimensions,
                "algorithm": "flat",
                "distance_metric": "cosine",
                "datatype": "float32",
            }
            fields = [{"name": field, "type": "vector", "attrs": attrs}, _AT]
            self._vectors[field] = _Index(self._redis, f"recall_{field}", fields)
        return self._vectors[field]


def _to_bytes(vector: Vector) -> bytes:
    return struct.pack(f"<{len(vector)}f", *vector)


def _field_name(model: str, dimensions: int) -> str:
    return f"v_{digest(model, str(dimensions))[:16]}"


class _Index:
    """Index over all records, created again if Redis loses it."""

    def __init__(self, redis: Redis, name: str, fields: Sequence[dict[str, Any]]) -> None:
        schema = {
            "index": {"name": name, "prefix": PREFIX, "storage_type": "hash", "stopwords": []},
            "fields": [*_TAGS, *fields],
        }
        self.index = AsyncSearchIndex(IndexSchema.from_dict(schema), redis_client=redis)
        self._is_made = False

    async def make(self) -> None:
        """Create the index unless this process has done so: a check costs a tenth of a turn."""
        if not self._is_made:
            await self.remake()
            self._is_made = True

    async def remake(self) -> None:
        """Create the index unless it exists; RediSearch then adds existing records.

        Called before each search: after FLUSHALL the index is gone, and nothing would be found.
        """
        if await self.index.exists():
            return
        try:
            await self.index.create()
        except RedisSearchError as error:
            if "already exists" not in str(error):  # another process was faster
                raise
        # RediSearch adds existing records in the background
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_INDEXING_SECONDS):
                while int((await self.index.info())["indexing"]):  # noqa: ASYNC110 - no event tells
                    await asyncio.sleep(0.01)  # RediSearch sends no event: FT.INFO is asked again
