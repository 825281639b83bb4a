"""State that all processes share: two processes' worth of objects on one Redis."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from bot.chat import Json, Message, Permit, Space, Stop, StorageDown, ThreadId
from bot.inbox import Inbox, Lookup
from bot.storage.coordination import RedisCoordination
from tests.support.rate_limits import age
from tests.support.wait import wait_until


@pytest.fixture
def one(redis: Redis) -> RedisCoordination:
    """One process."""
    return RedisCoordination(redis, "one")


@pytest.fixture
def two(redis: Redis) -> RedisCoordination:
    """The other process."""
    return RedisCoordination(redis, "two")


@pytest.fixture
def lookup(redis: Redis) -> Lookup:
    return Lookup(redis)


@pytest.fixture
async def away() -> AsyncIterator[RedisCoordination]:
    """A process whose Redis is away: nothing listens on port 1."""
    async with Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0)) as redis:
        yield RedisCoordination(redis, "away")


async def _delay(process: RedisCoordination, per_minute: int, call: str = "call") -> float:
    """Make one call: the seconds that it would have to wait."""
    seconds, permits = await process.take("test:limit", {call: per_minute})
    assert not permits
    return seconds


async def _take_all(*processes: RedisCoordination, per_minute: int) -> tuple[int, float]:
    """Make calls in turns until no more are allowed: how many there were, and the seconds until the next."""
    taken = 0
    while True:
        seconds = await _delay(processes[taken % len(processes)], per_minute)
        if seconds:
            return taken, seconds
        taken += 1


async def test_no_minute_has_more_calls_than_allowed_of_all_processes_together(
    one: RedisCoordination, two: RedisCoordination
) -> None:
    """A later call is told to wait until the first of them, which count by the second, is a minute old."""
    taken, seconds = await _take_all(one, two, per_minute=60)
    assert taken == 60
    assert 50 < seconds <= 61


async def test_a_call_is_allowed_when_an_earlier_one_is_a_minute_old(
    redis: Redis, one: RedisCoordination, two: RedisCoordination
) -> None:
    """One, and the next is refused again. Asking costs nothing."""
    await _take_all(one, per_minute=3)
    await age(redis, "test:limit", 30, most=1)
    assert 0 < await _delay(one, 3) <= 31
    await age(redis, "test:limit", 31, most=1)
    assert await _delay(two, 3) == 0
    assert 50 < await _delay(one, 3) <= 61
    (key,) = await redis.keys("*test:limit")
    assert await redis.pttl(key) > 0, "a limit that nobody needs is forgotten"


async def test_limits_are_apart(one: RedisCoordination) -> None:
    """One that is used up holds nobody up at another, whether or not they are counted in one place."""
    await _take_all(one, per_minute=10)
    assert await _delay(one, 10, "other") == 0
    assert await one.take("test:other", {"call": 10}) == (0, [])


async def test_calls_that_soon_follow_are_counted_with_the_first(
    one: RedisCoordination, two: RedisCoordination
) -> None:
    """Each gets a permit, up to the first that is not allowed; its minute begins when it has lapsed."""
    calls = {"call": 2, "write": 1, "end": 1}
    seconds, permits = await one.take("test:limit", calls, ahead=5)
    assert seconds == 0
    assert [each.call for each in permits] == ["write", "end"]
    assert 60 < await _delay(two, 1, "end") <= 66
    assert await two.take("test:limit", calls, ahead=5) == (0, [])
    seconds, permits = await two.take("test:limit", calls, ahead=5)
    assert (50 < seconds <= 61, permits) == (True, [])


async def test_a_permit_that_is_given_back_is_free_for_all(
    one: RedisCoordination, two: RedisCoordination
) -> None:
    """With another call, whether or not that one is allowed."""
    _, permits = await one.take("test:limit", {"call": 1, "write": 1}, ahead=5)
    assert await _delay(two, 1, "write") > 0
    seconds, _ = await one.take("test:limit", {"call": 1}, unused=permits)
    assert seconds > 0
    assert await _delay(two, 1, "write") == 0
    await one.take("test:limit", {"call": 1}, unused=[Permit("never", 17), *permits])
    assert await _delay(two, 1, "write") > 0, "given back twice, it is free only once"


async def test_calls_of_a_clock_that_was_ahead_hold_nobody_up_for_long(
    redis: Redis, one: RedisCoordination
) -> None:
    """As after a failover to a machine whose clock is an hour behind."""
    await _take_all(one, per_minute=3)
    await age(redis, "test:limit", -30)
    assert 60 < await _delay(one, 3) <= 91
    await age(redis, "test:limit", -3_570)
    assert await _delay(one, 3) == 0


async def test_what_is_counted_takes_little_space(redis: Redis, one: RedisCoordination) -> None:
    """However many calls are allowed."""
    for _ in range(500):
        assert await _delay(one, 1_000_000) == 0
    assert await redis.strlen("{bot}:limit:test:limit") < 100


async def test_a_limit_that_is_not_known_holds_nobody_up(away: RedisCoordination) -> None:
    """While Redis is away the service itself refuses what is too much."""
    assert await away.take("test:limit", {"call": 1, "write": 1}, ahead=5) == (0, [])


@pytest.mark.parametrize(
    "ask",
    [
        lambda coordination: coordination.lease("test:lease", 1),
        lambda coordination: coordination.release("test:lease"),
        lambda coordination: coordination.attend("test:group", 1),
        lambda coordination: coordination.leave("test:group"),
        lambda coordination: coordination.agree("test:group", 1, in_use=False),
        lambda coordination: coordination.get_cursor("test:source"),
        lambda coordination: coordination.set_cursor("test:source", 1),
        lambda coordination: Lookup(coordination._redis).active_threads("test", 0),
        lambda coordination: Lookup(coordination._redis).is_known("m1"),
        lambda coordination: Lookup(coordination._redis).receipt_of("m1"),
        lambda coordination: Lookup(coordination._redis).is_taken_back(ThreadId("test", "Space", "t1"), "m1"),
        lambda coordination: Lookup(coordination._redis).news("test").__aenter__(),
    ],
    ids=[
        "lease",
        "release",
        "attend",
        "leave",
        "agree",
        "get_cursor",
        "set_cursor",
        "active_threads",
        "is_known",
        "receipt_of",
        "is_taken_back",
        "news",
    ],
)
async def test_all_else_says_that_redis_is_away(
    away: RedisCoordination, ask: Callable[[RedisCoordination], Awaitable[object]]
) -> None:
    """In the word that the rest of the bot knows."""
    with pytest.raises(StorageDown):
        await ask(away)


async def test_a_lease_has_one_owner_until_it_is_given_back(
    one: RedisCoordination, two: RedisCoordination
) -> None:
    """The owner renews it, and nobody else can give it back."""
    assert await one.lease("test:lease", 60)
    assert not await two.lease("test:lease", 60)
    assert await one.lease("test:lease", 60)
    await two.release("test:lease")
    assert not await two.lease("test:lease", 60)
    await one.release("test:lease")
    assert await two.lease("test:lease", 60)
    assert not await one.lease("test:lease", 60)


async def test_a_restarted_process_has_its_lease_again(redis: Redis, one: RedisCoordination) -> None:
    """The owner is the name, not the object."""
    assert await one.lease("test:lease", 60)
    assert await RedisCoordination(redis, "one").lease("test:lease", 60)


async def test_a_lease_ends_by_itself(redis: Redis, one: RedisCoordination, two: RedisCoordination) -> None:
    """A request in vain does not lengthen it."""
    assert await one.lease("test:lease", 60)
    left = await redis.pttl("{bot}:lease:test:lease")
    assert not await two.lease("test:lease", 600)
    assert 0 < await redis.pttl("{bot}:lease:test:lease") <= left
    await redis.pexpire("{bot}:lease:test:lease", 10)
    await wait_until(lambda: two.lease("test:lease", 60), "expired")
    assert not await one.lease("test:lease", 60)


async def test_a_renewed_lease_lasts_from_then_on(redis: Redis, one: RedisCoordination) -> None:
    """For the seconds of the last renewal, be they more or fewer."""
    await one.lease("test:lease", 10)
    await one.lease("test:lease", 60)
    assert 10 < await redis.pttl("{bot}:lease:test:lease") / 1000 <= 60


async def test_two_holders_in_one_process_share_no_lease(
    one: RedisCoordination, two: RedisCoordination
) -> None:
    """Each renews and gives back its own alone."""
    assert await one.lease("test:lease", 60, "first")
    assert await one.lease("test:lease", 60, "first")
    for other in ("second", ""):
        assert not await one.lease("test:lease", 60, other)
        await one.release("test:lease", other)
    await two.release("test:lease", "first")
    assert not await two.lease("test:lease", 60, "first")
    await one.release("test:lease", "first")
    assert await one.lease("test:lease", 60, "second")


async def test_who_attends_is_counted_until_it_stays_away(
    one: RedisCoordination, two: RedisCoordination
) -> None:
    """Each process once, however often it says so."""
    assert await one.attend("test:group", 60) == (0, [None])
    assert await one.attend("test:group", 60) == (0, [None])
    assert await two.attend("test:group", 0.1) == (1, [None, None])
    assert await one.attend("test:other", 60) == (0, [None])

    async def is_alone() -> bool:
        _, notes = await one.attend("test:group", 60)
        return len(notes) == 1

    await wait_until(is_alone, "the other one no longer counted")
    assert await two.attend("test:group", 60) == (1, [None, None])


async def test_who_leaves_is_no_longer_counted(one: RedisCoordination, two: RedisCoordination) -> None:
    """At once; who was never there may leave, too."""
    await one.attend("test:group", 60)
    await two.attend("test:group", 60)
    await one.leave("test:group")
    assert await two.attend("test:group", 60) == (0, [None])
    await one.leave("test:group")


async def test_who_attends_sees_the_latest_note_of_each(
    one: RedisCoordination, two: RedisCoordination
) -> None:
    """In the order of names, whoever came first, so that all see the same list."""
    assert await two.attend("test:group", 60, {"load": 2}) == (0, [{"load": 2}])
    assert await one.attend("test:group", 60, 1) == (0, [1, {"load": 2}])
    assert await two.attend("test:group", 60, 3) == (1, [1, 3])


async def test_what_was_agreed_on_stays_while_somebody_wishes_it(
    one: RedisCoordination, two: RedisCoordination
) -> None:
    """As in a rolling restart: the number that the new ones wish comes when the last old one has left."""
    for each in (one, two):
        await each.attend("test:group", 60)
    assert await one.agree("test:group", 2, in_use=False) == 2
    assert await two.agree("test:group", 4, in_use=False) == 2
    await one.leave("test:group")
    assert await two.agree("test:group", 4, in_use=False) == 4
    await one.attend("test:group", 60)
    assert await one.agree("test:group", 2, in_use=False) == 4


async def test_who_comes_back_with_another_wish_changes_what_only_it_wished(one: RedisCoordination) -> None:
    """A single process that is started again with another number uses that."""
    await one.attend("test:group", 60)
    assert await one.agree("test:group", 2, in_use=True) == 2
    assert await one.agree("test:group", 4, in_use=False) == 4


async def test_what_is_in_use_is_given_up_by_all_before_anything_new_is_agreed_on(
    redis: Redis, one: RedisCoordination, two: RedisCoordination
) -> None:
    """No two numbers are ever in use at once."""
    three = RedisCoordination(redis, "three")
    for each in (one, two, three):
        await each.attend("test:group", 60)
    assert await one.agree("test:group", 2, in_use=True) == 2
    assert await two.agree("test:group", 4, in_use=True) == 2
    assert await three.agree("test:group", 8, in_use=True) == 2
    await one.leave("test:group")
    assert await two.agree("test:group", 4, in_use=False) is None
    assert await two.agree("test:group", 4, in_use=False) is None
    assert await three.agree("test:group", 8, in_use=True) is None
    assert await three.agree("test:group", 8, in_use=False) == 8
    assert await two.agree("test:group", 4, in_use=False) == 8


async def test_who_was_told_a_number_is_taken_to_use_it(
    one: RedisCoordination, two: RedisCoordination
) -> None:
    """It may have begun to since it asked, and says so only when it asks again."""
    for each in (one, two):
        await each.attend("test:group", 60)
    assert await one.agree("test:group", 2, in_use=False) == 2
    assert await one.agree("test:group", 8, in_use=False) == 8
    assert await two.agree("test:group", 4, in_use=False) == 8
    await one.leave("test:group")
    await one.attend("test:group", 60)
    assert await one.agree("test:group", 6, in_use=False) is None
    assert await two.agree("test:group", 4, in_use=False) == 4


async def test_who_stays_away_has_no_voice(one: RedisCoordination, two: RedisCoordination) -> None:
    """Neither its wish nor what it used counts: it is dead, or finds out before it goes on."""
    await one.attend("test:group", 0.1)
    await two.attend("test:group", 60)
    assert await one.agree("test:group", 2, in_use=True) == 2

    async def is_changed() -> bool:
        return await two.agree("test:group", 4, in_use=False) == 4

    await wait_until(is_changed, "agreed anew")


async def test_heard_until_never_moves_back(one: RedisCoordination, two: RedisCoordination) -> None:
    """Nothing is known before the first time; afterwards the latest of what any process says."""
    assert await one.get_cursor("test:source") is None
    await one.set_cursor("test:source", 1700000000.25)
    assert await two.get_cursor("test:source") == 1700000000.25
    await two.set_cursor("test:source", 1600000000)
    assert await one.get_cursor("test:source") == 1700000000.25
    await two.set_cursor("test:source", 1700000000.5)
    assert await one.get_cursor("test:source") == 1700000000.5
    assert await one.get_cursor("test:other") is None


async def test_several_sources_are_heard_until_the_earliest(one: RedisCoordination) -> None:
    """And not at all while one of them is not."""
    await one.set_cursor("test:0", 1700000000.5)
    assert await one.get_cursor("test:0", "test:1") is None
    await one.set_cursor("test:1", 1600000000.25)
    assert await one.get_cursor("test:0", "test:1") == 1600000000.25


async def test_threads_of_a_busy_space_displace_no_cursor_of_another(
    redis: Redis,
) -> None:
    """A workspace that is in trouble has the oldest cursor, and may not lose it."""
    one = RedisCoordination(redis, "one", most_parts=3)
    await one.set_cursor("test:T1", 1)
    await one.set_cursor("test:T1:C1:1.0", 2)
    for number in range(5):
        await one.set_cursor(f"test:T2:C1:{number}.0", 10 + number)
    assert await one.get_cursor("test:T1") == 1
    assert await one.get_cursor("test:T1:C1:1.0") == 2
    assert await one.get_cursor("test:T2:C1:1.0") is None
    assert await one.get_cursor("test:T2:C1:4.0", "test:T1") == 1
    assert 0 < await redis.ttl("{bot}:heard:test:T2") <= 7 * 86_400
    await one.erase_space(Space("test", "T2"))
    assert await one.get_cursor("test:T2:C1:4.0") is None
    assert await one.get_cursor("test:T1:C1:1.0") == 2


def a_message(thread: str, sent_at: float, *, addressed: bool = True, platform: str = "test") -> Message:
    return Message(
        id=f"{platform}:{thread}:{sent_at}",
        thread=ThreadId(platform, "Space", thread),
        author="test:ada",
        text="hi",
        sent_at=sent_at,
        addressed=addressed,
        place={"ts": "1"},
    )


async def test_active_threads_come_newest_first(redis: Redis, lookup: Lookup) -> None:
    """Only those that the bot takes part in, of that platform, with a message after the given time.

    Their times are ahead by less than what the messages are apart.
    """
    inbox = Inbox(redis, name="one", follow_days=30)
    now = time.time()
    for message in (
        a_message("old", now - 50_000),
        a_message("first", now - 3_000),
        a_message("second", now - 2_000),
        a_message("gossip", now, addressed=False),
        a_message("elsewhere", now, platform="other"),
        a_message("first", now - 1_000, addressed=False),
        a_message("second", now - 2_500, addressed=False),  # late: it makes its thread no older
    ):
        await inbox.put(message)
    assert [each.channel for each in await lookup.active_threads("test", now - 9_000)] == ["first", "second"]
    assert [each.channel for each in await lookup.active_threads("test", 0)] == ["first", "second", "old"]
    assert await lookup.active_threads("other", now - 1) == [ThreadId("other", "Space", "elsewhere")]
    assert await lookup.active_threads("test", now - 500) == []


async def test_the_list_of_threads_is_written_every_few_minutes_and_ahead(
    redis: Redis, lookup: Lookup
) -> None:
    """By each process for itself; a thread that Redis has lost is listed with its next message."""
    inbox, other = Inbox(redis, name="one", follow_days=30), Inbox(redis, name="two", follow_days=30)
    now = time.time() - 10_000

    async def listed_until(inbox: Inbox, seconds: float) -> float:
        await inbox.put(a_message("talk", now + seconds))
        assert await lookup.active_threads("test", now + seconds), "it is active when a message has come"
        listed: Any = await redis.zrange("{bot}:threads:test", 0, -1, withscores=True)
        return round(float(listed[0][1]) - now)

    assert [await listed_until(inbox, each) for each in (0, 299, 301, 400)] == [300, 300, 601, 601]
    assert [await listed_until(other, each) for each in (500, 501)] == [800, 800]
    assert await listed_until(inbox, 602) == 902
    await redis.flushall()
    assert await listed_until(inbox, 700) == 1_000


async def test_threads_left_alone_for_too_long_are_no_longer_active(redis: Redis, lookup: Lookup) -> None:
    """The bot follows a thread for `follow_days`; the list does not grow for ever."""
    inbox = Inbox(redis, name="one", follow_days=1)
    now = time.time()
    await inbox.put(a_message("old", now - 2 * 86_400))
    await inbox.put(a_message("new", now))
    assert [each.channel for each in await lookup.active_threads("test", 0)] == ["new"]


async def test_a_message_is_known_once_it_was_taken(redis: Redis, lookup: Lookup) -> None:
    """One that does not count is not known."""
    inbox = Inbox(redis, name="one", follow_days=30)
    taken, gossip = a_message("t1", 1), a_message("t2", 1, addressed=False)
    assert not await lookup.is_known(taken.id)
    await inbox.put(taken)
    await inbox.put(gossip)
    assert await lookup.is_known(taken.id)
    assert not await lookup.is_known(gossip.id)


async def test_receipt_of_any_message_is_that_of_its_turn(redis: Redis, lookup: Lookup) -> None:
    """None until a turn has the message, empty until the turn has kept something, there after its end."""
    inbox = Inbox(redis, name="one", follow_days=30)
    first, second = a_message("t1", 1), a_message("t1", 2)
    for message in (first, second):
        await inbox.put(message)
    assert await lookup.receipt_of(first.id) is None
    await inbox.enter()
    (lease,) = await inbox.lease(1, 1)
    begun = await inbox.begin(lease)
    assert begun
    assert await lookup.receipt_of(second.id) == {}
    await inbox.keep(lease, begun.turn, {"ts": "17.1", "done": True})
    await inbox.finish(lease, begun.turn)
    for message in (first, second):
        assert await lookup.receipt_of(message.id) == {"ts": "17.1", "done": True}
    later = replace(first, id="later")
    await inbox.put(later)
    assert await lookup.receipt_of(later.id) is None
    assert await lookup.receipt_of("never seen") is None


async def test_a_message_is_taken_back_when_the_turn_before_it_is_stopped(
    redis: Redis, lookup: Lookup
) -> None:
    """Not while it waits, and not once a turn has it: neither under way, nor stopped, nor at its end."""
    inbox = Inbox(redis, name="one", follow_days=30)
    under_way, behind, after = (a_message("t1", number) for number in (1, 2, 3))

    async def taken_back() -> list[bool]:
        return [await lookup.is_taken_back(each.thread, each.id) for each in (under_way, behind, after)]

    assert await taken_back() == [False, False, False]
    await inbox.put(under_way)
    await inbox.enter()
    (lease,) = await inbox.lease(1, 1)
    begun = await inbox.begin(lease)
    assert begun
    await inbox.put(behind)
    assert await taken_back() == [False, False, False]
    await inbox.put(Stop(by=under_way.author, thread=under_way.thread))
    await inbox.put(after)
    assert await taken_back() == [False, True, False]
    await inbox.finish(lease, begun.turn)
    assert await taken_back() == [False, True, False]


@asynccontextmanager
async def hearing(lookup: Lookup, topic: str) -> AsyncIterator[list[Json]]:
    """Yield the news that a process hears, as long as the context is open."""
    heard: list[Json] = []

    async def listen(news: AsyncIterator[Json]) -> None:
        async for each in news:
            heard.append(each)  # noqa: PERF401 - the news never end

    async with lookup.news(topic) as news:
        task = asyncio.create_task(listen(news))
        try:
            yield heard
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def announce(redis: Redis, topic: str, news: Json) -> None:
    """As the scripts of the inbox do."""
    await redis.publish(f"{{bot}}:news:{topic}", json.dumps(news))


async def test_news_reach_who_listens_from_that_moment(redis: Redis) -> None:
    """Also what is announced before the first look, in order; nothing of before, nothing of other topics."""
    await announce(redis, "test", "too early")
    async with Lookup(redis).news("test") as news:
        await announce(redis, "other", "not for us")
        await announce(redis, "test", {"turn": "m1", "text": "grüße 🎉"})
        await announce(redis, "test", 2)
        assert [await anext(news), await anext(news)] == [{"turn": "m1", "text": "grüße 🎉"}, 2]


async def test_two_listeners_hear_the_same(redis: Redis) -> None:
    """Both processes, each with a client of its own."""
    async with hearing(Lookup(redis), "test") as first, hearing(Lookup(redis), "test") as second:
        await announce(redis, "test", "news")
        await wait_until(lambda: first == second == ["news"], "both have heard")


async def test_a_listener_whose_connection_was_cut_hears_again(redis: Redis) -> None:
    """News in between are lost; afterwards all is as before."""
    async with hearing(Lookup(redis), "test") as heard:
        await announce(redis, "test", "before")
        await wait_until(lambda: heard == ["before"], "heard before")
        assert await redis.client_kill_filter(_type="pubsub") == 1

        async def is_heard_again() -> bool:
            await announce(redis, "test", "after")
            return "after" in heard

        await wait_until(is_heard_again, "heard again")


async def test_who_no_longer_listens_leaves_no_connection_open(redis: Redis) -> None:
    """Else each reload of a page would cost a connection."""
    async with Lookup(redis).news("test"):
        assert (await redis.pubsub_numsub("{bot}:news:test"))[0][1] == 1

    async def is_gone() -> bool:
        return bool((await redis.pubsub_numsub("{bot}:news:test"))[0][1] == 0)

    await wait_until(is_gone, "unsubscribed")
