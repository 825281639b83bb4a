"""Key-value store for users, confined to the keys under one prefix."""

import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError

from bot.chat import BotError, Json, StorageDown
from bot.config import reserved_keys
from bot.storage.health import server_info

MAX_KEY_BYTES = 512
MAX_VALUE_BYTES = 1024 * 1024
MAX_TTL_SECONDS = 10 * 365 * 24 * 3600
MAX_BATCH = 1_000
MAX_LISTED_BYTES = 8 * 1024 * 1024
"""Most bytes of values in one listing: a thousand of the largest values would take a gigabyte of memory."""

_MAX_COUNTED = 10_000
_SCAN_COUNT = 1_000
_GLOB, _ESCAPED = re.compile(rb"([\\*?\[\]^-])"), rb"\\\1"

_MAX_DEPTH = 100
_MIN_INT, _MAX_INT = -(2**63), 2**64 - 1
"""Limits of JSON that Redis stores unchanged: it refuses deeper documents, and rounds larger numbers."""

_MAX_BYTES_OF_REDIS = 2**52
"""Limit that no value in Redis can exceed."""

_QUOTED_COMMAND = " of pipeline caused error: "

# Values up to a total size. A script, because redis-py may be configured to decode the reply of JSON.GET.
# KEYS names | ARGV most_bytes -> of each name its type, text or document or neither, milliseconds left
_READ = """
local found, used, most = {}, 0, tonumber(ARGV[1])
for _, name in ipairs(KEYS) do
  local kind, text, size = redis.call('TYPE', name).ok, false, 0
  if kind == 'string' then
    size = redis.call('STRLEN', name)
  elseif kind == 'ReJSON-RL' then
    kind, text = 'json', redis.call('JSON.GET', name)
    size = #text
  end
  used = used + size
  if used > most then break end
  if kind == 'string' then text = redis.call('GET', name) end
  found[#found + 1] = {kind, text, redis.call('PTTL', name)}
end
return found
"""


class InvalidArgument(BotError):
    """Key, value, time or pattern that is not accepted; `str()` says why, `field` is its name."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


@dataclass(frozen=True, slots=True)
class Value:
    """Value of a key.

    `type` is `string`, `json` (a RedisJSON document, `text` is its JSON) or another type of Redis, which has
    no `text`. `ttl` is in seconds, None if the value does not expire.
    """

    text: str | None
    type: str = "string"
    ttl: int | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """Values by key; `is_cut` if there are more, `left_out` is the number of values of other types."""

    values: Mapping[str, Json]
    is_cut: bool
    left_out: int = 0


class KeyValueStore:
    """Store of values under text keys. Their prefix is added and removed here, so that no other key is used.

    A text is stored as it is, any other value as a JSON document. Keys have 1 to 512 bytes without the
    prefix, values at most 1 MiB, both in UTF-8. All methods raise `InvalidArgument` for input outside of
    these limits, and `StorageDown` for errors of Redis. The client must not decode responses.
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        if overlapped := reserved_keys.find_overlap(prefix):
            raise ValueError(f"the prefix {prefix!r} would give access to keys of the bot: {overlapped}")
        self._redis = redis
        self._prefix = prefix.encode()
        self._read = redis.register_script(_READ)

    async def set(self, key: str, value: Json, ttl: int | None = None) -> None:
        """Store a value, for `ttl` seconds if given; otherwise the value does not expire."""
        await self._store({key: value}, ttl)

    async def get(self, key: str) -> Value | None:
        """Return the value of any type, or None."""
        name = self._name(key)
        with _storage_errors():
            [(kind, text, milliseconds)] = await self._read(keys=[name], args=[_MAX_BYTES_OF_REDIS])
        if kind == b"none":
            return None
        seconds = None if milliseconds < 0 else math.ceil(milliseconds / 1_000)
        return Value(None if text is None else _text(text), _text(kind), seconds)

    async def delete(self, key: str) -> bool:
        """Delete a value; return False if there was none."""
        name = self._name(key)
        with _storage_errors():
            return bool(await self._redis.unlink(name))

    async def keys(self, pattern: str = "*", limit: int = 1_000) -> list[str]:
        """Return at most `limit` keys that match a Redis glob, in order."""
        return [self._key(name) for name in await self._scan(_pattern(pattern), limit)]

    async def search(self, part: str, limit: int, seconds: float) -> list[str]:
        """Return at most `limit` keys that contain `part` literally, found within `seconds`."""
        glob = b"*" + _escape_glob(_pattern(part)) + b"*"
        return [self._key(name) for name in await self._scan(glob, limit, seconds)]

    async def all(self, limit: int = 1_000, pattern: str = "*") -> Listing:
        """Return at most `limit` keys that match a glob, with their values, in order; 8 MiB at most."""
        found = await self._scan(_pattern(pattern), limit + 1)
        with _storage_errors():
            read = await self._read(keys=found[:limit], args=[MAX_LISTED_BYTES])
        values = {
            self._key(name): json.loads(text) if kind == b"json" else _text(text)
            for name, (kind, text, _) in zip(found, read, strict=False)
            if text is not None
        }
        return Listing(values, is_cut=len(read) < len(found), left_out=len(read) - len(values))

    async def mset(self, data: Mapping[str, Json], ttl: int | None = None) -> int:
        """Store several values in one transaction; return their number."""
        if not data:
            raise InvalidArgument("data", "There is nothing to store: the data is empty.")
        if len(data) > MAX_BATCH:
            raise InvalidArgument(
                "data", f"At most {MAX_BATCH:,} values can be stored at once; these are {len(data):,}."
            )
        await self._store(data, ttl)
        return len(data)

    async def info(self) -> dict[str, Json]:
        """Return facts about the server; `keys` counts those under the prefix, up to 10,000 of them."""
        with _storage_errors():
            count = len(await self._scan(b"*", _MAX_COUNTED))
            facts = await server_info(self._redis)
        prefix = _text(self._prefix)
        return facts | {"prefix": prefix, "keys": count, "keys_complete": count < _MAX_COUNTED}

    async def _store(self, data: Mapping[str, Json], ttl: int | None) -> None:
        if ttl is not None and not 0 < ttl <= MAX_TTL_SECONDS:
            raise InvalidArgument("ttl", f"A ttl is 1 to {MAX_TTL_SECONDS:,} seconds, not {ttl}.")
        values = [(self._name(key), _value(value), isinstance(value, str)) for key, value in data.items()]
        with _storage_errors():
            async with self._redis.pipeline(transaction=True) as pipeline:
                for name, value, is_text in values:
                    if is_text:
                        pipeline.set(name, value, ex=ttl)
                        continue
                    pipeline.delete(name)  # what is there may be of another type
                    pipeline.execute_command("JSON.SET", name, "$", value)
                    if ttl is not None:
                        pipeline.expire(name, ttl)
                await pipeline.execute()

    def _name(self, key: str) -> bytes:
        return self._prefix + _bytes(key, "key", MAX_KEY_BYTES, least=1)

    def _key(self, name: bytes) -> str:
        return _text(name.removeprefix(self._prefix))

    async def _scan(self, glob: bytes, limit: int, seconds: float = math.inf) -> list[bytes]:
        """Return at most `limit` sorted names under the prefix, found within `seconds`.

        Uses SCAN, which does not block the server.
        """
        until = time.monotonic() + seconds
        found: set[bytes] = set()  # SCAN may return a key twice
        cursor = -1
        with _storage_errors():
            while cursor != 0 and len(found) < limit and time.monotonic() < until:
                cursor, batch = await self._redis.scan(
                    max(cursor, 0), match=_escape_glob(self._prefix) + glob, count=_SCAN_COUNT
                )
                # checked again, because the server interprets the glob
                found.update(name for name in map(_require_bytes, batch) if name.startswith(self._prefix))
        return sorted(found)[:limit]


@contextmanager
def _storage_errors() -> Iterator[None]:
    """Raise `StorageDown` for an error of Redis, without the values that redis-py quotes."""
    try:
        yield
    except OutOfMemoryError as error:
        raise StorageDown("Redis has no memory left, so nothing more can be stored.") from error
    except RedisError as error:
        raise StorageDown(f"Redis reported an error: {without_values(str(error))}") from error


def without_values(error: str) -> str:
    """Return the server's error without the command, which redis-py puts before it, and Redis after it."""
    _, is_quoted, said = error.rpartition(_QUOTED_COMMAND)
    if is_quoted:
        said = said.removeprefix("(").removesuffix(",)").strip("'\"")
    return said.partition(", with args beginning with:")[0]


def _bytes(text: str, field: str, most: int, *, least: int = 0) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError as error:  # half of a surrogate pair
        raise InvalidArgument(field, f"The {field} contains characters that are not valid text.") from error
    if least <= len(data) <= most:
        return data
    sentence = f"A {field} must have {least} to {most:,} bytes; this one has {len(data):,}."
    raise InvalidArgument(field, sentence)


def _pattern(text: str) -> bytes:
    return _bytes(text, "pattern", MAX_KEY_BYTES)


def _escape_glob(text: bytes) -> bytes:
    return _GLOB.sub(_ESCAPED, text)


def _value(value: Json) -> bytes:
    """Return a text as it is, or any other value as JSON."""
    if not isinstance(value, str):
        _check(value)
        value = json.dumps(value, ensure_ascii=False)
    return _bytes(value, "value", MAX_VALUE_BYTES)


def _check(value: Json, depth: int = 1) -> None:
    """Raise `InvalidArgument` for a document that Redis would not return unchanged."""
    if depth > _MAX_DEPTH:
        raise InvalidArgument("value", f"A value can have at most {_MAX_DEPTH} levels.")
    if isinstance(value, int) and not _MIN_INT <= value <= _MAX_INT:
        raise InvalidArgument("value", "A whole number has at most 64 bits; write it as a text.")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidArgument("value", "A number must be finite.")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check(inner, depth + 1)


def _require_bytes(data: bytes | str) -> bytes:
    assert isinstance(data, bytes), "the client must not decode responses"
    return data


def _text(data: bytes | str) -> str:
    return _require_bytes(data).decode(errors="replace")  # another program may have stored other bytes
