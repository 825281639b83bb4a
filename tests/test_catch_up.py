"""Knowing what was heard: a connection that is deaf is found by what is in the history, by whomever it is."""

import time

import pytest
from redis.asyncio import Redis

from bot.chat import Deliver, Event, Unreachable
from bot.platforms import catch_up as gaps
from bot.platforms.catch_up import Gap
from bot.storage.coordination import SharedState
from tests.support.wait import wait_until


async def deliver(event: Event) -> None: ...


def reading(missed: float) -> gaps.Read:
    """A history whose oldest message that nobody has taken is so many seconds old."""

    async def read(since: float, active_since: float, deliver: Deliver) -> float:
        return missed

    return read


async def test_every_process_builds_its_connection_anew_when_one_is_deaf(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who finds it does not know whose it is. Built anew, a connection is not called deaf for that again."""
    one, two = (Gap(SharedState(redis, name), hours=24) for name in ("one", "two"))
    for each in (one, two):
        each.open("test:source", reading(missed=0))
        await each.close(deliver)
    one.open("test:source", reading(missed=300))
    await one.close(deliver)  # what was missed before the connection tells nothing about it
    monkeypatch.setattr(gaps, "SWEEP_SECONDS", 0)
    await one.close(deliver)
    monkeypatch.setattr(gaps, "SWEEP_SECONDS", 600)
    await two.close(deliver)
    for each in (one, two):
        with pytest.raises(Unreachable, match="connected, but what people write does not come"):
            await each.deaf()
        each.lost()
        each.open("test:source", reading(missed=0))
        await each.close(deliver)
        assert not each._is_deaf.is_set()


async def test_what_was_missed_counts_from_the_first_failure(redis: Redis) -> None:
    """A Redis that came back empty does not know until when all was heard, the process does."""
    asked: list[float] = []

    async def read(since: float, active_since: float, deliver: Deliver) -> float:
        asked.append(since)
        return 0

    gap = Gap(SharedState(redis, "one"), hours=24)
    gap.open("test:source", read)
    await gap.close(deliver)
    assert asked == [], "at the very first start the past is not read"
    failed_at = time.time()
    gap.missed()
    await wait_until(lambda: time.time() > failed_at + 0.05, "a moment later")
    gap.missed()
    await redis.flushall()
    await gap.close(deliver)
    (since,) = asked
    assert since == pytest.approx(failed_at - gaps.UNDERWAY_SECONDS, abs=0.04)
