"""Writes behind a lease: they pass while it is held, and change nothing once it is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from bot.agent.memory import ThreadMemory
from bot.chat import LeaseLost, Message, Receipt, ThreadId
from bot.inbox import FencedRedis, Inbox, Lookup, keys
from bot.inbox.fence import FencingToken, fence_turn, use_fence
from tests.support.inbox import an_inbox, begin
from tests.support.wait import wait_until

MESSAGE = Message(
    id="m1", thread=ThreadId("test", "space", "t1"), author="test:ada", text="hi", sent_at=1, addressed=True
)


async def a_fence(redis: Redis) -> FencingToken:
    """That of a turn under way."""
    inbox = Inbox(redis, name="one", follow_days=1)
    await inbox.put(MESSAGE)
    (lease,) = await inbox.enter() + await inbox.lease(1, 1)
    return inbox.fence(lease)


async def take_over(redis: Redis) -> None:
    """Another process takes the turn."""
    other = Inbox(redis, name="two", follow_days=1)
    await other.enter()
    assert len(await other.take_over(0, 10)) == 1


async def dump(redis: Redis) -> dict[bytes, bytes | None]:
    """All that Redis holds, but for the inbox."""
    keys = [key async for key in redis.scan_iter() if not key.startswith(b"{bot}")]
    return {key: await redis.dump(key) for key in keys}


async def run_pipeline(redis: Redis) -> list[Any]:
    pipe = redis.pipeline(transaction=False)
    pipe.json().set("j", "$", {"a": [1, None, "ü"]})
    pipe.zadd("z", {"m": 1.5})
    pipe.expire("z", 100)
    pipe.get("s")
    return await pipe.execute()


WRITES: list[Callable[[Redis], Awaitable[Any]]] = [
    lambda redis: redis.set("s", "new"),
    lambda redis: redis.set("s", b"\x00\xff", ex=100),
    lambda redis: redis.zadd("z", {"m": 1.5}),
    lambda redis: redis.expire("s", 100),
    lambda redis: redis.delete("s"),
    lambda redis: redis.json().set("j", "$", {"a": 1}),
    run_pipeline,
]


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_behind_a_held_lease_is_like_any_other(
    redis: Redis, write: Callable[[Redis], Awaitable[Any]]
) -> None:
    """Its reply and its effect are the same."""
    await redis.set("s", "old")
    expected, after = await write(redis), await dump(redis)
    await redis.flushall()
    await redis.set("s", "old")
    with use_fence(await a_fence(redis)):
        assert await write(FencedRedis(redis)) == expected
    assert await dump(redis) == after


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_behind_a_lost_lease_changes_nothing(
    redis: Redis, write: Callable[[Redis], Awaitable[Any]]
) -> None:
    """It raises, and what Redis holds is what it held."""
    await redis.set("s", "old")
    fence = await a_fence(redis)
    await take_over(redis)
    before = await dump(redis)
    with use_fence(fence), pytest.raises(LeaseLost):
        await write(FencedRedis(redis))
    assert await dump(redis) == before
    with use_fence(fence):
        assert await FencedRedis(redis).get("s") == b"old"


async def test_an_error_of_a_command_is_raised_as_ever(redis: Redis) -> None:
    """Alone, in a pipeline, and in one that wants the errors as replies."""
    fenced = FencedRedis(redis)
    with use_fence(await a_fence(redis)):
        await fenced.set("s", "text")
        with pytest.raises(ResponseError):
            await fenced.zadd("s", {"m": 1})
        pipe = fenced.pipeline(transaction=False)
        pipe.zadd("s", {"m": 1})
        pipe.set("t", "after")
        failed, done = await pipe.execute(raise_on_error=False)
        assert isinstance(failed, ResponseError)
        assert done is True


async def a_receipt(redis: Redis) -> tuple[Receipt, FencingToken]:
    """That of a turn under way, and its fence."""
    inbox = an_inbox(redis)
    await inbox.put(MESSAGE)
    lease, begun = await begin(inbox)
    receipt = Receipt(begun.turn, partial(inbox.keep, lease, begun.turn))
    return receipt, inbox.fence(lease, receipt)


async def test_a_write_stores_what_the_receipt_has_noted(redis: Redis) -> None:
    """In the same step, once; the replies are those of the write."""
    receipt, fence = await a_receipt(redis)
    fenced = FencedRedis(redis)
    with use_fence(fence):
        await fenced.set("s", "1")
        assert await Lookup(redis).receipt_of(MESSAGE.id) == {}
        receipt.note(pages=["17.1"])
        pipe = fenced.pipeline()
        pipe.set("s", "2")
        pipe.incr("n")
        assert await pipe.execute() == [True, 1]
    assert not receipt.has_notes
    assert await Lookup(redis).receipt_of(MESSAGE.id) == {"pages": ["17.1"]}


async def test_a_write_that_fails_leaves_the_note_for_the_next_one(redis: Redis) -> None:
    """A lost lease, or a Redis that does not take the receipt."""
    receipt, fence = await a_receipt(redis)
    fenced = FencedRedis(redis)
    receipt.note(pages=["17.1"])
    stored = keys.turn(receipt.turn.id)
    await redis.rename(stored, "aside")
    await redis.set(stored, "of a wrong type")
    with use_fence(fence):
        assert await fenced.set("s", "1")
        assert receipt.has_notes
        await redis.rename("aside", stored)
        await take_over(redis)
        with pytest.raises(LeaseLost):
            await fenced.set("s", "2")
    assert receipt.has_notes
    assert await Lookup(redis).receipt_of(MESSAGE.id) == {}


async def test_outside_of_a_turn_nothing_is_held_back(redis: Redis) -> None:
    """The start makes indices, an operator writes keys: there is no lease to hold."""
    assert await FencedRedis(redis).set("s", "text")


async def test_a_checkpoint_of_a_lost_turn_changes_nothing(redis: Redis) -> None:
    """Neither what langgraph writes in time nor what it writes late reaches the thread's memory."""
    memory = ThreadMemory(FencedRedis(redis), 1)
    await memory.set_up()
    config: Any = {"configurable": {"thread_id": "t1", "checkpoint_ns": ""}}
    fence = await a_fence(redis)
    with use_fence(fence):
        config = await memory.aput(config, empty_checkpoint(), {"step": 1}, {})
        await take_over(redis)
        before = await dump(redis)
        with pytest.raises(LeaseLost):
            await memory.aput(config, empty_checkpoint(), {"step": 2}, {})
        with pytest.raises(LeaseLost):
            await memory.aput_writes(config, [("messages", "late")], "task-1")
    assert await dump(redis) == before


TTL = 1000


async def a_fence_that_has_read(redis: Redis, *wanted: str) -> FencingToken:
    """That of a turn under way, whose first step has read these keys."""
    inbox = Inbox(
        redis, name="one", follow_days=1, first_reads=lambda thread: [f"{thread}:{each}" for each in wanted]
    )
    await inbox.put(MESSAGE)
    lease, begun = await begin(inbox)
    return inbox.fence(lease, read=begun.read)


async def test_what_the_turn_reads_first_is_read_in_the_step_that_begins_it(redis: Redis) -> None:
    """Each value once: what is read again may have changed."""
    thread, fenced = str(MESSAGE.thread), FencedRedis(redis)
    keys_read = [f"{thread}:a", f"{thread}:b", f"{thread}:c"]
    await redis.mset({keys_read[0]: b"1\x00", keys_read[2]: "3"})
    with use_fence(await a_fence_that_has_read(redis, "a", "b", "c")):
        await redis.set(keys_read[0], "changed")
        assert await fenced.mget(keys_read[0], "other") == [b"changed", None]
        assert await fenced.mget(keys_read) == [b"1\x00", None, b"3"]
        assert await fenced.mget(keys_read) == [b"changed", None, b"3"]


async def test_what_was_read_before_a_write_is_read_again(redis: Redis) -> None:
    key, fenced = f"{MESSAGE.thread}:a", FencedRedis(redis)
    await redis.set(key, "old")
    with use_fence(await a_fence_that_has_read(redis, "a")):
        await fenced.append(key, "+new")
        assert await fenced.mget(key) == [b"old+new"]


async def numbers(redis: Redis) -> dict[str, int]:
    """Return what was counted."""
    found: Any = await redis.hgetall("counted")
    return {field.decode(): int(number) for field, number in found.items()}


async def test_numbers_are_added_in_the_step_of_the_next_write(redis: Redis) -> None:
    """Once, with what the receipt has noted; the replies are those of the write."""
    receipt, fence = await a_receipt(redis)
    fenced = FencedRedis(redis)
    await redis.hset("counted", "a", "5")
    async with fence_turn(fence):
        await fenced.increase("counted", {"a": 1, "b": 2**40}, TTL)
        receipt.note(pages=["17.1"])
        assert await numbers(redis) == {"a": 5}
        await redis.config_resetstat()
        assert await fenced.incr("n") == 1
        commands: Any = await redis.info("commandstats")
        assert sum(commands[f"cmdstat_{each}"]["calls"] for each in ("evalsha", "hmget", "hset")) <= 4
        assert await numbers(redis) == {"a": 6, "b": 2**40}
        await fenced.increase("counted", {"a": 1}, TTL)
        await fenced.increase("counted", {"a": 10}, TTL)
        assert await fenced.incr("n") == 2
    assert await numbers(redis) == {"a": 17, "b": 2**40}
    assert await Lookup(redis).receipt_of(MESSAGE.id) == {"pages": ["17.1"]}
    assert TTL - 100 < await redis.ttl("counted") <= TTL


async def test_numbers_that_no_write_has_added_are_added_at_the_end_of_the_turn(redis: Redis) -> None:
    """Also if the turn fails, and outside of a turn at once."""
    fenced = FencedRedis(redis)

    async def fail() -> None:
        async with fence_turn(await a_fence(redis)):
            await fenced.increase("counted", {"a": 1}, TTL)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await numbers(redis) == {"a": 1}
    await fenced.increase("counted", {"a": 1}, TTL)
    assert await numbers(redis) == {"a": 2}
    assert TTL - 100 < await redis.ttl("counted") <= TTL


async def test_numbers_count_once_even_if_the_lease_is_lost(redis: Redis) -> None:
    """They tell what has been used, whoever answers."""
    fenced = FencedRedis(redis)
    fence = await a_fence(redis)
    await take_over(redis)
    async with fence_turn(fence):
        await fenced.increase("counted", {"a": 1}, TTL)
        with pytest.raises(LeaseLost):
            await fenced.set("s", "late")
    assert await numbers(redis) == {"a": 1}
    assert await redis.get("s") is None


async def test_a_write_does_not_fail_because_numbers_cannot_be_added(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """They wait for the next one; at the end of the turn the log tells."""
    fenced = FencedRedis(redis)
    await redis.set("counted", "of a wrong type")
    async with fence_turn(await a_fence(redis)):
        await fenced.increase("counted", {"a": 1}, TTL)
        assert await fenced.set("s", "1")
        await redis.delete("counted")
        assert await fenced.set("s", "2")
        assert await numbers(redis) == {"a": 1}
        await redis.set("counted", "of a wrong type")
        await fenced.increase("counted", {f"field {number}": 1 for number in range(5000)}, TTL)
        assert await fenced.set("s", "3")
    assert await redis.get("s") == b"3"
    assert "usage not counted" in caplog.text


async def test_numbers_in_a_write_that_is_cancelled_count_once(redis: Redis) -> None:
    """Redis runs what was sent."""
    fenced = FencedRedis(redis)
    await fenced.increase("warm", {"a": 1}, TTL)
    async with fence_turn(await a_fence(redis)):
        await fenced.set("s", "1")
        await fenced.increase("counted", {"a": 1}, TTL)
        write = asyncio.ensure_future(fenced.set("s", "2"))
        await asyncio.sleep(0)
        write.cancel()
        with pytest.raises(asyncio.CancelledError):
            await write

    async def is_written() -> bool:
        return await redis.get("s") == b"2"

    await wait_until(is_written, "the write has run")
    assert await numbers(redis) == {"a": 1}
