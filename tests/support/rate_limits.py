"""Passing of time for the calls that are counted against limits in Redis."""

import math

from redis.asyncio import Redis

# KEYS counter | ARGV seconds, number of calls: the earliest ones
_AGE = """
local packed = redis.call('GET', KEYS[1])
local aged, counts = {}, packed and cmsgpack.unpack(packed) or {}
for call, made in pairs(counts) do
  local seconds, left = {}, tonumber(ARGV[2])
  for second in pairs(made) do seconds[#seconds + 1] = second end
  table.sort(seconds)
  aged[call] = {}
  for _, second in ipairs(seconds) do
    local moved = math.min(left, made[second])
    local earlier = second - ARGV[1]
    aged[call][second] = (aged[call][second] or 0) + made[second] - moved
    aged[call][earlier] = (aged[call][earlier] or 0) + moved
    left = left - moved
  end
end
if packed then redis.call('SET', KEYS[1], cmsgpack.pack(aged), 'KEEPTTL') end
"""


async def age(redis: Redis, counter: str, seconds: int, *, most: float = math.inf) -> None:
    """Let the calls of a counter, or the `most` earliest of each kind, be made earlier."""
    await redis.eval(_AGE, 1, f"{{bot}}:limit:{counter}", str(seconds), str(min(most, 1e9)))
