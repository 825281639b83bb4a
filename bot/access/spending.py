"""Spending ledger in Redis, by day and account: shared by all processes, each step atomic.

An account is a name such as `user slack:U012AB`. A hold reserves the estimate of a running call; if the
process dies, the hold is released when it expires. Money is in millionths of the currency.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol

from redis.asyncio import Redis

from bot.storage.errors import storage_errors

KEPT_DAYS = 35
_TTL_SECONDS = KEPT_DAYS * 24 * 3600

WARNED_AT = 0.8
"""Share of a cap at which its users are warned."""

# A hold is {id, accounts, tokens, cost}; the sums over all holds stand beside them. Each hash is read with
# one command and written with one; it gets its expiry time with a new field, so that a new hash has it, too.
_COMMON = """
local function fields_of(accounts, names)
  local fields = {}
  for _, account in ipairs(accounts) do
    for _, name in ipairs(names) do fields[#fields + 1] = account .. '|' .. name end
  end
  return fields
end
local function read(key, fields)
  local numbers, has_new = {}, false
  if #fields == 0 then return numbers, has_new end
  for at, value in ipairs(redis.call('HMGET', key, unpack(fields))) do
    numbers[fields[at]] = tonumber(value or 0)
    has_new = has_new or not value
  end
  return numbers, has_new
end
local function write(key, numbers)
  local flat = {}
  for field, number in pairs(numbers) do
    flat[#flat + 1], flat[#flat + 2] = field, number
  end
  if #flat > 0 then redis.call('HSET', key, unpack(flat)) end
end
local function read_held(hold) return read(KEYS[2], fields_of(hold.accounts, {'tokens', 'cost'})) end
local function write_held(held, hold, sign)
  for _, account in ipairs(hold.accounts) do
    for _, unit in ipairs({'tokens', 'cost'}) do
      local field = account .. '|' .. unit
      held[field] = held[field] + sign * hold[unit]
    end
  end
  write(KEYS[2], held)
end
local function release(hold)
  if redis.call('ZREM', KEYS[3], hold) == 1 then
    hold = cjson.decode(hold)
    write_held(read_held(hold), hold, -1)
  end
end
local function spent(numbers, account, unit)
  if unit == 'cost' then return numbers[account .. '|cost'] end
  return numbers[account .. '|input'] + numbers[account .. '|output']
end
"""

# KEYS spent, held, holds | ARGV hold, seconds, ttl, then for each cap: account, unit, most
#   -> {0, 0} held | {place of the cap that is used up, from 1; what was spent of it}
_HOLD = (
    _COMMON
    + """
local now = tonumber(redis.call('TIME')[1])
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now)) do release(gone) end
local hold = cjson.decode(ARGV[1])
local held, has_new = read_held(hold)
local numbers = read(KEYS[1], fields_of(hold.accounts, {'input', 'output', 'cost'}))
for at = 4, #ARGV, 3 do
  local account, unit, most = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local used = spent(numbers, account, unit)
  if used + held[account .. '|' .. unit] >= most then return {(at - 1) / 3, used} end
end
write_held(held, hold, 1)
redis.call('ZADD', KEYS[3], now + ARGV[2], ARGV[1])
if has_new then redis.call('EXPIRE', KEYS[2], ARGV[3]) end
redis.call('EXPIRE', KEYS[3], ARGV[3])
return {0, 0}
"""
)

# KEYS spent, held, holds | ARGV hold or '', ttl, warned at, input, output, cost, number of accounts, the
# accounts, then for each cap of one of them: account, unit, most
#   -> for each cap of which now, and not before, so much is spent: its place, from 1; what was spent of it
_SETTLE = (
    _COMMON
    + """
if ARGV[1] ~= '' then release(ARGV[1]) end
local first = 8 + ARGV[7]
local accounts = {}
for at = 8, first - 1 do accounts[#accounts + 1] = ARGV[at] end
local names = {'input', 'output', 'cost', 'calls'}
local numbers, has_new = read(KEYS[1], fields_of(accounts, names))
local before = {}
for at = first, #ARGV, 3 do before[at] = spent(numbers, ARGV[at], ARGV[at + 1]) end
for _, account in ipairs(accounts) do
  for place, name in ipairs(names) do
    local field = account .. '|' .. name
    numbers[field] = numbers[field] + (name == 'calls' and 1 or tonumber(ARGV[3 + place]))
  end
end
write(KEYS[1], numbers)
if has_new then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
local told = {}
for at = first, #ARGV, 3 do
  local mark, after = ARGV[at + 2] * ARGV[3], spent(numbers, ARGV[at], ARGV[at + 1])
  if before[at] < mark and after >= mark then
    told[#told + 1] = (at - first) / 3 + 1
    told[#told + 1] = after
  end
end
return told
"""
)

# KEYS spent, held, holds | ARGV hold
_GIVE_BACK = _COMMON + "release(ARGV[1])"


Unit = Literal["tokens", "cost"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Usage of some calls: tokens read and written, and their price in millionths."""

    input: int = 0
    output: int = 0
    cost: int = 0
    calls: int = 0

    def of(self, unit: Unit) -> int:
        """Return the amount that a cap of that unit counts."""
        return self.cost if unit == "cost" else self.input + self.output


@dataclass(frozen=True, slots=True)
class Cap:
    """Maximum that an account can spend in a day."""

    account: str
    unit: Unit
    most: int


@dataclass(frozen=True, slots=True)
class CapReached:
    """Refusal of a hold: the index of the cap that is used up, and the amount spent of it."""

    index: int
    amount: int


class Counters(Protocol):
    """Sums in Redis."""

    async def increase(self, key: str, numbers: Mapping[str, int], ttl_seconds: int) -> None:
        """Add numbers to the fields of a hash, in a turn together with its next write.

        The hash expires `ttl_seconds` after it got a new field. Errors of redis-py pass through.
        """


class SpendingStore:
    """Ledger of all accounts. `day` is an ISO date; `hold_seconds` must exceed the duration of any call.

    With `counters`, usage under no cap is counted by them. All methods raise `StorageDown`.
    """

    def __init__(self, redis: Redis, hold_seconds: float, counters: Counters | None = None) -> None:
        self._redis = redis
        self._counters = counters
        self._hold_seconds = round(hold_seconds)
        self._hold = redis.register_script(_HOLD)
        self._settle = redis.register_script(_SETTLE)
        self._give_back = redis.register_script(_GIVE_BACK)

    async def hold(self, day: str, caps: Sequence[Cap], tokens: int, cost: int) -> str | CapReached:
        """Reserve an amount for a call under all caps, or under none; return the hold, which ends it."""
        accounts = sorted({cap.account for cap in caps})
        hold = json.dumps({"id": uuid.uuid4().hex, "accounts": accounts, "tokens": tokens, "cost": cost})
        with storage_errors():
            place, spent = await self._hold(
                keys=_keys(day), args=[hold, self._hold_seconds, _TTL_SECONDS, *_flat(caps)]
            )
        return CapReached(place - 1, spent) if place else hold

    async def give_back(self, day: str, hold: str) -> None:
        """Release a hold without spending anything."""
        with storage_errors():
            await self._give_back(keys=_keys(day), args=[hold])

    async def settle(
        self, day: str, hold: str, accounts: Sequence[str], usage: Usage, caps: Sequence[Cap]
    ) -> list[tuple[int, int]]:
        """Release a hold (if not empty) and count what was spent; `caps` are of some of the accounts.

        Returns the index and the spent amount of each cap that has just reached WARNED_AT.
        """
        if self._counters and not hold:  # nothing depends on the new sums
            used = asdict(replace(usage, calls=1))
            numbers = {
                f"{account}|{name}": number for account in accounts for name, number in used.items() if number
            }
            with storage_errors():
                await self._counters.increase(_keys(day)[0], numbers, _TTL_SECONDS)
            return []
        counted: list[int | str] = [usage.input, usage.output, usage.cost, len(accounts), *accounts]
        with storage_errors():
            told = await self._settle(
                keys=_keys(day), args=[hold, _TTL_SECONDS, WARNED_AT, *counted, *_flat(caps)]
            )
        return [(place - 1, usage) for place, usage in zip(told[::2], told[1::2], strict=True)]

    async def usage_of(self, day: str, account: str) -> Usage:
        """Return the amount that one account has spent."""
        names = Usage.__dataclass_fields__
        with storage_errors():
            values: Any = await self._redis.hmget(_keys(day)[0], [f"{account}|{name}" for name in names])
        return Usage(*(int(value or 0) for value in values))

    async def usage_of_month(self, day: str, account: str) -> Usage:
        """Return the amount that one account has spent from the first of a month to a day."""
        month, _, last = day.rpartition("-")
        fields = [f"{account}|{name}" for name in Usage.__dataclass_fields__]
        with storage_errors():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for number in range(1, int(last) + 1):
                    pipeline.hmget(_keys(f"{month}-{number:02}")[0], fields)
                days = await pipeline.execute()
        return Usage(*(sum(int(value or 0) for value in values) for values in zip(*days, strict=True)))

    async def usage_of_all(self, day: str) -> Mapping[str, Usage]:
        """Return the amount that each account has spent."""
        with storage_errors():
            fields: Any = await self._redis.hgetall(_keys(day)[0])
        accounts: dict[str, dict[str, int]] = {}
        for field, value in fields.items():
            account, _, name = field.decode().rpartition("|")
            accounts.setdefault(account, {})[name] = int(value)
        return {account: Usage(**counted) for account, counted in accounts.items()}

    async def usage_by_day(self, account: str) -> Mapping[str, Usage]:
        """Return the amount that one account has spent, by day, for all days that are still stored."""
        with storage_errors():
            days = [
                key.decode().rpartition(":")[2] async for key in self._redis.scan_iter(match=_keys("*")[0])
            ]
        spent = {day: await self.usage_of(day, account) for day in sorted(days)}
        return {day: each for day, each in spent.items() if each.calls}

    async def forget(self, accounts: Sequence[str], keep_day: str) -> None:
        """Remove the records of these accounts, except for those of `keep_day` (empty keeps none)."""
        fields = [
            f"{account}|{name}" for account in accounts for name in ("input", "output", "cost", "calls")
        ]
        with storage_errors():
            async for key in self._redis.scan_iter(match=_keys("*")[0]):
                if fields and key.decode() != _keys(keep_day)[0]:
                    await self._redis.hdel(key, *fields)


def _keys(day: str) -> list[str]:
    return [f"{{bot}}:{kind}:{day}" for kind in ("spent", "held", "holds")]


def _flat(caps: Sequence[Cap]) -> list[str | int]:
    return [value for cap in caps for value in (cap.account, cap.unit, cap.most)]
