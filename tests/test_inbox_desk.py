"""Turns that begin in the step that stores their message, where a worker of the process has a place."""

import asyncio

import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from bot.inbox import keys, queries
from tests.support.inbox import Desk, Slow, a_message, an_inbox, serving
from tests.support.wait import wait_until


async def test_a_message_begins_its_turn_as_it_is_stored(redis: Redis) -> None:
    """Only a thread without a turn has one; what comes meanwhile waits as ever."""
    inbox, work = an_inbox(redis), Slow()
    async with serving(redis, inbox, work):
        assert await inbox.put(a_message("hello")) == "kept"
        assert await queries.leased_threads(redis) == {"test:space:t1": inbox.consumer}
        await wait_until(lambda: bool(work.begun), "the turn has begun")
        assert await inbox.put(a_message("more")) == "kept"  # waits for the turn
        assert await inbox.put(a_message("hello")) == "duplicate"
        work.end_all()
        await wait_until(lambda: len(work.begun) == 2, "the next turn has begun")
    assert [[each.text for each in turn.messages] for turn in work.turns] == [["hello"], ["more"]]
    assert {(turn.attempt, turn.crashes) for turn in work.turns} == {(1, 0)}
    assert not await redis.exists(keys.ACTIVE, keys.LATER)
    assert not await redis.xlen(keys.READY)


async def test_more_messages_at_once_than_there_are_turns(redis: Redis) -> None:
    """Each is answered once, whichever way it came to the worker."""
    inbox, work = an_inbox(redis), Slow()
    async with serving(redis, inbox, work):
        put = (inbox.put(a_message("hello", f"t{number}")) for number in range(12))
        assert set(await asyncio.gather(*put)) == {"kept"}
        await wait_until(lambda: len(work.begun) == 3, "all turns are taken")
        work.end_all()
        await wait_until(lambda: len(work.begun) == 12, "all are answered")
    assert len({turn.id for turn in work.turns}) == 12
    assert {turn.attempt for turn in work.turns} == {1}


async def test_a_thread_that_has_waited_for_longer_comes_first(redis: Redis) -> None:
    """The message that has just come waits in its place, without a turn."""
    inbox = an_inbox(redis)
    await inbox.enter()
    await inbox.put(a_message("first", "t1"))
    desk = Desk(inbox.consumer)
    with inbox.open_desk(desk):
        assert await inbox.put(a_message("second", "t2")) == "kept"
    assert desk.lease
    assert desk.lease.thread == "test:space:t1"
    assert desk.begun is None
    [waiting] = await inbox.lease(5, 1)
    assert waiting.thread == "test:space:t2"
    begun = await inbox.begin(waiting)
    assert begun
    assert begun.turn.attempt == 1


async def test_a_redis_that_came_back_empty_keeps_the_message(redis: Redis) -> None:
    """It has no group to lease from; the message waits until there is one."""
    inbox = an_inbox(redis)
    desk = Desk(inbox.consumer)
    with inbox.open_desk(desk):
        assert await inbox.put(a_message("hello")) == "kept"
    assert desk.lease is None
    assert not desk.is_reserved
    await inbox.ensure_group()
    assert await inbox.lease(1, 1)


async def test_a_full_redis_stores_nothing_and_frees_the_place(redis: Redis) -> None:
    inbox = an_inbox(redis)
    await inbox.enter()
    desk = Desk(inbox.consumer)
    await redis.config_set("maxmemory", 1)
    try:
        with inbox.open_desk(desk), pytest.raises(OutOfMemoryError):
            await inbox.put(a_message("hello"))
    finally:
        await redis.config_set("maxmemory", 0)
    assert not desk.is_reserved
    assert not await redis.exists(keys.ACTIVE)


async def test_a_process_that_stops_begins_no_turn(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """A message that comes while it finishes the others waits for another process."""
    inbox, work = an_inbox(redis), Slow()
    async with serving(redis, inbox, work) as stop:
        await inbox.put(a_message("hello", "t1"))
        await wait_until(lambda: bool(work.begun), "the turn has begun")
        with caplog.at_level("INFO"):
            stop.set()
            await wait_until(lambda: "turns draining" in caplog.text, "it takes nothing any more")
        await inbox.put(a_message("hello", "t2"))
        assert set(await queries.leased_threads(redis)) == {"test:space:t1"}
    assert len(work.begun) == 1
    other = an_inbox(redis, "other")
    await other.enter()
    [lease] = await other.lease(5, 1)
    assert lease.thread == "test:space:t2"


async def test_the_next_start_continues_a_turn_that_died_with_its_process(redis: Redis) -> None:
    inbox = an_inbox(redis)
    await inbox.enter()
    desk = Desk(inbox.consumer)
    with inbox.open_desk(desk):
        await inbox.put(a_message("hello"))
    assert desk.begun
    again = an_inbox(redis)
    [lease] = await again.enter()
    begun = await again.begin(lease)
    assert begun
    assert (begun.turn.attempt, begun.turn.crashes, begun.has_crashed) == (2, 1, True)
