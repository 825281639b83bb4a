"""File store in Redis for the files of answers, until they are uploaded and viewed."""

import asyncio
import hashlib
import json
import re
import secrets
from collections.abc import Mapping
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

_PIECE_BYTES = 256 << 10
"""Bytes of content in one command: one of 5 MiB kept the event loop, and Redis, busy for 13 ms."""

# The oldest files are removed for new ones, so that nobody can fill Redis. `ages` has the ids by time,
# `sizes` the bytes of each; expired files are removed from both first. `same` has the id of the same file if
# it was stored before: a turn that runs again after a crash must not show a file twice. An id reveals nothing
# about the content, and cannot be computed from it. A file exists once `about` is stored: after its pieces,
# if it has any.
# KEYS ages sizes same | ARGV id seconds most_bytes size about [content] -> id, 1 if the file exists
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
local used = tonumber(ARGV[4])
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
redis.call('HSET', KEYS[2], id, ARGV[4])
if ARGV[6] then
  redis.call('HSET', file, 'about', ARGV[5], 'content', ARGV[6])
  redis.call('SET', KEYS[3], id)
end
for _, key in ipairs({KEYS[1], KEYS[2], KEYS[3], file}) do redis.call('EXPIRE', key, ARGV[2]) end
return {id, redis.call('HEXISTS', file, 'about')}
"""

# The pieces of a file that was removed for others in the meantime are removed, too.
# KEYS file sizes same | ARGV id seconds about
_FINISH = """
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], 'about', ARGV[3])
redis.call('SET', KEYS[3], ARGV[1])
for _, key in ipairs({KEYS[1], KEYS[3]}) do redis.call('EXPIRE', key, ARGV[2]) end
"""


class FileStore:
    """File store; a `bot.chat.Files`. `most_bytes` limits the size of all files together."""

    def __init__(self, redis: Redis, most_bytes: int = _MOST_BYTES_TOGETHER) -> None:
        self._redis = redis
        self._most_bytes = most_bytes
        self._keep = redis.register_script(_KEEP)
        self._finish = redis.register_script(_FINISH)

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
        args: list[str | int | bytes] = [secrets.token_hex(16), _SECONDS, self._most_bytes]
        args += [len(content), json.dumps(about)]
        with storage_errors():
            if len(content) <= _PIECE_BYTES:
                id, _ = await self._keep(keys=keys, args=[*args, content])
            else:
                id, is_known = await self._keep(keys=keys, args=args)
                if not is_known:
                    await self._write_pieces(id.decode(), content, about, keys[-1])
        return _file(id.decode(), about)

    async def _write_pieces(self, id: str, content: bytes, about: Mapping[str, Json], same: str) -> None:
        view = memoryview(content)
        for number, start in enumerate(range(0, len(content), _PIECE_BYTES)):
            # each with an expiry time: the file may be removed for others at any time
            async with self._redis.pipeline() as step:
                step.hset(_key(id), f"piece:{number}", bytes(view[start : start + _PIECE_BYTES]))
                step.expire(_key(id), _SECONDS)
                await step.execute()
        await self._finish(
            keys=[_key(id), f"{_TAG}:file_sizes", same], args=[id, _SECONDS, json.dumps(about)]
        )

    async def find(self, id: str) -> tuple[File, bytes] | None:
        """Return a file with its content, or None. Raises `StorageDown`."""
        if not _ID.fullmatch(id):
            return None
        with storage_errors():
            about, content = await self._read(_key(id), "about", "content")
            if about is None:
                return None
            file = _file(id, json.loads(about))
            if content is None:
                content = await self._read_pieces(file)
        return (file, content) if content is not None else None

    async def _read_pieces(self, file: File) -> bytes | None:
        """Return the content, or None if the file was removed before all of it was written or read."""
        numbers = range(-(-file.size // _PIECE_BYTES))
        pieces = [(await self._read(_key(file.id), f"piece:{number}"))[0] for number in numbers]
        return b"".join(pieces) if None not in pieces else None

    async def _read(self, key: str, *fields: str) -> Any:
        return await self._redis.hmget(key, list(fields))


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
