"""Knowing what was heard: a connection that is deaf is found by what is in the history, by whomever it is."""

import time

import pytest
from redis.asyncio import Redis

from bot.chat import Deliver, Event, Unreachable
from bot.platforms import catch_up as module
from bot.platforms.catch_up import CatchUp
from bot.storage.coordination import RedisCoordination
from tests.support.wait import wait_until


async def deliver(event: Event) -> None: ...


def reading(missed: float) -> module.Read:
    """A history whose oldest message that nobody has taken is so many seconds old."""

    async def read(since: float, active_since: float, deliver: Deliver) -> float:
        return missed

    return read


async def test_every_process_builds_its_connection_anew_when_one_is_deaf(redis: Redis) -> None:
    """A finder does not know whose it is. Built anew, a connection is not called deaf for that again."""
    one = CatchUp(RedisCoordination(redis, "one"), hours=24, sweep_seconds=0)
    two = CatchUp(RedisCoordination(redis, "two"), hours=24, sweep_seconds=600)
    for each in (one, two):
        each.mark_connected("test:source", reading(missed=0))
        await each.run(deliver)
    one.mark_connected("test:source", reading(missed=300))
    await one.run(deliver)  # what was missed before the connection tells nothing about it
    await one.run(deliver)
    await two.run(deliver)
    for each in (one, two):
        with pytest.raises(Unreachable, match="connected, but no messages arrive"):
            await each.wait_until_deaf()
        each.mark_lost()
        each.mark_connected("test:source", reading(missed=0))
        await each.run(deliver)
        assert not each._is_deaf.is_set()


async def test_what_was_missed_counts_from_the_first_failure(redis: Redis) -> None:
    """A Redis that came back empty does not know until when all was heard, the process does."""
    asked: list[float] = []

    async def read(since: float, active_since: float, deliver: Deliver) -> float:
        asked.append(since)
        return 0

    catch_up = CatchUp(RedisCoordination(redis, "one"), hours=24)
    catch_up.mark_connected("test:source", read)
    await catch_up.run(deliver)
    assert asked == [], "at the very first start the past is not read"
    failed_at = time.time()
    catch_up.mark_missed()
    await wait_until(lambda: time.time() > failed_at + 0.05, "a moment later")
    catch_up.mark_missed()
    await redis.flushall()
    await catch_up.run(deliver)
    (since,) = asked
    assert since == pytest.approx(failed_at - module.UNDERWAY_SECONDS, abs=0.04)
