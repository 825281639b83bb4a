"""Storage of requests in Redis; approvals and questions are kept alike."""

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

# KEYS open request, then the open requests of the same kind of each account of those who ask
# | ARGV id record now expires_at kept_seconds most -> new | known | refused
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
return 'new'
"""

# KEYS open | ARGV prefix of a request, text -> {{id, record, decided, shown}...} the undecided requests whose
# record has the text; all of them in one step, because each edit of a message looks for those about it
_UNDECIDED = """
local found = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local record, decided, shown = unpack(redis.call('HMGET', ARGV[1] .. id, 'request', 'decided', 'shown'))
  if record and not decided and string.find(record, ARGV[2], 1, true) then
    found[#found + 1] = {id, record, decided, shown}
  end
end
return found
"""


@dataclass(frozen=True, slots=True)
class RequestStore:
    """All requests, and the index of those that are open. All methods raise `StorageDown`."""

    redis: Redis

    async def add(self, record: RequestRecord) -> Literal["new", "known", "refused"]:
        """Store a request, unless it is known or one of its users has `most_open` of them."""
        now, expires_at = time.time(), record.request.expires_at
        ttl = round(expires_at - now) + _KEPT_SECONDS
        with storage_errors():
            outcome: Any = await self.redis.register_script(_ASK)(
                keys=[_OPEN, _key(record.request.id), *_open_of_users(record)],
                args=[record.request.id, record.to_json(), now, expires_at, ttl, most_open(record.request)],
            )
        return cast('Literal["new", "known", "refused"]', outcome.decode())

    async def read(self, id: str) -> RequestRecord | None:
        """Return a request, or None if it does not exist or cannot be read.

        A request of another version must not prevent the decision, withdrawal or removal of others.
        """
        with storage_errors():
            fields: Any = await self.redis.hmget(_key(id), ["request", "decided", "shown"])
        return _parse(id, *fields)

    async def undecided(self, about: str = "") -> Sequence[RequestRecord]:
        """Return the undecided requests, in one round trip; `about`: at least those with that message id."""
        text = json.dumps(about) if about else ""
        with storage_errors():
            found: Any = await self.redis.register_script(_UNDECIDED)(keys=[_OPEN], args=[_key(""), text])
        records = [_parse(id.decode(), *fields) for id, *fields in found]
        return [each for each in records if each]

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


def _close(step: Any, record: RequestRecord) -> None:
    for key in (_OPEN, *_open_of_users(record)):
        step.zrem(key, record.request.id)


def _key(id: str) -> str:
    return f"{{bot}}:approval:{id}"


def _open_of_users(record: RequestRecord) -> list[str]:
    """Return the keys of the open requests of those who count as its owners."""
    match record.request:
        case Approval():
            return [f"{_OPEN}:of:{each}" for each in record.people]
        case Question():
            return [f"{_OPEN_QUESTIONS}:of:{each}" for each in record.request.respondents]
