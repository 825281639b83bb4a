"""Receipts: what is only noted is stored in time, once, and never over something newer."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.chat import Halt, Json, LeaseLost, Receipt, ThreadId, Turn, Unreachable
from bot.inbox import Inbox, Lookup, Work, keys, serve
from tests.support.inbox import a_message, an_inbox, begin
from tests.support.wait import wait_until


class Keeper:
    """Store of a receipt; it fails while `error` is set."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Any]] = []
        self.replicated: list[dict[str, Any]] = []
        self.error: Exception | None = None
        self.checks = 0

    async def keep(self, state: Any) -> None:
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        self.kept.append(dict(state))

    async def check(self) -> None:
        self.checks += 1

    def receipt(self) -> Receipt:
        turn = Turn(id="1", thread=ThreadId("t", "s", "c"), messages=())
        return Receipt(turn, self.keep, {}, self.check, lambda state: self.replicated.append(dict(state)))


async def test_what_is_noted_is_stored_before_the_next_visible_change() -> None:
    """Once; the memory of the process has it at once."""
    keeper = Keeper()
    receipt = keeper.receipt()
    receipt.note(a=1)
    receipt.note(b=2)
    assert (keeper.kept, keeper.replicated) == ([], [{"a": 1}, {"a": 1, "b": 2}])
    await receipt.check()
    assert keeper.kept == []
    for _ in range(2):
        await receipt.hold()
    assert (keeper.kept, keeper.checks) == ([{"a": 1, "b": 2}], 3), "also after a write, which may take long"


async def test_what_the_next_attempt_finds_by_itself_is_stored_with_the_next_write() -> None:
    """Of the turn, or at the end of the attempt; a visible change does not wait for it."""
    keeper = Keeper()
    receipt = keeper.receipt()
    receipt.note_findable(a=1)
    await receipt.hold()
    assert (keeper.kept, keeper.replicated, keeper.checks) == ([], [{"a": 1}], 1)
    async with receipt.take_notes() as state:
        assert state == {"a": 1}, "a checkpoint stores it, too"
    receipt.note(b=2)
    keeper.error = LeaseLost()
    with pytest.raises(LeaseLost):
        await receipt.hold()
    keeper.error = None
    for _ in range(2):
        await receipt.flush()
    receipt.note_findable(c=3)
    for _ in range(2):
        await receipt.flush()
    assert keeper.kept == [{"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}]


async def test_what_is_noted_is_stored_with_the_next_change_that_is_saved() -> None:
    keeper = Keeper()
    receipt = keeper.receipt()
    receipt.note(a=1)
    await receipt.save(b=2)
    await receipt.flush()
    assert keeper.kept == [{"a": 1, "b": 2}]


async def test_what_could_not_be_stored_is_stored_later() -> None:
    """Notes, and changes that were to be saved."""
    keeper = Keeper()
    receipt = keeper.receipt()
    receipt.note(a=1)
    keeper.error = LeaseLost()
    for attempt in (receipt.hold(), receipt.flush(), receipt.save(b=2)):
        with pytest.raises(LeaseLost):
            await attempt
    keeper.error = None
    await receipt.flush()
    assert keeper.kept == [{"a": 1, "b": 2}]


async def test_a_note_during_a_write_of_the_receipt_is_stored_after_it() -> None:
    keeper = Keeper()
    receipt = keeper.receipt()
    async with receipt.take_notes() as state:
        assert state is None
    receipt.note(a=1)
    async with receipt.take_notes() as state:
        assert state == {"a": 1}
        receipt.note(b=2)
        saving = asyncio.create_task(receipt.save(c=3))
        await asyncio.sleep(0)  # it comes to the lock in one step
        assert keeper.kept == [], "an older state would be stored last"
    await saving
    await receipt.flush()
    assert keeper.kept == [{"a": 1, "b": 2, "c": 3}]


async def test_a_receipt_that_is_only_read_stores_nothing() -> None:
    receipt = Receipt(Turn(id="1", thread=ThreadId("t", "s", "c"), messages=()), None)
    receipt.note(a=1)
    await receipt.hold()
    await receipt.save(b=2)
    assert receipt.state == {"a": 1, "b": 2}


MESSAGE = a_message("hello")


@asynccontextmanager
async def serving(redis: Redis, inbox: Inbox, work: Work) -> AsyncIterator[None]:
    """Run turns; at the end of the context there is no time for those under way."""
    stop = asyncio.Event()
    async with Lookup(redis).news("stop") as stops, asyncio.TaskGroup() as group:
        group.create_task(serve(inbox, work, limit=10, lease_seconds=60, grace=0, stop=stop, stops=stops))
        try:
            yield
        finally:
            stop.set()


async def stored(redis: Redis) -> Mapping[str, Json] | None:
    """Return the receipt in Redis."""
    return await Lookup(redis).receipt_of(MESSAGE.id)


async def test_a_turn_that_fails_stores_what_it_noted(redis: Redis) -> None:
    """So that the next attempt does not have to look for it."""

    async def fail(turn: Turn, receipt: Receipt, halt: Halt) -> None:
        receipt.note(pages=["17.1"])
        raise Unreachable("no answer")

    inbox = an_inbox(redis)
    await inbox.put(MESSAGE)

    async def is_postponed() -> bool:
        return await redis.zcard(keys.LATER) == 1

    async with serving(redis, inbox, fail):
        await wait_until(is_postponed, "it is postponed")
    assert await stored(redis) == {"pages": ["17.1"]}


async def test_a_turn_that_is_handed_over_stores_what_it_noted(redis: Redis) -> None:
    begun = asyncio.Event()

    async def hang(turn: Turn, receipt: Receipt, halt: Halt) -> None:
        receipt.note(pages=["17.1"])
        begun.set()
        await asyncio.Event().wait()

    inbox = an_inbox(redis)
    await inbox.put(MESSAGE)
    async with serving(redis, inbox, hang):
        await begun.wait()
    _, again = await begin(inbox)
    assert (again.receipt, again.has_crashed) == ({"pages": ["17.1"]}, False)


async def test_a_turn_that_has_lost_its_lease_does_not_store_what_it_noted(redis: Redis) -> None:
    begun = asyncio.Event()
    ended: list[BaseException] = []

    async def hang(turn: Turn, receipt: Receipt, halt: Halt) -> None:
        receipt.note(pages=["17.1"])
        begun.set()
        try:
            await asyncio.Event().wait()
        except BaseException as error:  # raised again; the cancellation is what is looked at
            ended.append(error)
            raise

    inbox, other = an_inbox(redis), an_inbox(redis, "two")
    await inbox.put(MESSAGE)
    async with serving(redis, inbox, hang):
        await begun.wait()
        await other.enter()
        [lease] = await other.take_over(0, 10)
        start = await other.begin(lease)
        assert start
        await other.keep(lease, start.turn, {"pages": ["18.1"]})
    assert ended
    assert await stored(redis) == {"pages": ["18.1"]}


@pytest.mark.parametrize("is_read", [True, False])
async def test_the_end_of_a_turn_stores_what_is_read_afterwards(redis: Redis, is_read: bool) -> None:
    """In the same step. What is for the next attempt alone is not stored, for there is none."""

    async def answer(turn: Turn, receipt: Receipt, halt: Halt) -> None:
        await receipt.save(begun=True)
        (receipt.note_result if is_read else receipt.note)(answer="yes")

    inbox = an_inbox(redis)
    await inbox.put(MESSAGE)

    async def has_ended() -> bool:
        return await redis.ttl(keys.turn(MESSAGE.id)) > 0

    async with serving(redis, inbox, answer):
        await wait_until(has_ended, "it has ended")
    assert await stored(redis) == {"begun": True, **({"answer": "yes"} if is_read else {})}


async def test_a_redis_that_came_back_empty_gets_what_was_noted(redis: Redis) -> None:
    """The memory of the process has it before Redis does."""
    inbox = an_inbox(redis)
    await inbox.put(MESSAGE)
    _, begun = await begin(inbox)
    inbox.replicate(begun.turn, {"pages": ["17.1"]})
    await redis.flushall()
    inbox.leave(begun.turn)
    assert await inbox.restore() == 1
    _, again = await begin(inbox)
    assert again.receipt == {"pages": ["17.1"]}
