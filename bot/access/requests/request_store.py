"""Storage of requests in Redis; approvals and questions are kept alike."""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal, cast

from redis.asyncio import Redis

from bot.access.requests.record import RequestRecord
from bot.chat import Approval, Question, Request, Space, ThreadId
from bot.storage.errors import storage_errors

log = logging.getLogger(__name__)

MOST_OPEN = 3
"""Most open approval requests of one user: each one notifies the approvers."""

MOST_OPEN_QUESTIONS = 10
"""Most open questions to one user, in all threads together."""

_KEPT_SECONDS = 7 * 86_400
"""Time for which an expired request is kept, for users who press an old button."""

_OPEN = "{bot}:approvals"
_OPEN_QUESTIONS = "{bot}:questions"
_INDEXED = f"{_OPEN}:indexed"

_INDEXED_SECONDS = 86_400
"""Time after which open requests without an entry of their messages are looked for again."""

# KEYS open request, then the open requests of the same kind of each account of those who ask
# | ARGV id record now expires_at kept_seconds most, then the entries of its messages -> new | known | refused
_ASK = """
local id, now, most = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[6])
if redis.call('HEXISTS', KEYS[2], 'request') == 1 then return 'known' end
for index = 3, #KEYS do
  redis.call('ZREMRANGEBYSCORE', KEYS[index], '-inf', now)
  if redis.call('ZCARD', KEYS[index]) >= most then return 'refused' end
end
redis.call('HSET', KEYS[2], 'request', ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[5])
redis.call('ZADD', KEYS[1], ARGV[4], id)
for index = 3, #KEYS do
  redis.call('ZADD', KEYS[index], ARGV[4], id)
  redis.call('EXPIRE', KEYS[index], ARGV[5])
end
for index = 7, #ARGV do
  redis.call('SADD', ARGV[index], id)
  redis.call('EXPIRE', ARGV[index], ARGV[5])
end
return 'new'
"""

_FIND = """
local found = {}
local function find(id)
  local record, decided, shown = unpack(redis.call('HMGET', ARGV[1] .. id, 'request', 'decided', 'shown'))
  if record and not decided then found[#found + 1] = {id, record, decided, shown} end
end
"""

# KEYS open | ARGV prefix of a request -> {{id, record, decided, shown}...}
_UNDECIDED = (
    _FIND
    + """
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do find(id) end
return found
"""
)

# KEYS open entry indexed | ARGV prefix of a request, prefix of an entry, indexed_seconds
# -> {{id, record, decided, shown}...} Each edit and deletion of a message looks for the requests about it.
# Those that an earlier version has made have no entry: they get one first, once a day.
_UNDECIDED_ABOUT = (
    _FIND
    + """
local function messages_of(record)
  local is_readable, stored = pcall(cjson.decode, record)
  if not is_readable or type(stored) ~= 'table' then return {} end
  local request, messages = stored.approval or stored.question, stored.questions
  if type(messages) == 'table' and next(messages) then return messages end
  return type(request) == 'table' and request.asked_in and {[request.asked_in] = 0} or {}
end
local function index(id)
  for message in pairs(messages_of(redis.call('HGET', ARGV[1] .. id, 'request') or '')) do
    redis.call('SADD', ARGV[2] .. message, id)
    redis.call('EXPIRE', ARGV[2] .. message, redis.call('TTL', ARGV[1] .. id))
  end
end
if redis.call('SET', KEYS[3], 1, 'EX', ARGV[3], 'NX') then
  for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do index(id) end
end
for _, id in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  if redis.call('ZSCORE', KEYS[1], id) then find(id) end
end
return found
"""
)


@dataclass(frozen=True, slots=True)
class RequestStore:
    """All requests, and indexes of those that are open, also by message. All methods raise `StorageDown`."""

    redis: Redis

    async def add(self, record: RequestRecord) -> Literal["new", "known", "refused"]:
        """Store a request, unless it is known or one of its users has `most_open` of them."""
        now, expires_at = time.time(), record.request.expires_at
        ttl = round(expires_at - now) + _KEPT_SECONDS
        with storage_errors():
            outcome: Any = await self.redis.register_script(_ASK)(
                keys=[_OPEN, _key(record.request.id), *_open_of_users(record)],
                args=[
                    *(record.request.id, record.to_json(), now, expires_at, ttl, most_open(record.request)),
                    *map(_about, record.questions),
                ],
            )
        return cast('Literal["new", "known", "refused"]', outcome.decode())

    async def read(self, id: str) -> RequestRecord | None:
        """Return a request, or None if it does not exist or cannot be read.

        A request of another version must not prevent the decision, withdrawal or removal of others.
        """
        with storage_errors():
            fields: Any = await self.redis.hmget(_key(id), ["request", "decided", "shown"])
        return _parse(id, *fields)

    async def questions(self, id: str) -> Sequence[str]:
        """Return the messages that a request is about; nothing for an unknown one."""
        record = await self.read(id)
        return tuple(record.questions) if record else ()

    async def undecided(self) -> Sequence[RequestRecord]:
        """Return the undecided requests, in one round trip."""
        with storage_errors():
            found: Any = await self.redis.register_script(_UNDECIDED)(keys=[_OPEN], args=[_key("")])
        return _parse_all(found)

    async def undecided_about(self, message_id: str) -> Sequence[RequestRecord]:
        """Return the undecided requests of the turns that answer a message, in one round trip."""
        with storage_errors():
            found: Any = await self.redis.register_script(_UNDECIDED_ABOUT)(
                keys=[_OPEN, _about(message_id), _INDEXED], args=[_key(""), _about(""), _INDEXED_SECONDS]
            )
        return _parse_all(found)

    async def asked_of(self, author: str) -> Sequence[RequestRecord]:
        """Return the undecided questions to an author; there are at most `MOST_OPEN_QUESTIONS`."""
        with storage_errors():
            ids: Any = await self.redis.zrange(f"{_OPEN_QUESTIONS}:of:{author}", 0, -1)
        found = await asyncio.gather(*(self.read(each.decode()) for each in ids))
        return [each for each in found if each and each.is_open]

    async def due(self) -> Sequence[str]:
        """Return the ids of open requests that have expired, at most 100."""
        with storage_errors():
            due: Any = await self.redis.zrangebyscore(_OPEN, "-inf", time.time(), start=0, num=100)
        return [each.decode() for each in due]

    async def count(self) -> tuple[int, float | None]:
        """Return the number of open requests, and the time when the next one expires (Unix seconds)."""
        with storage_errors():
            waiting = await self.redis.zcard(_OPEN)
            next_due: Any = await self.redis.zrange(_OPEN, 0, 0, withscores=True)
        return waiting, next_due[0][1] if next_due else None

    async def by_authors(self, authors: Set[str]) -> Sequence[RequestRecord]:
        """Return the requests of these users, alone or with others."""
        return [each for each in await self._all() if not authors.isdisjoint(each.askers)]

    async def in_space(self, space: Space) -> Sequence[RequestRecord]:
        """Return the requests that were made in a space."""
        return [each for each in await self._all() if space.has(str(each.thread))]

    async def _all(self) -> Sequence[RequestRecord]:
        with storage_errors():
            keys = [key async for key in self.redis.scan_iter(match=_key("*"))]
        records = [await self.read(key.decode().rpartition(":")[2]) for key in keys]
        return [each for each in records if each]

    async def note_shown(self, id: str, threads: Sequence[ThreadId]) -> None:
        """Store further threads that show a request."""
        with storage_errors():
            async with self.redis.pipeline(transaction=True) as step:
                step.hset(_key(id), "shown", json.dumps([str(each) for each in threads]))
                step.expire(_key(id), _KEPT_SECONDS, nx=True)  # it may have been removed meanwhile
                await step.execute()

    async def confirmation(self, id: str, author: str, place: ThreadId) -> str:
        """Return the word that confirms a decision of an author in a place that does not show the request.

        It is random, so that only a user who has seen the request can know it.
        """
        field = f"word {author} {place}"
        with storage_errors():
            async with self.redis.pipeline(transaction=True) as step:
                step.hsetnx(_key(id), field, f"{secrets.randbelow(10_000):04}")
                step.hget(_key(id), field)
                step.expire(_key(id), _KEPT_SECONDS, nx=True)  # it may have been removed meanwhile
                _, word, _ = await step.execute()
        return str(word.decode())

    async def note_decision(self, record: RequestRecord, request: Request) -> None:
        """Store the decision of a request, which is closed by it."""
        words = {"reason": request.reason} if isinstance(request, Approval) else {"answer": request.answer}
        fields = {"state": request.state, "by": request.by, "names": request.names, **words}
        with storage_errors():
            async with self.redis.pipeline(transaction=True) as step:
                step.hset(_key(request.id), "decided", json.dumps(fields))
                _close(step, record)
                await step.execute()

    async def close(self, id: str) -> None:
        """Remove a request from the index of open ones, even if the request itself is gone."""
        with storage_errors():
            await self.redis.zrem(_OPEN, id)

    async def remove(self, record: RequestRecord) -> None:
        """Remove a request, so that nobody can decide it any more."""
        with storage_errors():
            async with self.redis.pipeline(transaction=True) as step:
                step.unlink(_key(record.request.id))
                _close(step, record)
                await step.execute()


def most_open(request: Request) -> int:
    """Return the most open requests of the same kind that one user can have."""
    return MOST_OPEN if isinstance(request, Approval) else MOST_OPEN_QUESTIONS


def _parse(id: str, record: bytes | None, decided: bytes | None, shown: bytes | None) -> RequestRecord | None:
    try:
        return RequestRecord.from_json(record, decided, shown) if record else None
    except (KeyError, TypeError, ValueError):
        log.exception("request unreadable", extra={"request": id})
        return None


def _parse_all(found: Sequence[Any]) -> Sequence[RequestRecord]:
    records = [_parse(id.decode(), *fields) for id, *fields in found]
    return [each for each in records if each]


def _close(step: Any, record: RequestRecord) -> None:
    for key in (_OPEN, *_open_of_users(record)):
        step.zrem(key, record.request.id)
    for message in record.questions:
        step.srem(_about(message), record.request.id)


def _key(id: str) -> str:
    return f"{{bot}}:approval:{id}"


def _about(message_id: str) -> str:
    """Return the key of the entry of a message: the ids of the open requests about it."""
    return f"{_OPEN}:about:{message_id}"


def _open_of_users(record: RequestRecord) -> list[str]:
    """Return the keys of the open requests of those who count as its owners."""
    match record.request:
        case Approval():
            return [f"{_OPEN}:of:{each}" for each in record.people]
        case Question():
            return [f"{_OPEN_QUESTIONS}:of:{each}" for each in record.request.respondents]
