"""Fair shares against a real Redis: one person and one channel never take all turns of a process."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from bot.chat import Halt, Message, Receipt, Stop, ThreadId, Turn
from bot.concurrency.tasks import cancel
from bot.inbox import (
    Inbox,
    Lookup,
    Work,
    keys,
    queries,
    serve,
)
from bot.inbox.fair_queue import ROOM, FairQueue
from bot.inbox.lease import Lease
from tests.support.inbox import Slow, an_inbox
from tests.support.wait import wait_until


def a_message(text: str, author: str = "test:ada", channel: str = "", thread: str = "") -> Message:
    return Message(
        id=f"test:{thread or text}:{text}",
        thread=ThreadId("test", "space", thread or text),
        author=author,
        text=text,
        sent_at=1.0,
        addressed=True,
        channel=channel or f"of {author}",
    )


@asynccontextmanager
async def serving(
    redis: Redis, work: Work, *, limit: int, user: int = 3, channel: int = 5, lease_seconds: float = 5.0
) -> AsyncIterator[Inbox]:
    """A process at work, which is stopped in the end."""
    stop, inbox = asyncio.Event(), an_inbox(redis)
    async with Lookup(redis).news("stop") as stops, asyncio.TaskGroup() as group:
        group.create_task(
            serve(
                inbox,
                work,
                limit=limit,
                lease_seconds=lease_seconds,
                grace=5,
                stop=stop,
                stops=stops,
                user_turns=user,
                channel_turns=channel,
            )
        )
        try:
            yield inbox
        finally:
            stop.set()


async def leased(redis: Redis) -> int:
    return len(await queries.leased_threads(redis))


async def test_two_slow_turns_of_one_person_leave_a_worker_for_others(redis: Redis) -> None:
    """With two workers, the second turn of that person waits for the first, and not the other person."""
    slow = Slow()
    async with serving(redis, slow, limit=2) as inbox:
        for text in ("one", "two"):
            await inbox.put(a_message(text))
        await wait_until(lambda: slow.running == ["one"] and _are_leased(redis, 2), "both are leased")
        await inbox.put(a_message("other", "test:bob"))
        await wait_until(lambda: "other" in slow.begun, "the other person has a turn")
        assert sorted(slow.running) == ["one", "other"]
        slow.end("other")
        slow.end("one")
        await wait_until(lambda: "two" in slow.begun, "the second one begins")
        slow.end_all()
    assert slow.attempts == {"one": 1, "other": 1, "two": 1}


async def test_people_of_one_channel_leave_a_worker_for_others(redis: Redis) -> None:
    """However many people write in it."""
    slow = Slow()
    async with serving(redis, slow, limit=3, channel=5) as inbox:
        for number in range(6):
            await inbox.put(a_message(f"{number}", f"test:{number}", "busy"))
        await inbox.put(a_message("other", "test:bob", "calm"))
        await wait_until(lambda: len(slow.running) == 3, "each worker has a turn")
        assert "other" in slow.running
        slow.end_all()
        await wait_until(lambda: len(slow.ended) == 7, "all are answered")


@pytest.mark.parametrize("floods", [["test:ada"], ["test:ada", "test:eve"]])
async def test_a_flood_in_many_threads_delays_others_by_no_more_than_one_turn(
    redis: Redis, floods: list[str]
) -> None:
    """500 messages of one person wait when another one asks: at most one turn ends before that one begins."""
    slow, many = Slow(), 500 if len(floods) == 1 else 150
    inbox = an_inbox(redis)
    for number in range(many):
        await inbox.put(a_message(f"{number}", floods[number % len(floods)]))
    async with serving(redis, slow, limit=4):
        await wait_until(lambda: len(slow.running) == (3 if len(floods) == 1 else 4), "the flood is at work")
        await inbox.put(a_message("other", "test:bob"))
        if len(floods) > 1:
            await wait_until(lambda: _is_leased(redis, "other"), "it waits for the next turn")
            slow.end(slow.running[0])
        await wait_until(lambda: "other" in slow.begun, "the other person has a turn")
        assert len(slow.ended) == len(floods) - 1
        slow.end_all()
        await wait_until(lambda: len(slow.ended) == many + 1, "all are answered")
    assert set(slow.attempts.values()) == {1}
    assert not await redis.exists(keys.LATER)


async def _is_leased(redis: Redis, text: str) -> bool:
    return str(a_message(text).thread) in await queries.leased_threads(redis)


async def test_nothing_that_waits_for_its_share_is_lost_when_the_process_dies(redis: Redis) -> None:
    """It is taken back by the next start, and no turn that never began counts as crashed."""
    slow, dead = Slow(), Slow()
    inbox = an_inbox(redis)
    for number in range(8):
        await inbox.put(a_message(f"{number}"))
    async with Lookup(redis).news("stop") as stops:
        process = asyncio.create_task(
            serve(
                inbox,
                dead,
                limit=2,
                lease_seconds=5,
                grace=5,
                stop=asyncio.Event(),
                stops=stops,
                user_turns=3,
            )
        )
        await wait_until(lambda: _are_leased(redis, 8), "all are leased")
        await cancel(process)  # it hands nothing over
    assert await _are_leased(redis, 8)
    async with serving(redis, slow, limit=2):
        slow.end_all()
        await wait_until(lambda: len(slow.ended) == 8, "all are answered")
    assert slow.attempts == {"0": 2} | {f"{number}": 1 for number in range(1, 8)}


async def _are_leased(redis: Redis, count: int) -> bool:
    return await leased(redis) == count


async def test_what_waits_for_its_share_is_handed_over_at_a_stop(redis: Redis) -> None:
    """Another process can take it at once, while the turn under way ends here."""
    slow = Slow()
    async with serving(redis, slow, limit=2) as inbox:
        for number in range(4):
            await inbox.put(a_message(f"{number}"))
        await wait_until(lambda: _are_leased(redis, 4), "all are leased")
        slow.end_all()
    other = an_inbox(redis, "two")
    await other.enter()
    left = [lease.thread for lease in await other.lease(10, 1)]
    assert len(left) + len(slow.ended) == 4
    assert all(attempt == 1 for attempt in slow.attempts.values())


async def test_leases_that_wait_for_their_share_are_kept(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are renewed with those of the turns under way, so that nobody takes them over."""
    slow, renewed = Slow(), []
    renew = Inbox.renew

    async def noted(inbox: Inbox, turns: Mapping[Lease, str]) -> tuple[list[Lease], set[str]]:
        lost, stopped = await renew(inbox, turns)
        renewed.append((len(turns), lost))
        return lost, stopped

    monkeypatch.setattr(Inbox, "renew", noted)
    async with serving(redis, slow, limit=2, lease_seconds=0.5) as inbox:
        for number in range(3):
            await inbox.put(a_message(f"{number}"))
        await wait_until(lambda: renewed.count((3, [])) >= 10, "renewed for longer than a lease")
        slow.end_all()
        await wait_until(lambda: len(slow.ended) == 3, "all are answered")
    assert slow.attempts == {"0": 1, "1": 1, "2": 1}


async def test_what_waits_for_its_share_can_be_stopped_and_keeps_the_order_of_its_thread(
    redis: Redis,
) -> None:
    """Messages of one thread are one turn after the other; one that is stopped meanwhile knows it."""
    slow = Slow()
    halted: list[str] = []

    async def work(turn: Turn, receipt: Receipt, halt: Halt) -> None:
        if halt.done():
            halted.append(turn.messages[0].text)
        else:
            await slow(turn, receipt, halt)

    async with serving(redis, work, limit=2) as inbox:
        await inbox.put(a_message("first"))
        await wait_until(lambda: "first" in slow.begun, "at work")
        await inbox.put(a_message("stopped"))
        await inbox.put(a_message("a", thread="t"))
        await wait_until(lambda: _are_leased(redis, 3), "all are leased")
        await inbox.put(a_message("b", thread="t"))
        assert await inbox.stop(Stop(by="test:ada", thread=a_message("stopped").thread)) == 1
        slow.end_all()
        await wait_until(lambda: "a" in slow.ended, "answered")
    assert halted == ["stopped"]
    assert slow.begun == ["first", "a"]


async def test_an_entry_of_an_older_version_is_served(redis: Redis) -> None:
    """It does not name its owner, and has no bound."""
    slow = Slow()
    inbox = an_inbox(redis)
    for number in range(3):
        await inbox.put(a_message(f"{number}"))
    await redis.delete(keys.READY)
    for number in range(3):
        await redis.xadd(keys.READY, {"thread": str(a_message(f"{number}").thread)})
    async with serving(redis, slow, limit=3):
        await wait_until(lambda: len(slow.running) == 3, "all at work")
        slow.end_all()


def test_callers_that_cannot_be_told_apart_share_all_turns_but_one() -> None:
    """HTTP's callers are one author to us, but they are not one person."""
    queue = FairQueue(10, user=3, channel=5)
    for number in range(20):
        assert queue.add(Lease(f"{number}", f"t{number}", "http:api", "http:api"))
    assert len([queue.next() for _ in range(9)]) == 9
    assert queue.next() is None
    assert queue.add(Lease("20", "t20", "slack:U1", "slack:C1"))
    assert queue.next() == Lease("20", "t20", "slack:U1", "slack:C1")


def test_one_worker_serves_everybody_in_order() -> None:
    queue = FairQueue(1, user=3, channel=5)
    ada, bob = (Lease(name, name, name, "channel") for name in ("ada", "bob"))
    assert queue.add(ada)
    assert queue.next() == ada
    assert queue.add(bob)
    assert queue.next() is None
    queue.end(ada)
    assert queue.next() == bob


def test_the_room_for_leases_is_bounded_and_always_has_a_place_for_a_newcomer() -> None:
    queue = FairQueue(2, user=3, channel=5)
    flood = [Lease(f"{number}", f"t{number}", "ada", "channel") for number in range(50)]
    taken = []
    for lease in flood:
        taken.append(queue.add(lease))
        queue.next()
    assert sum(taken) == 2 * ROOM + 1
    assert queue.add(Lease("new", "new", "bob", "other"))


def test_a_place_is_reserved_only_for_who_overtakes_nobody() -> None:
    """The last turn stays free for a lease that a reader of Redis may get at any time."""
    queue = FairQueue(4, user=2, channel=3)
    wishes = [Lease("", f"thread {number}", "test:ada", "channel") for number in range(3)]
    assert [queue.reserve(each) for each in wishes] == [True, True, False]
    assert queue.reserve(Lease("", "another", "test:bob", "channel"))
    assert not queue.reserve(Lease("", "yet another", "test:eve", "elsewhere"))
    assert queue.free == 1
    for each in wishes[:2]:
        queue.end(each)
    assert queue.reserve(wishes[0])
    assert not queue.reserve(wishes[0])
    assert queue.add(Lease("1-0", "thread", "test:carol", "elsewhere"))
    assert not queue.reserve(wishes[1])
