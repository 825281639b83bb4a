"""Turns that begin with their message, where replies are late or lost, and places are taken meanwhile."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from bot.chat import Halt, Receipt, ThreadId, Turn
from bot.inbox import Inbox, queries
from bot.inbox.fair_queue import ROOM, FairQueue
from bot.inbox.lease import Lease
from bot.inbox.worker import _Worker
from tests.support.inbox import Slow, a_message, an_inbox, serving
from tests.support.wait import wait_until

_deliverer: ContextVar[str] = ContextVar("deliverer", default="")

Script = Callable[..., Any]


def replace_put(inbox: Inbox, change: Callable[[Script], Script]) -> None:
    """Let the script that stores messages run as changed."""
    inbox._intake._put = change(inbox._intake._put)  # type: ignore[assignment]


def hold_put(inbox: Inbox, gate: asyncio.Event) -> None:
    """Let the script run once the gate is open."""

    def held(put: Script) -> Script:
        async def run(**arguments: Any) -> Any:
            await gate.wait()
            return await put(**arguments)

        return run

    replace_put(inbox, held)


def a_desk(inbox: Inbox, work: Slow, *, limit: int = 3) -> _Worker:
    """A worker without its loops."""
    worker = _Worker(inbox, work, FairQueue(limit, user=1), 5, 3)
    worker._has_entered = True
    return worker


def a_wish(thread: str, author: str) -> Lease:
    return Lease("", f"test:space:{thread}", author, "c")


async def test_the_reader_wakes_up_when_a_turn_ends_that_was_reserved_as_it_fell_asleep(redis: Redis) -> None:
    """Fault: it waited for the turns of that moment only, and nobody read what came later."""
    inbox, other, work, gate = an_inbox(redis), an_inbox(redis, "other"), Slow(), asyncio.Event()
    async with serving(redis, inbox, work, lease_seconds=60):
        hold_put(inbox, gate)
        put = asyncio.create_task(inbox.put(a_message("held", "held")))
        for text in ("a", "b"):
            await other.put(a_message(text, text))
            await wait_until(partial(work.has_begun, text), "it has begun")
        await other.put(a_message("c", "c"))
        await wait_until(lambda: _leased(redis, 3), "the newcomer waits in the process")
        gate.set()
        assert await put == "kept"
        for text in ("held", "c"):
            await wait_until(partial(work.has_begun, text), "it has begun")
            work.end(text)
        await wait_until(lambda: {"held", "c"} <= set(work.ended), "two places are left")
        await other.put(a_message("d", "d"))
        await wait_until(lambda: "d" in work.begun, "it is read beside the long turns")
        assert work.running == ["a", "b", "d"]


async def _leased(redis: Redis, most: int) -> bool:
    return len(await queries.leased_threads(redis)) == most


async def test_a_reader_takes_no_more_than_there_are_places_when_its_reply_comes(redis: Redis) -> None:
    """Fault: it read as many as were free when it began to wait, and kept them from an idle process."""
    first, second, third = (an_inbox(redis, name) for name in ("one", "two", "three"))
    busy, idle = Slow(), Slow()
    await third.enter()
    for number in range(4):
        await third.put(a_message("x", f"from{number}"))
    assert len(await third.lease(4, 1)) == 4
    async with serving(redis, first, busy, limit=5), serving(redis, second, idle, limit=5):
        for number in range(4):
            await first.put(a_message("x", f"own{number}"))
        await wait_until(lambda: len(busy.begun) == 4, "one place is left")
        await third.hand_over()
        await wait_until(lambda: len(busy.begun + idle.begun) >= 7, "all run but one that may wait")
        assert len(idle.begun) >= 2


async def test_a_lease_that_finds_no_room_goes_back(redis: Redis) -> None:
    """Fault: it was dropped until it expired."""
    inbox = an_inbox(redis)
    desk = a_desk(inbox, Slow())
    await inbox.enter()
    ada, bob = a_wish("a", "test:ada"), a_wish("b", "test:bob")
    assert desk.reserve(ada)
    assert desk.reserve(bob)
    await desk._enqueue([Lease(f"{number}-0", f"u{number}", "test:bob") for number in range(3 * ROOM)])
    await inbox.put(a_message("late", "late"))
    [lease] = await inbox.lease(1, 1)
    await desk.settle(ada, Lease(lease.entry, lease.thread, "test:bob"))
    assert not await queries.leased_threads(redis)
    assert await inbox.wake() == 1


async def test_a_lease_that_is_known_already_is_taken_once(redis: Redis) -> None:
    inbox, work = an_inbox(redis), Slow()
    await inbox.enter()
    desk = a_desk(inbox, work)
    await inbox.put(a_message("hello"))
    leases = await inbox.lease(1, 1)
    wish = a_wish("t1", "test:ada")
    assert desk.reserve(Lease("", "other", "test:bob"))
    assert desk.reserve(wish)
    await desk._enqueue([Lease(leases[0].entry, leases[0].thread)])
    await desk.settle(wish, Lease(leases[0].entry, leases[0].thread))
    await wait_until(lambda: bool(work.begun), "the turn has begun")
    assert not len(desk._queue)
    assert len(desk._running) == 1
    work.end_all()
    await wait_until(lambda: not desk._running, "the turn has ended")
    assert work.begun == ["hello"]


async def test_a_message_that_is_stored_after_the_stop_is_handed_over(redis: Redis) -> None:
    """Fault: its thread waited until the process had finished its other turns."""
    inbox, other, gate = an_inbox(redis), an_inbox(redis, "other"), asyncio.Event()
    work, others = Slow(), Slow()
    async with (
        serving(redis, inbox, work, lease_seconds=60) as stop,
        serving(redis, other, others, lease_seconds=60),
    ):
        await inbox.put(a_message("long", "long"))
        await wait_until(lambda: bool(work.begun), "the turn has begun")
        hold_put(inbox, gate)
        put = asyncio.create_task(inbox.put(a_message("late", "late")))
        await asyncio.sleep(0)
        stop.set()
        await wait_until(lambda: _is_draining(inbox), "it takes nothing any more")
        gate.set()
        assert await put == "kept"
        await wait_until(lambda: others.begun == ["late"], "another process has it", 4)
        assert work.running == ["long"]
        assert others.turns[0].crashes == 0


def _is_draining(inbox: Inbox) -> bool:
    desk = inbox._intake.desk
    assert isinstance(desk, _Worker)
    return desk._is_draining


def _twice(put: Script) -> Script:
    """As redis-py does if the connection breaks before the reply."""

    async def run(**arguments: Any) -> Any:
        await put(**arguments)
        return await put(**arguments)

    return run


def _unheard(put: Script) -> Script:
    async def run(**arguments: Any) -> Any:
        await put(**arguments)
        raise RedisConnectionError

    return run


def _cancelled(put: Script) -> Script:
    async def run(**arguments: Any) -> Any:
        await put(**arguments)
        raise asyncio.CancelledError

    return run


@pytest.mark.parametrize("change", [_twice, _unheard, _cancelled])
async def test_a_lease_whose_reply_was_lost_is_found_before_it_expires(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, change: Callable[[Script], Script]
) -> None:
    """Fault: its turn began when the lease had expired, and counted a crash if another process began it."""
    inbox, work = an_inbox(redis), Slow()

    async def nothing(idle_ms: int, count: int) -> list[Lease]:
        return []

    monkeypatch.setattr(inbox, "take_over", nothing)  # no lease expires
    async with serving(redis, inbox, work, lease_seconds=2):
        replace_put(inbox, change)
        put = asyncio.create_task(inbox.put(a_message("hello")))
        await asyncio.wait([put])
        await wait_until(lambda: bool(work.begun), "the turn has begun", 5)
        [turn] = work.turns
        assert (turn.attempt, turn.crashes) == (2, 0)


async def test_a_turn_inherits_nothing_of_who_delivered_a_message(redis: Redis) -> None:
    """Neither the one that begins with a message, nor the next one in its place."""
    inbox, seen = an_inbox(redis), []

    class Reader(Slow):
        async def __call__(self, turn: Turn, receipt: Receipt, halt: Halt) -> None:
            seen.append(_deliverer.get())
            await super().__call__(turn, receipt, halt)

    work = Reader()
    async with serving(redis, inbox, work):
        _deliverer.set("somebody")
        for number in range(6):
            await inbox.put(a_message("hello", f"t{number}"))
        work.end_all()
        await wait_until(lambda: len(seen) == 6, "all turns have begun")
    assert seen == [""] * 6


async def test_a_thread_counts_as_beginning_until_the_last_request_has_its_reply(redis: Redis) -> None:
    """Fault: the first reply took it from a hang that the others could still be charged with."""
    inbox = an_inbox(redis)
    desk = a_desk(inbox, Slow())
    ada, bob = a_wish("t1", "test:ada"), a_wish("t1", "test:bob")
    assert desk.reserve(ada)
    assert desk.reserve(bob)
    await desk.settle(ada)
    assert list(inbox.beginning) == ["test:space:t1"]
    await desk.settle(bob)
    assert not inbox.beginning


async def test_the_turns_of_a_space_are_found_without_reading_what_waits(redis: Redis) -> None:
    """Fault: a vote over HTTP for an unknown answer read every thread that waited."""
    inbox, space = an_inbox(redis), ThreadId("test", "space", "")
    await inbox.enter()
    for number in range(50):
        await inbox.put(a_message("hello", f"t{number}"))
    [lease] = await inbox.lease(1, 1)
    before = await _reads(redis)
    turns = await inbox.first_turns(space)
    assert turns == ["test:t0:hello"]
    assert lease.thread == "test:space:t0"
    assert await _reads(redis) - before == 2  # of the lease, and of its thread


async def _reads(redis: Redis) -> int:
    statistics = await redis.info("commandstats")
    return int(statistics.get("cmdstat_xrange", {}).get("calls", 0))
