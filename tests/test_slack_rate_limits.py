"""Slack's limits: no process asks more often than it has to, and no minute has more calls than allowed."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.chat import Permit
from bot.slack import rate_limits
from bot.slack.rate_limits import PER_MINUTE, RateLimits
from bot.storage.coordination import RedisCoordination
from tests.support.rate_limits import age

BEGIN, START, STOP = "agents.sessions.setStatus", "chat.startStream", "chat.stopStream"


class Asked(RedisCoordination):
    """Coordination that counts the requests about limits."""

    requests = 0

    async def take(self, *args: Any, **options: Any) -> tuple[float, Sequence[Permit]]:
        """Count the request."""
        self.requests += 1
        return await super().take(*args, **options)


@pytest.fixture
def one(redis: Redis) -> Asked:
    """One process."""
    return Asked(redis, "one")


@pytest.fixture
def two(redis: Redis) -> Asked:
    """Another process."""
    return Asked(redis, "two")


class Clock:
    """Clock of the processes, which the test sets forward."""

    ahead = 0.0

    def monotonic(self) -> float:
        """Return the time."""
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock for the validity of permits."""
    clock = Clock()
    monkeypatch.setattr(rate_limits, "time", clock)
    return clock


async def test_a_short_answer_asks_once(one: Asked) -> None:
    """A long one asks again for what comes late."""
    limits = RateLimits(one)
    for method in (BEGIN, START, STOP):
        assert await limits.delay("T1", method) == 0
    assert one.requests == 1
    assert await limits.delay("T2", START) == await limits.delay("T2", STOP) == 0
    assert one.requests == 2
    assert await limits.delay("T1", STOP) == 0
    assert one.requests == 3


async def test_a_permit_is_for_one_call_in_its_time(one: Asked, clock: Clock) -> None:
    """Not for another workspace, and not for ever."""
    limits = RateLimits(one)
    await limits.delay("T1", BEGIN)
    await limits.delay("T2", START)
    assert one.requests == 2
    clock.ahead = 5
    await limits.delay("T1", START)
    assert one.requests == 3


async def test_what_an_answer_did_not_use_is_there_for_others(one: Asked, two: Asked, clock: Clock) -> None:
    """As soon as its process asks for anything."""
    per_minute = {**PER_MINUTE, START: 1, STOP: 1}
    limits, others = RateLimits(one, per_minute), RateLimits(two, per_minute)
    await limits.delay("T1", BEGIN)
    assert await others.delay("T1", START) > 0
    clock.ahead = 5
    assert await others.delay("T1", START) > 0
    await limits.delay("T1", "chat.appendStream")
    assert await others.delay("T1", START) == await others.delay("T1", STOP) == 0
    assert await limits.delay("T1", START) > 0


async def test_a_stream_that_is_not_allowed_takes_no_end_from_others(one: Asked, two: Asked) -> None:
    """Nor does a session that is not allowed take a stream."""
    limits = RateLimits(one, {**PER_MINUTE, BEGIN: 1, START: 2})
    for _ in range(30):
        await limits.delay("T1", BEGIN)
    assert await limits.delay("T1", START) == 0  # with the session's permit
    assert await limits.delay("T1", START) == 0
    assert await limits.delay("T1", START) > 0
    ends = [await RateLimits(two).delay("T1", STOP) for _ in range(PER_MINUTE[STOP] - 2)]
    assert not any(ends)


async def test_the_reading_of_history_leaves_turns_some_calls(one: Asked, two: Asked) -> None:
    """Fault: turns that looked for their answers after crashes were not counted, and broke Slack's limit."""
    method, history, turns = "conversations.replies", RateLimits(one), RateLimits(two)
    read = [await history.delay("T1", method) for _ in range(PER_MINUTE[method] + 1)]
    assert (sum(not each for each in read), read[-1] > 0) == (40, True)
    found = [await turns.delay("T1", method, is_urgent=True) for _ in range(9)]
    assert (sum(not each for each in found), found[-1] > 0) == (8, True), "48 of 50 together"


async def test_calls_of_turns_count_for_the_reading_of_history(one: Asked) -> None:
    method, limits = "conversations.replies", RateLimits(one)
    found = [await limits.delay("T1", method, is_urgent=True) for _ in range(PER_MINUTE[method])]
    assert not any(found)
    assert await limits.delay("T1", method) > 0


async def test_without_redis_nothing_is_permitted_in_advance(one: Asked, redis: Redis) -> None:
    """Each call is tried, and Slack refuses what is too much."""
    limits = RateLimits(one)
    await redis.set("{bot}:limit:slack:T1", "not what it should be")
    for method in (BEGIN, START, STOP):
        assert await limits.delay("T1", method) == 0
    assert one.requests == 3


SEEDS = range(3)


@pytest.mark.parametrize("seed", SEEDS)
async def test_no_minute_has_more_calls_than_allowed_of_all_processes(
    redis: Redis, clock: Clock, seed: int
) -> None:
    """However long answers take, and whether they use their permits or not; in a quiet minute all return."""
    chance = random.Random(seed)
    most = {BEGIN: 4, START: 5, STOP: 5, "chat.appendStream": 9}
    processes = [RateLimits(RedisCoordination(redis, name), most) for name in ("one", "two", "three")]
    calls: dict[str, list[float]] = {method: [] for method in most}

    async def call(limits: RateLimits, method: str) -> bool:
        if allowed := not await limits.delay("T1", method):
            calls[method].append(clock.monotonic())
        return allowed

    async def pass_time(seconds: int) -> None:
        await age(redis, "slack:T1", seconds)
        clock.ahead += seconds

    for _ in range(250):
        limits = chance.choice(processes)
        method = chance.choice([BEGIN, BEGIN, START, STOP, "chat.appendStream"])
        await call(limits, method)
        await pass_time(chance.choice([0, 0, 0, 1, 2, 4, 8]))
    assert_within(most, calls)
    assert all(len(times) > most[method] for method, times in calls.items()), "the limits were reached"
    await pass_time(70)
    for method in (STOP, START):  # in this order: a start takes an end with it
        assert [await call(processes[0], method) for _ in range(most[method])].count(True) == most[method]


def assert_within(most: Mapping[str, int], calls: Mapping[str, Sequence[float]]) -> None:
    """Assert that no 60 seconds have more calls than allowed."""
    for method, times in calls.items():
        periods = [late - early for early, late in zip(times, times[most[method] :], strict=False)]
        assert all(period >= 60 for period in periods), (method, min(periods))


async def test_at_once_in_two_processes_no_more_are_allowed(one: Asked, two: Asked) -> None:
    """Counting and deciding are one step, also for what is permitted in advance."""
    both = [RateLimits(one), RateLimits(two)]
    methods = [BEGIN, START, START, STOP]
    waits = await asyncio.gather(
        *(both[index // 4 % 2].delay("T1", methods[index % 4]) for index in range(320))
    )
    allowed = dict.fromkeys(methods, 0)
    for index, seconds in enumerate(waits):
        allowed[methods[index % 4]] += not seconds
    assert allowed[BEGIN] == PER_MINUTE[BEGIN]
    assert 0 < allowed[START] <= PER_MINUTE[START]
    assert 0 < allowed[STOP] <= PER_MINUTE[STOP]
