"""Key-value operations for people, confined to the keys under one prefix."""

import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError

from bot.chat import BotError, Json, StorageDown

MAX_KEY_BYTES = 512
MAX_VALUE_BYTES = 1024 * 1024
MAX_TTL_SECONDS = 10 * 365 * 24 * 3600
MAX_BATCH = 1_000
_MOST_COUNTED = 10_000
_SCAN_COUNT = 1_000
_GLOB = re.compile(r"([\\*?\[\]^-])")


class NotStorable(BotError):
    """A key, value or time that the store does not take; `str()` says why."""


class KeyValueStore:
    """Text values under text keys. The prefix is added and removed here, so that no other key can be named.

    Keys have 1 to 512 bytes without the prefix, values at most 1 MiB, both in UTF-8. Every method raises
    `NotStorable` for what is outside these limits, and `StorageDown` when Redis cannot do its part.
    The client must not decode responses.
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        if not prefix:
            raise ValueError("without a prefix every key of the bot could be named")
        self._redis = redis
        self._prefix = prefix.encode()
        self._scanned = _GLOB.sub(r"\\\1", prefix).encode()

    async def set(self, key: str, value: str, ttl: int | None = None) -> None:
        """Store a value, for `ttl` seconds when given; without it an earlier time limit ends, too."""
        name, data, seconds = self._name(key), _value(value), _ttl(ttl)
        with _translated():
            await self._redis.set(name, data, ex=seconds)

    async def get(self, key: str) -> str | None:
        """The value, or None when there is none."""
        name = self._name(key)
        with _translated():
            (value,) = await self._redis.mget([name])  # MGET, since GET fails on another type of value
        return None if value is None else _text(value)

    async def delete(self, key: str) -> bool:
        """Whether there was something to delete."""
        name = self._name(key)
        with _translated():
            return bool(await self._redis.unlink(name))

    async def keys(self, pattern: str = "*", limit: int = 1_000) -> list[str]:
        """At most `limit` keys that match a Redis glob, in order. Uses SCAN, which holds nobody up."""
        with _translated():
            found = [key async for key in self._scan(pattern, limit)]
        return sorted(self._key(name) for name in found)

    async def all(self, limit: int = 1_000) -> dict[str, str]:
        """At most `limit` keys with their values, in order of the keys."""
        with _translated():
            names = sorted([key async for key in self._scan("*", limit)])
            values = await self._redis.mget(names) if names else []
        found = zip(names, values, strict=True)
        return {self._key(name): _text(value) for name, value in found if value is not None}

    async def mset(self, mapping: Mapping[str, str], ttl: int | None = None) -> int:
        """Store several values, all or none of them, in one pipeline; how many there were."""
        if len(mapping) > MAX_BATCH:
            raise NotStorable(
                f"At most {MAX_BATCH:,} values can be stored at once; these are {len(mapping):,}."
            )
        seconds = _ttl(ttl)
        entries = [(self._name(key), _value(value)) for key, value in mapping.items()]
        with _translated():
            async with self._redis.pipeline(transaction=True) as pipeline:
                for name, data in entries:
                    pipeline.set(name, data, ex=seconds)
                await pipeline.execute()
        return len(entries)

    async def ping(self) -> float:
        """Milliseconds to Redis and back."""
        began = time.perf_counter()
        with _translated():
            await self._redis.ping()
        return round((time.perf_counter() - began) * 1_000, 2)

    async def info(self) -> dict[str, Json]:
        """What the server says of itself. `keys` counts those under the prefix, up to 10,000 of them."""
        with _translated():
            count = len([key async for key in self._scan("*", _MOST_COUNTED)])
        return {
            **await self.server(),
            "prefix": _text(self._prefix),
            "keys": count,
            "keys_complete": count < _MOST_COUNTED,
        }

    async def server(self) -> dict[str, Json]:
        """What the server says of itself, without looking at keys."""
        with _translated():
            info = await self._redis.info()
            modules = await self._redis.module_list()
        return {
            "version": info["redis_version"],
            "modules": sorted(_module(each) for each in modules),
            "used_memory_mib": round(info["used_memory"] / 2**20, 1),
            "maxmemory_policy": info["maxmemory_policy"],
            "persistence": _persistence(info),
            "connected_clients": info["connected_clients"],
            "uptime_s": info["uptime_in_seconds"],
        }

    def _name(self, key: str) -> bytes:
        name = _bytes(key, "The key")
        if not 0 < len(name) <= MAX_KEY_BYTES:
            raise NotStorable(f"A key must have 1 to {MAX_KEY_BYTES} bytes; this one has {len(name):,}.")
        return self._prefix + name

    def _key(self, name: bytes) -> str:
        return _text(name.removeprefix(self._prefix))

    async def _scan(self, pattern: str, limit: int) -> AsyncIterator[bytes]:
        """At most `limit` different keys; SCAN may return one twice."""
        glob = self._scanned + _bytes(pattern, "The pattern")
        if len(glob) > MAX_KEY_BYTES + len(self._scanned):
            raise NotStorable(f"A pattern has at most {MAX_KEY_BYTES} bytes.")
        seen: set[bytes] = set()
        async for key in self._redis.scan_iter(match=glob, count=_SCAN_COUNT):
            if len(seen) >= limit:
                return
            if key not in seen:
                seen.add(key)
                yield key


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OutOfMemoryError as error:
        raise StorageDown("Redis has no memory left, so nothing more can be stored.") from error
    except RedisError as error:
        raise StorageDown(f"Redis did not do it: {error}") from error


def _bytes(text: str, what: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:  # half of a surrogate pair
        raise NotStorable(f"{what} holds characters that are no text.") from error


def _value(text: str) -> bytes:
    data = _bytes(text, "The value")
    if len(data) > MAX_VALUE_BYTES:
        raise NotStorable(f"A value has at most {MAX_VALUE_BYTES:,} bytes; this one has {len(data):,}.")
    return data


def _ttl(seconds: int | None) -> int | None:
    if seconds is not None and not 0 < seconds <= MAX_TTL_SECONDS:
        raise NotStorable(f"A ttl is 1 to {MAX_TTL_SECONDS:,} seconds, not {seconds}.")
    return seconds


def _text(data: bytes | str) -> str:
    assert isinstance(data, bytes), "the client must not decode responses"
    return data.decode(errors="replace")  # somebody else may have written what is no text


def _module(entry: Mapping[bytes | str, Json]) -> str:
    fields = {_plain(key): _plain(value) for key, value in entry.items()}
    return f"{fields['name']} {fields['ver']}"


def _plain(value: Json) -> Json:
    return _text(value) if isinstance(value, bytes) else value


def _persistence(info: Mapping[str, Json]) -> str:
    if info["aof_enabled"]:
        return f"append-only file, last write {info['aof_last_write_status']}"
    return f"snapshots only, last {info['rdb_last_bgsave_status']}"
