"""Events of one message that meet in one process, as Slack's `app_mention` and `message` do."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from bot.chat import Outcome
from bot.inbox import Inbox
from tests.support.inbox import a_message, an_inbox, answer, begin
from tests.support.wait import wait_until


class SlowRedis(Redis):
    """Redis that counts the runs of scripts; they wait for `gate`, and fail with the next of `errors`."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(connection_pool=redis.connection_pool)
        self.runs = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.errors: list[Exception] = []

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        if args[0] == "EVALSHA":
            self.runs += 1
            await self.gate.wait()
            if self.errors:
                raise self.errors.pop(0)
        return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]


@pytest.fixture
async def slow(redis: Redis) -> SlowRedis:
    await an_inbox(redis).put(a_message("loads the script", "t0"))
    return SlowRedis(redis)


@pytest.fixture
def inbox(slow: SlowRedis) -> Inbox:
    return an_inbox(slow)


async def begin_puts(slow: SlowRedis, inbox: Inbox, count: int = 2) -> list[asyncio.Task[Outcome]]:
    """Put a message so many times at once; none has reached Redis."""
    slow.gate.clear()
    puts = [asyncio.create_task(inbox.put(a_message("hello"))) for _ in range(count)]
    await wait_until(lambda: slow.runs == 1, "the first is at Redis")
    assert not any(each.done() for each in puts)
    return puts


async def test_a_second_event_waits_until_the_first_is_stored(
    redis: Redis, slow: SlowRedis, inbox: Inbox
) -> None:
    """It must not be acknowledged earlier; then it needs no trip to Redis."""
    puts = await begin_puts(slow, inbox, 3)
    slow.gate.set()
    assert await asyncio.gather(*puts) == ["kept", "duplicate", "duplicate"]
    assert slow.runs == 1
    assert await answer(an_inbox(redis)) == ["loads the script"]
    assert await answer(an_inbox(redis)) == ["hello"]


async def test_an_error_is_an_error_for_both(slow: SlowRedis, inbox: Inbox) -> None:
    """Neither is acknowledged, and a redelivery is stored."""
    puts = await begin_puts(slow, inbox)
    slow.errors += [RedisConnectionError("away"), RedisConnectionError("still away")]
    slow.gate.set()
    errors = await asyncio.gather(*puts, return_exceptions=True)
    assert [str(each) for each in errors] == ["away", "still away"]
    assert await inbox.put(a_message("hello")) == "kept"


async def test_events_that_have_waited_for_one_that_failed_are_stored_at_once(
    redis: Redis, slow: SlowRedis, inbox: Inbox
) -> None:
    """Fault: while Redis hung, each of them waited for the time-outs of all before it."""
    puts = await begin_puts(slow, inbox, 4)
    puts[0].cancel()
    await wait_until(lambda: slow.runs == 4, "the others are at Redis")
    slow.gate.set()
    results = await asyncio.gather(*puts, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert sorted(map(str, results[1:])) == ["duplicate", "duplicate", "kept"]
    assert await answer(an_inbox(redis)) == ["loads the script"]
    assert await answer(an_inbox(redis)) == ["hello"]


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_a_second_event_is_stored_if_the_first_was_not(
    slow: SlowRedis, inbox: Inbox, is_cancelled: bool
) -> None:
    """The first one failed, or its connection was closed."""
    first, second = await begin_puts(slow, inbox)
    if is_cancelled:
        first.cancel()
    else:
        slow.errors.append(RedisConnectionError("away"))
    slow.gate.set()
    assert await second == "kept"
    with pytest.raises(asyncio.CancelledError if is_cancelled else RedisConnectionError):
        await first


async def test_a_mention_is_taken_beside_its_event_that_names_nobody(slow: SlowRedis, inbox: Inbox) -> None:
    """One event says that the bot is mentioned, and the other one does not."""
    slow.gate.clear()
    puts = [
        asyncio.create_task(inbox.put(a_message("hello", addressed=addressed))) for addressed in (False, True)
    ]
    await asyncio.sleep(0)  # both begin in one step of the loop
    slow.gate.set()
    assert await asyncio.gather(*puts) == ["ignored", "kept"]


async def test_a_redelivery_of_what_redis_has_lost_is_stored(redis: Redis, inbox: Inbox) -> None:
    """Fault: this process answered for it, and would have lost it with its own end."""
    assert await inbox.put(a_message("hello")) == "kept"
    await redis.flushdb()
    assert await inbox.put(a_message("hello")) == "kept"
    assert await answer(an_inbox(redis)) == ["hello"]


async def test_a_redelivery_after_the_end_of_its_turn_needs_no_redis(slow: SlowRedis, inbox: Inbox) -> None:
    """The answer was shown."""
    assert await answer(inbox) == ["loads the script"]
    assert await inbox.put(a_message("hello")) == "kept"
    assert await inbox.put(a_message("hello")) == "duplicate"
    assert await answer(inbox) == ["hello"]
    slow.runs = 0
    assert await inbox.put(a_message("hello")) == "duplicate"
    assert slow.runs == 0


async def test_an_event_of_a_message_that_is_being_answered_here_needs_no_trip(
    slow: SlowRedis, inbox: Inbox
) -> None:
    """It comes as soon as the first one is stored. Once the turn has left this process, Redis is asked."""
    assert await inbox.put(a_message("hello")) == "kept"
    for _ in range(2):
        lease, begun = await begin(inbox)
    before = slow.runs
    assert await inbox.put(a_message("hello")) == "duplicate"
    assert slow.runs == before
    inbox.leave(begun.turn)
    assert await inbox.put(a_message("hello")) == "duplicate"
    assert slow.runs == before + 1
    await inbox.finish(lease, begun.turn)
