"""Key-value operations for people, confined to the keys under one prefix."""

import json
import math
import re
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from bot.chat import Json, StorageDown
from bot.commands.redis import Listing, NotStorable, Value
from bot.config import reserved_keys

MAX_KEY_BYTES = 512
MAX_VALUE_BYTES = 1024 * 1024
MAX_TTL_SECONDS = 10 * 365 * 24 * 3600
MAX_BATCH = 1_000
MAX_LISTED_BYTES = 8 * 1024 * 1024
"""Of values in one listing: a thousand of the largest would be a gigabyte in the memory of the process."""

_MOST_COUNTED = 10_000
_SCAN_COUNT = 1_000
_GLOB, _ESCAPED = re.compile(rb"([\\*?\[\]^-])"), rb"\\\1"

_MAX_DEPTH = 100
_MIN_INT, _MAX_INT = -(2**63), 2**64 - 1
"""Bounds of JSON that Redis stores as it is: it refuses deeper documents, and rounds larger numbers."""

_QUOTED_COMMAND = " of pipeline caused error: "

_TYPES = {"ReJSON-RL": "json"}
"""What Redis calls a type, where we call it otherwise."""

# KEYS name -> type, text or nothing, milliseconds left. A script, since redis-py may have been told to decode
# the answer of JSON.GET.
_LOOK = """
local kind, text = redis.call('TYPE', KEYS[1]).ok, false
if kind == 'string' then
  text = redis.call('GET', KEYS[1])
elseif kind == 'ReJSON-RL' then
  text = redis.call('JSON.GET', KEYS[1])
end
return {kind, text, redis.call('PTTL', KEYS[1])}
"""

# KEYS names | ARGV most_bytes -> the text and the document of each name, one of them or neither, as long as
# all together are not longer
_LOOK_AT_ALL = """
local found, used = {}, 0
for _, name in ipairs(KEYS) do
  local kind, text, document = redis.call('TYPE', name).ok, false, false
  if kind == 'string' then
    used = used + redis.call('STRLEN', name)
    if used > tonumber(ARGV[1]) then break end
    text = redis.call('GET', name)
  elseif kind == 'ReJSON-RL' then
    document = redis.call('JSON.GET', name)
    used = used + #document
    if used > tonumber(ARGV[1]) then break end
  end
  found[#found + 1] = {text, document}
end
return found
"""


class KeyValueStore:
    """Values under text keys. The prefix is added and removed here, so that no other key can be named.

    A text is stored as it is, any other value as a JSON document. Keys have 1 to 512 bytes without the
    prefix, values at most 1 MiB, both in UTF-8. Every method raises
    `NotStorable` for what is outside these limits, and `StorageDown` when Redis cannot do its part.
    The client must not decode responses.
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        if overlapped := reserved_keys.overlapped(prefix):
            raise ValueError(f"under the prefix {prefix!r} keys of the bot could be named: {overlapped}")
        self._redis = redis
        self._prefix = prefix.encode()
        self._look = redis.register_script(_LOOK)
        self._look_at_all = redis.register_script(_LOOK_AT_ALL)
        self._scanned = _GLOB.sub(_ESCAPED, self._prefix)

    async def set(self, key: str, value: Json, ttl: int | None = None) -> None:
        """Store a value, for `ttl` seconds when given; without it an earlier time limit ends, too."""
        entry, seconds = (self._name(key), *_value(value)), _ttl(ttl)
        with _translated():
            await self._store([entry], seconds)

    async def get(self, key: str) -> Value | None:
        """What is there, whatever its type; None when nothing is."""
        with _translated():
            kind, text, milliseconds = await self._look(keys=[self._name(key)])
        if _text(kind) == "none":
            return None
        return Value(
            text=None if text is None else _text(text),
            type=_TYPES.get(_text(kind), _text(kind)),
            ttl=None if milliseconds < 0 else -(-milliseconds // 1_000),
        )

    async def delete(self, key: str) -> bool:
        """Whether there was something to delete."""
        name = self._name(key)
        with _translated():
            return bool(await self._redis.unlink(name))

    async def keys(self, pattern: str = "*", limit: int = 1_000) -> list[str]:
        """At most `limit` keys that match a Redis glob, in order. Uses SCAN, which holds nobody up."""
        glob = _pattern(pattern)
        with _translated():
            found = [key async for key in self._scan(glob, limit)]
        return sorted(self._key(name) for name in found)

    async def search(self, part: str, limit: int, seconds: float) -> list[str]:
        """At most `limit` keys that contain `part` as it stands, as far as they are found in `seconds`."""
        until = time.monotonic() + seconds
        glob = b"*" + _GLOB.sub(_ESCAPED, _pattern(part)) + b"*"
        with _translated():
            found = [key async for key in self._scan(glob, limit, until)]
        return sorted(self._key(name) for name in found)

    async def all(self, limit: int = 1_000, pattern: str = "*") -> Listing:
        """At most `limit` keys that match a glob, with their values, in order of the keys; 8 MiB at most."""
        glob = _pattern(pattern)
        with _translated():
            found = sorted([key async for key in self._scan(glob, limit + 1)])
            names = found[:limit]
            looks = await self._look_at_all(keys=names, args=[MAX_LISTED_BYTES]) if names else []
        values: dict[str, Json] = {}
        for name, (text, document) in zip(names, looks, strict=False):
            if text is not None:
                values[self._key(name)] = _text(text)
            elif document is not None:
                values[self._key(name)] = json.loads(document)
        return Listing(values, is_cut=len(looks) < len(found), left_out=len(looks) - len(values))

    async def mset(self, data: Mapping[str, Json], ttl: int | None = None) -> int:
        """Store several values, all or none of them, in one transaction; how many there were."""
        if not data:
            raise NotStorable("data", "There is nothing to store: the data is empty.")
        if len(data) > MAX_BATCH:
            raise NotStorable(
                "data", f"At most {MAX_BATCH:,} values can be stored at once; these are {len(data):,}."
            )
        seconds = _ttl(ttl)
        entries = [(self._name(key), *_value(value)) for key, value in data.items()]
        with _translated():
            await self._store(entries, seconds)
        return len(entries)

    async def _store(self, entries: Sequence[tuple[bytes, bytes, bool]], seconds: int | None) -> None:
        async with self._redis.pipeline(transaction=True) as pipeline:
            for name, data, is_document in entries:
                if is_document:
                    pipeline.delete(name)  # what is there may be of another type
                    pipeline.execute_command("JSON.SET", name, "$", data)
                    if seconds is not None:
                        pipeline.expire(name, seconds)
                else:
                    pipeline.set(name, data, ex=seconds)
            await pipeline.execute()

    async def ping(self) -> float:
        """Milliseconds to Redis and back."""
        began = time.perf_counter()
        with _translated():
            await self._redis.ping()
        return round((time.perf_counter() - began) * 1_000, 2)

    async def info(self) -> dict[str, Json]:
        """What the server says of itself. `keys` counts those under the prefix, up to 10,000 of them."""
        with _translated():
            count = len([key async for key in self._scan(b"*", _MOST_COUNTED)])
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
            snapshots = await self._snapshots()
        return {
            "version": info["redis_version"],
            "modules": sorted(_module(each) for each in modules),
            "used_memory_mib": round(info["used_memory"] / 2**20, 1),
            "maxmemory_policy": info["maxmemory_policy"],
            "persistence": _persistence(info, snapshots),
            "connected_clients": info["connected_clients"],
            "uptime_s": info["uptime_in_seconds"],
        }

    async def _snapshots(self) -> str | None:
        """Return when snapshots are taken, as Redis writes it; None where that may not be asked."""
        try:
            settings = await self._redis.config_get("save")
        except ResponseError:  # managed services refuse CONFIG
            return None
        return str(next(iter(settings.values()), ""))

    def _name(self, key: str) -> bytes:
        name = _bytes(key, "key")
        if not 0 < len(name) <= MAX_KEY_BYTES:
            raise NotStorable(
                "key", f"A key must have 1 to {MAX_KEY_BYTES} bytes; this one has {len(name):,}."
            )
        return self._prefix + name

    def _key(self, name: bytes) -> str:
        return _text(name.removeprefix(self._prefix))

    async def _scan(self, glob: bytes, limit: int, until: float = math.inf) -> AsyncIterator[bytes]:
        """At most `limit` different keys under the prefix, found before the clock is at `until`."""
        seen: set[bytes] = set()  # SCAN may return a key twice
        cursor = -1
        while cursor != 0 and len(seen) < limit and time.monotonic() < until:
            cursor, batch = await self._redis.scan(
                max(cursor, 0), match=self._scanned + glob, count=_SCAN_COUNT
            )
            for key in batch:
                assert isinstance(key, bytes), "the client must not decode responses"
                # looked at again: how a glob is read is the server's affair
                if key.startswith(self._prefix) and key not in seen and len(seen) < limit:
                    seen.add(key)
                    yield key


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OutOfMemoryError as error:
        raise StorageDown("Redis has no memory left, so nothing more can be stored.") from error
    except RedisError as error:
        raise StorageDown(f"Redis did not do it: {without_values(str(error))}") from error


def without_values(error: str) -> str:
    """Return what the server says: redis-py quotes the command before it, Redis an unknown one behind."""
    _, is_quoted, said = error.rpartition(_QUOTED_COMMAND)
    if is_quoted:
        said = said.removeprefix("(").removesuffix(",)").strip("'\"")
    return said.partition(", with args beginning with:")[0]


def _bytes(text: str, what: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:  # half of a surrogate pair
        raise NotStorable(what, f"The {what} holds characters that are no text.") from error


def _pattern(text: str) -> bytes:
    glob = _bytes(text, "pattern")
    if len(glob) > MAX_KEY_BYTES:
        raise NotStorable("pattern", f"A pattern has at most {MAX_KEY_BYTES} bytes.")
    return glob


def _value(value: Json) -> tuple[bytes, bool]:
    """Return what is stored, and whether it is a JSON document rather than a text."""
    is_document = not isinstance(value, str)
    data = _bytes(_document(value) if is_document else value, "value")
    if len(data) > MAX_VALUE_BYTES:
        raise NotStorable(
            "value", f"A value has at most {MAX_VALUE_BYTES:,} bytes; this one has {len(data):,}."
        )
    return data, is_document


def _document(value: Json) -> str:
    """Return a value as JSON. Raises `NotStorable` when Redis would not give the same value back."""
    level: Sequence[Json] = [value]
    for _ in range(_MAX_DEPTH):
        for each in level:
            if isinstance(each, int) and not _MIN_INT <= each <= _MAX_INT:
                raise NotStorable("value", "A whole number has at most 64 bits; write it as a text.")
            if isinstance(each, float) and not math.isfinite(each):
                raise NotStorable("value", "A number must be finite.")
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return json.dumps(value, ensure_ascii=False)
    raise NotStorable("value", f"A value has at most {_MAX_DEPTH} levels.")


def _inside(value: Json) -> Collection[Json]:
    match value:
        case dict():
            return value.values()
        case list():
            return value
        case _:
            return ()


def _ttl(seconds: int | None) -> int | None:
    if seconds is not None and not 0 < seconds <= MAX_TTL_SECONDS:
        raise NotStorable("ttl", f"A ttl is 1 to {MAX_TTL_SECONDS:,} seconds, not {seconds}.")
    return seconds


def _text(data: bytes | str) -> str:
    assert isinstance(data, bytes), "the client must not decode responses"
    return data.decode(errors="replace")  # somebody else may have written what is no text


def _module(entry: Mapping[bytes | str, Json]) -> str:
    fields = {_plain(key): _plain(value) for key, value in entry.items()}
    return f"{fields['name']} {fields['ver']}"


def _plain(value: Json) -> Json:
    return _text(value) if isinstance(value, bytes) else value


NOTHING_KEPT = "none"
"""Begins the persistence of a server that keeps nothing on disk."""


def _persistence(info: Mapping[str, Json], snapshots: str | None) -> str:
    if info["aof_enabled"]:
        return f"append-only file, last write {info['aof_last_write_status']}"
    if snapshots == "":
        return f"{NOTHING_KEPT}: neither append-only file nor snapshots"
    return f"snapshots only, last {info['rdb_last_bgsave_status']}"
