"""What all processes of the bot know together, in Redis: limits, leases, how far was heard, news."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from bot.chat import Json, StorageDown, ThreadId

log = logging.getLogger(__name__)

_TAG = "{bot}"
_MOST_SOURCES = 10_000
_LEARN_SECONDS = 2.0

MAX_HANGS = 2
"""After so many hangs of the event loop while it was taken, an event is passed over."""

_LISTEN_SECONDS = 1.0  # below the shared client's socket timeout

# The calls of the last minute by their times, so that no minute ever has more than allowed. Redis' own clock,
# since machines differ.
# KEYS limit | ARGV per_minute -> milliseconds until one more is allowed; 0 taken
_DELAY = """
local time = redis.call('TIME')
local now, most = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 60000)
local used = redis.call('ZCARD', KEYS[1])
if used >= most then
  local leaving = redis.call('ZRANGE', KEYS[1], used - most, used - most, 'WITHSCORES')
  return leaving[2] + 60000 - now
end
redis.call('ZADD', KEYS[1], now, time[1] .. '.' .. time[2] .. '.' .. used)
redis.call('PEXPIRE', KEYS[1], 60000)
return 0
"""

# KEYS lease | ARGV owner milliseconds -> 1 ours | 0
_LEASE = """
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

# KEYS lease | ARGV owner
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""

# KEYS group notes | ARGV member seconds note -> our place by name, from 0; then the notes of all by name
_ATTEND = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  redis.call('HDEL', KEYS[2], gone)
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, math.ceil(ARGV[2])) end
local members = redis.call('ZRANGE', KEYS[1], 0, -1)
table.sort(members)
local answer = {0}
for place, member in ipairs(members) do
  if member == ARGV[1] then answer[1] = place - 1 end
  answer[#answer + 1] = redis.call('HGET', KEYS[2], member)
end
return answer
"""

# A member's vote: 1 if it may use what was agreed on, which it may once it is told, else 0; then its wish.
# Under '=', which is no member's name, is what was agreed on.
# KEYS group votes | ARGV member wish uses -> the agreed wish | nothing: not yet
_AGREE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3] .. ARGV[2])
local agreed = redis.call('HGET', KEYS[2], '=')
local is_wished, is_used = false, false
local votes = redis.call('HGETALL', KEYS[2])
for index = 1, #votes, 2 do
  local member, vote = votes[index], votes[index + 1]
  if member ~= '=' then
    local leaves = redis.call('ZSCORE', KEYS[1], member)
    if not leaves or tonumber(leaves) <= now then
      redis.call('HDEL', KEYS[2], member)
    else
      is_wished = is_wished or vote:sub(2) == agreed
      is_used = is_used or vote:sub(1, 1) == '1'
    end
  end
end
if agreed and not is_wished then
  if is_used then return false end
  agreed = false
end
agreed = agreed or ARGV[2]
redis.call('HSET', KEYS[2], '=', agreed, ARGV[1], '1' .. ARGV[2])
return agreed
"""


class SharedState:
    """Implements `bot.chat.Shared`; `name` is what this process owns leases as."""

    def __init__(self, redis: Redis, name: str) -> None:
        self._redis = redis
        self._name = name
        self._hung: set[str] = set()
        self._delay = redis.register_script(_DELAY)
        self._lease = redis.register_script(_LEASE)
        self._release = redis.register_script(_RELEASE)
        self._attend = redis.register_script(_ATTEND)
        self._agree = redis.register_script(_AGREE)

    async def delay(self, limit: str, per_minute: int) -> float:
        """See `bot.chat.Shared.delay`."""
        try:
            return float(await self._delay(keys=[_key("limit", limit)], args=[per_minute])) / 1000
        except (RedisError, OSError) as error:
            log.debug("limit not known", extra={"limit": limit, "error": repr(error)})
            return 0

    async def lease(self, lease: str, seconds: float, holder: str = "") -> bool:
        """See `bot.chat.Shared.lease`."""
        with _storage():
            return bool(
                await self._lease(
                    keys=[_key("lease", lease)], args=[self._owner(holder), round(seconds * 1000)]
                )
            )

    async def release(self, lease: str, holder: str = "") -> None:
        """See `bot.chat.Shared.release`."""
        with _storage():
            await self._release(keys=[_key("lease", lease)], args=[self._owner(holder)])

    def _owner(self, holder: str) -> str:
        return f"{self._name}:{holder}" if holder else self._name

    async def attend(self, group: str, seconds: float, note: Json = None) -> tuple[int, Sequence[Json]]:
        """See `bot.chat.Shared.attend`."""
        keys = [_key("group", group), _key("notes", group)]
        with _storage():
            place, *notes = await self._attend(keys=keys, args=[self._name, seconds, json.dumps(note)])
        return int(place), [json.loads(each) for each in notes]

    async def leave(self, group: str) -> None:
        """See `bot.chat.Shared.leave`."""
        with _storage():
            await self._redis.zrem(_key("group", group), self._name)
            await self._redis.hdel(_key("notes", group), self._name)

    async def agree(self, group: str, wish: int, *, in_use: bool) -> int | None:
        """See `bot.chat.Shared.agree`."""
        keys = [_key("group", group), _key("votes", group)]
        with _storage():
            agreed = await self._agree(keys=keys, args=[self._name, wish, int(in_use)])
        return int(agreed) if agreed is not None else None

    async def heard_until(self, *sources: str) -> float | None:
        """See `bot.chat.Shared.heard_until`."""
        with _storage():
            known: Any = await self._redis.zmscore(_key("heard"), list(sources))
        return None if None in known else float(min(known))

    async def set_heard_until(self, source: str, until: float) -> None:
        """See `bot.chat.Shared.set_heard_until`."""
        with _storage():
            await self._redis.zadd(_key("heard"), {source: until}, gt=True)
            await self._redis.zremrangebyrank(_key("heard"), 0, -_MOST_SOURCES - 1)

    async def active_threads(self, platform: str, since: float) -> Sequence[ThreadId]:
        """See `bot.chat.Shared.active_threads`."""
        with _storage():
            threads: Any = await self._redis.zrevrangebyscore(_key("threads", platform), "+inf", since)
        return [ThreadId(**json.loads(each)) for each in threads]

    async def is_known(self, message_id: str) -> bool:
        """See `bot.chat.Shared.is_known`."""
        with _storage():
            return bool(await self._redis.exists(_key("seen", message_id)))

    def has_hung(self, event_id: str) -> bool:
        """See `bot.chat.Shared.has_hung`."""
        return event_id in self._hung

    async def learn_hangs(self) -> None:
        """Look up which events have hung a process. Raises `StorageDown`."""
        with _storage():
            hung: Any = await self._redis.hgetall(_key("hung"))
        self._hung = {event.decode() for event, times in hung.items() if int(times) >= MAX_HANGS}

    async def keep_learning_hangs(self) -> None:
        """Do so again and again until cancelled: other processes find out, too."""
        while True:
            await asyncio.sleep(_LEARN_SECONDS)
            try:
                await self.learn_hangs()
            except StorageDown as error:
                log.info("hangs not looked up", extra={"error": str(error)})

    async def receipt_of(self, message_id: str) -> Mapping[str, Json] | None:
        """See `bot.chat.Shared.receipt_of`."""
        with _storage():
            turn: Any = await self._redis.hget(_key("seen", message_id), "turn")
            if turn is None:
                return None
            receipt: Any = await self._redis.hget(_key("turn", turn.decode()), "receipt")
        state: dict[str, Json] = json.loads(receipt) if receipt else {}
        return state

    async def is_taken_back(self, thread: ThreadId, message_id: str) -> bool:
        """See `bot.chat.Shared.is_taken_back`."""
        with _storage():
            async with self._redis.pipeline(transaction=True) as both:
                both.hmget(_key("seen", message_id), ["thread", "turn"])
                both.hexists(_key("messages", str(thread)), message_id)
                (taken, turn), waits = await both.execute()
        return taken is not None and turn is None and not waits

    @asynccontextmanager
    async def news(self, topic: str) -> AsyncIterator[AsyncIterator[Json]]:
        """Hear what a script of the inbox publishes, from the moment the context is entered.

        A lost connection is made again; what comes in between is not heard. Raises `StorageDown`.
        """
        async with self._redis.pubsub(ignore_subscribe_messages=True) as listener:
            with _storage():
                await listener.subscribe(_key("news", topic))
            yield _heard(listener)


async def _heard(listener: PubSub) -> AsyncIterator[Json]:
    while True:
        try:
            message = await listener.get_message(timeout=_LISTEN_SECONDS)
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            log.info("no news for a moment", extra={"error": repr(error)})  # redis-py subscribes again
            continue
        if message is not None:
            yield json.loads(message["data"])


def _key(kind: str, name: str = "") -> str:
    return f"{_TAG}:{kind}:{name}" if name else f"{_TAG}:{kind}"


@contextmanager
def _storage() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise StorageDown(f"Redis did not answer: {error}") from error
