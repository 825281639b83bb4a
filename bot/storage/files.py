"""File store in Redis for the files of answers, until they are uploaded and viewed."""

import asyncio
import hashlib
import json
import re
import secrets
from typing import Any

from redis.asyncio import Redis

from bot.chat import File, FileTooLarge, Json, well_formed
from bot.chat.text import one_line
from bot.storage.errors import storage_errors

MOST_BYTES = 8 << 20
"""Largest size of one file."""

_MOST_BYTES_TOGETHER = 256 << 20
_SECONDS = 24 * 3600
_NAME_CHARS = 100
_ALT_CHARS = 1_000
_TAG = "{bot}"
_ENDING = re.compile(r"\.\w{1,10}$")
_ID = re.compile(r"[0-9a-f]{32}")

# The oldest files are removed for new ones, so that nobody can fill Redis. `ages` has the ids by time,
# `sizes` the bytes of each; expired files are removed from both first. `same` has the id of the same file if
# it was stored before: a turn that runs again after a crash must not show a file twice. An id reveals nothing
# about the content, and cannot be computed from it.
# KEYS ages sizes same | ARGV id seconds most_bytes about content -> the id
_KEEP = """
local time = redis.call('TIME')
local now = tonumber(time[1])
local id = redis.call('GET', KEYS[3]) or ARGV[1]
local function forget(gone)
  redis.call('ZREM', KEYS[1], gone)
  redis.call('HDEL', KEYS[2], gone)
end
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])) do forget(gone) end
forget(id)
local used = #ARGV[5]
for _, size in ipairs(redis.call('HVALS', KEYS[2])) do used = used + size end
while used > tonumber(ARGV[3]) do
  local oldest = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
  if not oldest then break end
  used = used - redis.call('HGET', KEYS[2], oldest)
  forget(oldest)
  redis.call('DEL', '{bot}:file:' .. oldest)
end
local file = '{bot}:file:' .. id
redis.call('ZADD', KEYS[1], now, id)
redis.call('HSET', KEYS[2], id, #ARGV[5])
redis.call('HSET', file, 'about', ARGV[4], 'content', ARGV[5])
redis.call('SET', KEYS[3], id)
for _, key in ipairs({KEYS[1], KEYS[2], KEYS[3], file}) do redis.call('EXPIRE', key, ARGV[2]) end
return id
"""


class FileStore:
    """File store; a `bot.chat.Files`. `most_bytes` limits the size of all files together."""

    def __init__(self, redis: Redis, most_bytes: int = _MOST_BYTES_TOGETHER) -> None:
        self._redis = redis
        self._most_bytes = most_bytes
        self._keep = redis.register_script(_KEEP)

    async def keep(self, name: str, media_type: str, content: bytes, alt: str = "") -> File:
        """Store a file, or extend the life of a stored one. Raises `FileTooLarge` and `StorageDown`."""
        if len(content) > MOST_BYTES:
            raise FileTooLarge(f"{name} has {len(content):,} bytes; the limit is {MOST_BYTES:,}")
        name = _plain(name)
        media_type = well_formed(media_type)
        digest = await asyncio.to_thread(_digest, name.encode(), media_type.encode(), content)
        about: dict[str, Json] = {"name": name, "media_type": media_type, "size": len(content)}
        about["alt"] = well_formed(_one_line(alt)[:_ALT_CHARS])
        keys = [f"{_TAG}:files", f"{_TAG}:file_sizes", f"{_TAG}:same_file:{digest}"]
        with storage_errors():
            id: bytes = await self._keep(
                keys=keys,
                args=[secrets.token_hex(16), _SECONDS, self._most_bytes, json.dumps(about), content],
            )
        return _file(id.decode(), about)

    async def find(self, id: str) -> tuple[File, bytes] | None:
        """Return a file with its content, or None. Raises `StorageDown`."""
        if not _ID.fullmatch(id):
            return None
        with storage_errors():
            about, content = await self._read(_key(id))
        return (_file(id, json.loads(about)), content) if content is not None else None

    async def _read(self, key: str) -> Any:
        return await self._redis.hmget(key, ["about", "content"])


def _file(id: str, about: dict[str, Json]) -> File:
    return File(**about | {"id": id})


def _digest(*parts: bytes) -> str:
    """Return the hash of a file; most of it is computed without the interpreter lock."""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _key(id: str) -> str:
    return f"{_TAG}:file:{id}"


def _plain(name: str) -> str:
    """Return a name without characters that are special in paths, headers or shells; keep the extension."""
    safe = re.sub(r"[^\w.() -]+", "_", _one_line(name)).strip(". ") or "file"
    match = _ENDING.search(safe)
    ending = match[0] if match else ""
    return safe.removesuffix(ending)[: _NAME_CHARS - len(ending)] + ending


def _one_line(text: str) -> str:
    return one_line(text.encode("utf-8", "replace").decode())
