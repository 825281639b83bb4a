"""Coordination of all processes of the bot, in Redis: rate limits, leases, groups, cursors."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from bot.chat import Author, Json, Permit, Space
from bot.storage.errors import storage_errors

log = logging.getLogger(__name__)

_TAG = "{bot}"
_CURSORS = f"{_TAG}:heard"
_MOST_SOURCES = 10_000
_MOST_PARTS = 2_000
"""Most cursors of threads in one space: a busy one displaces none of the others."""

_PARTS_SECONDS = 7 * 86_400
_BATCH = 500

# The calls of the last 60 seconds, packed as {call: {second: count}}, by the clock of Redis, because machines
# differ. A second counts until all of it is 60 seconds old, so that no such period has more than allowed; one
# that is more than a minute ahead was counted before the clock was set back.
# KEYS counter | ARGV seconds ahead, number of calls, calls with limits, unused permits with their seconds
# -> milliseconds until the first call is allowed, 0 taken; this second; the number of calls taken
_TAKE = """
local time = redis.call('TIME')
local now, ahead, calls = tonumber(time[1]), tonumber(ARGV[1]), tonumber(ARGV[2])
local packed = redis.call('GET', KEYS[1])
local counts = packed and cmsgpack.unpack(packed) or {}

local function count_calls(made)
  local used = 0
  for second, count in pairs(made) do
    if second + 61 <= now or second > now + 60 then made[second] = nil else used = used + count end
  end
  return used
end

local function wait(made, leaving)
  local seconds = {}
  for second in pairs(made) do seconds[#seconds + 1] = second end
  table.sort(seconds)
  local allowed_at = now + 61
  for _, second in ipairs(seconds) do
    if leaving <= 0 then break end
    leaving, allowed_at = leaving - made[second], second + 61
  end
  return (allowed_at - now) * 1000 - math.floor(time[2] / 1000)
end

for index = 3 + 2 * calls, #ARGV, 2 do
  local made, second = counts[ARGV[index]] or {}, tonumber(ARGV[index + 1])
  if made[second] then made[second] = math.max(0, made[second] - 1) end
end
local taken, milliseconds = 0, 0
while taken < calls do
  local call, most = ARGV[3 + 2 * taken], tonumber(ARGV[4 + 2 * taken])
  local made = counts[call] or {}
  local used = count_calls(made)
  if used >= most then
    if taken == 0 then milliseconds = wait(made, used - most + 1) end
    break
  end
  local second = taken == 0 and now or now + ahead
  made[second] = (made[second] or 0) + 1
  counts[call] = made
  taken = taken + 1
end
redis.call('SET', KEYS[1], cmsgpack.pack(counts), 'EX', 120)  -- 61, and less than a minute ahead
return {milliseconds, now, taken}
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

# A member's vote: 1 if it may be using the agreed number (as soon as it has received it), else 0; then its
# wish. The field '=', which is not a member's name, holds the agreed number.
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


class RedisCoordination:
    """Coordination in Redis; a `bot.chat.Coordination` and a `PersonalDataSource`.

    `owner` is the name of this process, which owns its leases; `most_parts` is the number of cursors of
    threads that are kept for one space.
    """

    name = "coordination"

    def __init__(self, redis: Redis, owner: str, most_parts: int = _MOST_PARTS) -> None:
        self._redis = redis
        self._most_parts = most_parts
        self._name = owner
        self._take = redis.register_script(_TAKE)
        self._lease = redis.register_script(_LEASE)
        self._release = redis.register_script(_RELEASE)
        self._attend = redis.register_script(_ATTEND)
        self._agree = redis.register_script(_AGREE)

    async def take(
        self, counter: str, calls: Mapping[str, int], *, ahead: int = 0, unused: Iterable[Permit] = ()
    ) -> tuple[float, Sequence[Permit]]:
        """Count a call against its limit; return the seconds to wait, 0 if it was counted, and permits."""
        asked = [part for each in calls.items() for part in each]
        returned = [part for each in unused for part in (each.call, each.second)]
        try:
            milliseconds, second, taken = await self._take(
                keys=[f"{_TAG}:limit:{counter}"], args=[ahead, len(calls), *asked, *returned]
            )
        except (RedisError, OSError) as error:
            log.debug("rate limit check failed", extra={"counter": counter, "error": repr(error)})
            return 0, []
        return milliseconds / 1000, [Permit(call, second + ahead) for call in list(calls)[1:taken]]

    async def lease(self, lease: str, seconds: float, holder: str = "") -> bool:
        """Take or renew a lease; return whether this process holds it."""
        with storage_errors():
            return bool(
                await self._lease(
                    keys=[f"{_TAG}:lease:{lease}"], args=[self._owner(holder), round(seconds * 1000)]
                )
            )

    async def release(self, lease: str, holder: str = "") -> None:
        """Release a lease that this process holds."""
        with storage_errors():
            await self._release(keys=[f"{_TAG}:lease:{lease}"], args=[self._owner(holder)])

    def _owner(self, holder: str) -> str:
        return f"{self._name}:{holder}" if holder else self._name

    async def attend(self, group: str, seconds: float, note: Json = None) -> tuple[int, Sequence[Json]]:
        """Join a group or stay in it; return the position of this process and the notes of all members."""
        keys = [f"{_TAG}:group:{group}", f"{_TAG}:notes:{group}"]
        with storage_errors():
            place, *notes = await self._attend(keys=keys, args=[self._name, seconds, json.dumps(note)])
        return int(place), [json.loads(each) for each in notes]

    async def leave(self, group: str) -> None:
        """Leave a group."""
        with storage_errors():
            await self._redis.zrem(f"{_TAG}:group:{group}", self._name)
            await self._redis.hdel(f"{_TAG}:notes:{group}", self._name)

    async def agree(self, group: str, wish: int, *, in_use: bool) -> int | None:
        """Return the number that all members of a group use, or None until they agree."""
        keys = [f"{_TAG}:group:{group}", f"{_TAG}:votes:{group}"]
        with storage_errors():
            agreed = await self._agree(keys=keys, args=[self._name, wish, int(in_use)])
        return int(agreed) if agreed is not None else None

    async def find_note(self, name: str) -> Json | None:
        """Return what a process has kept under a name, or None."""
        with storage_errors():
            note: Any = await self._redis.get(f"{_TAG}:note:{name}")
        return json.loads(note) if note else None

    async def keep_note(self, name: str, note: Json, seconds: int) -> None:
        """Keep a small note for all processes, for `seconds`."""
        with storage_errors():
            await self._redis.set(f"{_TAG}:note:{name}", json.dumps(note), ex=seconds)

    async def export(self, user: Sequence[Author]) -> Mapping[str, Json]:
        """Return nothing: notes about users repeat what the chat service says of them."""
        return {}

    async def erase(self, user: Sequence[Author]) -> None:
        """Remove the notes about a user, which are kept as `PLATFORM:user:ID`, or with `@SPACE` after it."""
        known = [":user:".join(each.id.split(":", 1)) for each in user]
        names = [*known, *(f"{name}@{each.space}" for name, each in zip(known, user, strict=True))]
        with storage_errors():
            await self._redis.delete(*(f"{_TAG}:note:{name}" for name in names))

    async def erase_space(self, space: Space) -> None:
        """Remove the notes about a space, and the times until which its events were taken."""
        source = f"{space.platform}:{space.id}"
        with storage_errors():
            notes = f"{_TAG}:note:{space.platform}:user:*@{space.id}"
            async for key in self._redis.scan_iter(match=notes, count=_BATCH):
                await self._redis.delete(key)
            async for cursor, _ in self._redis.zscan_iter(_CURSORS, match=f"{source}*", count=_BATCH):
                if f"{cursor.decode()}:".startswith(f"{source}:"):
                    await self._redis.zrem(_CURSORS, cursor)
            await self._redis.delete(f"{_CURSORS}:{source}")

    async def get_cursor(self, *sources: str) -> float | None:
        """Return the time until which all events of the sources were taken."""
        by_key: dict[str, list[str]] = {}
        for source in sources:
            by_key.setdefault(_cursors_of(source), []).append(source)
        known: list[float | None] = []
        with storage_errors():
            for key, members in by_key.items():
                found: Any = await self._redis.zmscore(key, members)
                known += found
        return None if None in known else min(each for each in known if each is not None)

    async def set_cursor(self, source: str, until: float) -> None:
        """Store the time until which all events of a source were taken."""
        key = _cursors_of(source)
        most = _MOST_SOURCES if key == _CURSORS else self._most_parts
        with storage_errors():
            await self._redis.zadd(key, {source: until}, gt=True)
            await self._redis.zremrangebyrank(key, 0, -most - 1)
            if key != _CURSORS:
                await self._redis.expire(key, _PARTS_SECONDS)


def _cursors_of(source: str) -> str:
    """Return the key with the cursor of a source: one for all spaces, and one for the threads of each."""
    platform, _, rest = source.partition(":")
    space, _, part = rest.partition(":")
    return f"{_CURSORS}:{platform}:{space}" if ":" in part else _CURSORS
