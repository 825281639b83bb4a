"""Rate limits for users, channels and other bots: sliding windows shared by all processes.

A message is counted once, under its id: neither a redelivery, a repeated turn nor a second process counts it
again.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from redis.asyncio import Redis

from bot.access import texts
from bot.access.origin import scopes_of
from bot.chat import Admit, Ignore, Message, Refuse, is_hook
from bot.storage.errors import storage_errors

MINUTE = 60
HOUR = 3600
DAY = 24 * HOUR

_LOOP_SECONDS = 7 * DAY
"""Time until a thread's count of bot messages expires."""

# Counts a message in every window, or in none. Redis' own clock, since machines differ.
# KEYS windows | ARGV message id, then for each window: seconds, most -> {0, 0} counted
#                                    | {place of the full window, from 1; milliseconds until it has room}
_COUNT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local full, delay, windows = 0, 0, {}
for place, key in ipairs(KEYS) do
  local window, most = ARGV[2 * place] * 1000, tonumber(ARGV[2 * place + 1])
  windows[place] = window
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - window)
  local used = redis.call('ZCARD', key)
  if used >= most and not redis.call('ZSCORE', key, ARGV[1]) then
    local leaving = redis.call('ZRANGE', key, used - most, used - most, 'WITHSCORES')
    local wait = leaving[2] + window - now
    if wait > delay then full, delay = place, wait end
  end
end
if full > 0 then return {full, math.ceil(delay)} end
for place, key in ipairs(KEYS) do
  redis.call('ZADD', key, 'NX', now, ARGV[1])
  redis.call('PEXPIRE', key, windows[place])
end
return {0, 0}
"""

# Consecutive bot messages. The first one over the limit gets a notice, all further ones nothing.
# KEYS row | ARGV message id, most, seconds -> 'answer' | 'tell' | 'silence'
_ROW = """
local place = redis.call('HGET', KEYS[1], ARGV[1])
if not place then
  local length, most = redis.call('HLEN', KEYS[1]), tonumber(ARGV[2])
  if length > most then return 'silence' end
  place = length + 1
  redis.call('HSET', KEYS[1], ARGV[1], place)
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
if tonumber(place) <= tonumber(ARGV[2]) then return 'answer' end
return 'tell'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRates:
    """Messages per minute of a user and in a channel; None means no limit. For other bots: consecutive
    answers in a thread, and answers per hour in a channel."""

    user: int | None = None
    channel: int | None = None
    bot_row: int = 5
    bot_hour: int = 30


class RateLimiter:
    """Rate limiter: counts messages and refuses those over a limit. Administrators are not limited."""

    def __init__(
        self, redis: Redis, limits: MessageRates, is_admin: Callable[[str], bool], hears_bots: bool
    ) -> None:
        self._redis = redis
        self._limits = limits
        self._is_admin = is_admin
        self._hears_bots = hears_bots
        self._count = redis.register_script(_COUNT)
        self._row = redis.register_script(_ROW)

    async def check(self, message: Message) -> Admit | Refuse | Ignore:
        """Count a message, and refuse one that is over a limit. Raises `StorageDown`.

        Another bot gets one notice when it reaches the limit, and is ignored afterwards.
        """
        with storage_errors():
            return await (self._of_bot(message) if message.bot_ids else self._of_person(message))

    async def _of_person(self, message: Message) -> Admit | Refuse:
        if self._hears_bots:
            await self._redis.delete(_key("row", str(message.thread)))
        sentence = None if self._is_admin(message.author) else await self._too_fast(message)
        return Admit() if sentence is None else Refuse(sentence)

    async def _too_fast(self, message: Message) -> str | None:
        windows = list(self._windows(message))
        if not windows:
            return None
        rules = [number for _, _, most in windows for number in (MINUTE, most)]
        full, wait = await self._count(keys=[key for _, key, _ in windows], args=[message.id, *rules])
        if not full:
            return None
        sentence, _, most = windows[int(full) - 1]
        return sentence(most, max(1, math.ceil(wait / 1000)))

    def _windows(self, message: Message) -> Iterator[tuple[Callable[[int, int], str], str, int]]:
        """Yield the sentence, the key and the limit of each rate that counts this message."""
        scopes = scopes_of(message)
        if self._limits.user:
            yield texts.user_too_fast, _key("user", scopes.user), self._limits.user
        if self._limits.channel:
            yield texts.channel_too_fast, _key("channel", scopes.channel), self._limits.channel

    async def _of_bot(self, message: Message) -> Admit | Refuse | Ignore:
        if await self._too_fast(message):
            return Ignore()
        if is_hook(message.author):  # it answers nobody, so there is no loop
            return Admit()
        hour = [_key("bots", scopes_of(message).channel)]
        full, _ = await self._count(keys=hour, args=[message.id, HOUR, self._limits.bot_hour])
        if full:
            return Ignore()
        row, most = [_key("row", str(message.thread))], self._limits.bot_row
        match await self._row(keys=row, args=[message.id, most, _LOOP_SECONDS]):
            case b"answer":
                return Admit()
            case b"tell":
                return Refuse(texts.bots_in_a_row(most))
            case _:
                return Ignore()


def _key(kind: str, name: str) -> str:
    return f"{{bot}}:rate:{kind}:{name}"
