"""Rates at which people and bots are answered, counted in a real Redis."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from bot.access.rate_limits import MINUTE, MessageRates, RateLimiter
from bot.chat import Admit, Ignore, Message, Refuse, StorageDown, ThreadId
from bot.storage.client import open_redis

ADMIN = "slack:U9"
THREAD = ThreadId("slack", "T1", "C1", "1.1")


def some_rates(redis: Redis, *, hears_bots: bool = True, **limits: int) -> RateLimiter:
    return RateLimiter(redis, MessageRates(**limits), lambda user: user == ADMIN, hears_bots)


def a_message(id: int, author: str = "slack:U1", channel: str = "C1") -> Message:
    return Message(
        id=str(id),
        thread=replace(THREAD, channel=channel),
        author=author,
        text="hi",
        sent_at=0,
        addressed=True,
        channel=channel,
    )


def sentence_of(verdict: Admit | Refuse | Ignore) -> str:
    return verdict.sentence if isinstance(verdict, Refuse) else ""


def from_bot(id: int, thread: ThreadId = THREAD) -> Message:
    return replace(a_message(id, "slack:U7"), bot_ids=("slack:B7", "slack:U7"), thread=thread)


async def test_nothing_is_counted_where_nothing_is_limited(redis: Redis) -> None:
    """Nobody pays for what is switched off."""
    for id in range(50):
        assert await some_rates(redis, hears_bots=False).check(a_message(id)) == Admit()
    assert await redis.keys("*") == []


async def test_a_person_who_writes_too_fast_is_told_when_to_try_again(redis: Redis) -> None:
    """And whom to ask; another person is not held up."""
    limited = some_rates(redis, user=3)
    for id in range(3):
        assert await limited.check(a_message(id)) == Admit()
    words = sentence_of(await limited.check(a_message(4)))
    assert "3 messages per minute" in words
    found = re.search(r"Try again in (\d+) seconds,", words)
    assert found
    assert 1 < int(found[1]) <= 60
    assert "operator to raise USER_RATE" in words
    assert await limited.check(a_message(5, "slack:U2")) == Admit()


async def test_a_channel_has_a_rate_of_its_own(redis: Redis) -> None:
    """Whoever writes there; other channels are not held up, and what is refused counts for nobody."""
    limited = some_rates(redis, user=2, channel=2)
    for id, author in enumerate(("slack:U1", "slack:U2")):
        assert await limited.check(a_message(id, author)) == Admit()
    assert "CHANNEL_RATE" in sentence_of(await limited.check(a_message(2, "slack:U1")))
    assert await limited.check(a_message(3, "slack:U1", "C2")) == Admit()


async def test_a_message_counts_once_however_often_it_comes(redis: Redis) -> None:
    """After a crash the turn asks again, and is not refused for what it counted itself."""
    limited = some_rates(redis, user=1)
    for _ in range(5):
        assert await limited.check(a_message(1)) == Admit()
    assert isinstance(await limited.check(a_message(2)), Refuse)


async def test_there_is_room_again_once_a_message_is_old_enough(redis: Redis) -> None:
    """The window slides: one message leaves it, and one has room."""
    limited = some_rates(redis, user=2)
    for id in (1, 2):
        assert await limited.check(a_message(id)) == Admit()
    assert isinstance(await limited.check(a_message(3)), Refuse)
    await redis.zincrby("{bot}:rate:user:slack:U1", -MINUTE * 1000, "1")
    assert await limited.check(a_message(3)) == Admit()
    assert isinstance(await limited.check(a_message(4)), Refuse)


async def test_administrators_are_not_limited(redis: Redis) -> None:
    """Nor do they use up a channel's rate."""
    limited = some_rates(redis, user=1, channel=1)
    for id in range(5):
        assert await limited.check(a_message(id, ADMIN)) == Admit()
    assert await limited.check(a_message(9)) == Admit()


@pytest_asyncio.fixture
async def clients(redis: Redis, redis_url: str) -> AsyncIterator[list[Redis]]:
    """Two processes have two connections."""
    async with open_redis(redis_url, pool_size=10) as other:
        yield [redis, other]


async def test_no_more_than_the_rate_pass_at_once_in_two_processes(clients: list[Redis]) -> None:
    """Counting and deciding are one step."""
    both = [some_rates(client, user=7) for client in clients]
    verdicts = await asyncio.gather(*(both[id % 2].check(a_message(id)) for id in range(60)))
    assert verdicts.count(Admit()) == 7


async def test_bots_in_a_row_are_told_once_and_then_there_is_silence(redis: Redis) -> None:
    """A notice is a message too, and may be answered: so there is only one."""
    limited = some_rates(redis, bot_row=3)
    verdicts = [await limited.check(from_bot(id)) for id in range(8)]
    assert verdicts[:3] == [Admit()] * 3
    assert "until a person writes" in sentence_of(verdicts[3])
    assert verdicts[4:] == [Ignore()] * 4


async def test_a_person_ends_the_silence_in_that_thread(redis: Redis) -> None:
    """Other threads have a row of their own."""
    limited = some_rates(redis, bot_row=1)
    assert [await limited.check(from_bot(id)) == Admit() for id in (1, 2, 3)] == [True, False, False]
    other = replace(THREAD, thread="2.2")
    assert await limited.check(from_bot(4, other)) == Admit()
    assert await limited.check(a_message(5)) == Admit()
    assert await limited.check(from_bot(6)) == Admit()
    assert isinstance(await limited.check(from_bot(7, other)), Refuse)


async def test_a_bots_message_counts_once_however_often_it_comes(redis: Redis) -> None:
    """Also the one that is told: a rerun says it again."""
    limited = some_rates(redis, bot_row=1)
    first, second = from_bot(1), from_bot(2)
    for _ in range(3):
        assert await limited.check(first) == Admit()
        assert "in a row" in sentence_of(await limited.check(second))


async def test_bots_that_open_new_threads_are_bound_by_the_hour(redis: Redis) -> None:
    """Without a row, since each of their messages is a conversation of its own."""
    limited = some_rates(redis, bot_row=3, bot_hour=4)
    verdicts = [await limited.check(from_bot(id, replace(THREAD, thread=f"{id}.0"))) for id in range(6)]
    assert verdicts == [Admit()] * 4 + [Ignore()] * 2


async def test_a_bot_that_writes_too_fast_is_told_nothing(redis: Redis) -> None:
    """The rates hold for it as for a person."""
    limited = some_rates(redis, user=1)
    assert [await limited.check(from_bot(id)) for id in (1, 2)] == [Admit(), Ignore()]


async def test_without_redis_the_turn_is_tried_again(redis: Redis) -> None:
    """Nobody is let through uncounted, and nobody is told a falsehood."""
    broken = Redis(port=1, retry=Retry(NoBackoff(), 0))
    with pytest.raises(StorageDown):
        await some_rates(broken, user=1).check(a_message(1))
    await broken.aclose()
