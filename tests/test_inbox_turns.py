"""Start and end of a turn: what Redis holds of it, its lease and its messages."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from bot.chat import Correction, Stop
from bot.inbox import Inbox, keys, queries, scripts
from bot.inbox.lease import Lease
from tests.support.inbox import a_message, an_inbox, answer, begin

_DAY = 86_400


async def idle_ms(redis: Redis, lease: Lease) -> int:
    """Return the milliseconds since the lease was renewed."""
    [held] = await redis.xpending_range(keys.READY, keys.GROUP, lease.entry, lease.entry, 1)
    return int(held["time_since_delivered"])


async def test_a_lease_that_has_waited_is_renewed_when_its_turn_starts(redis: Redis) -> None:
    """And only then: the lease of a turn that starts at once is as good as new."""
    inbox = an_inbox(redis)
    await inbox.enter()
    for thread in ("t1", "t2"):
        await inbox.put(a_message("hello", thread))
    waited, fresh = await inbox.lease(2, 1)
    await asyncio.sleep(0.1)
    assert await inbox.begin(waited, idle_ms=100)
    assert await inbox.begin(fresh, idle_ms=3_600_000)
    assert await idle_ms(redis, waited) < 100 <= await idle_ms(redis, fresh)


async def wait_for_days(redis: Redis, days: float, text: str) -> str:
    """Let a message be the first of its thread, and have waited so many days; return its key `seen`."""
    message = a_message(text)
    mailbox, then = keys.mailbox(str(message.thread)), int((time.time() - days * _DAY) * 1000)
    await redis.delete(mailbox)
    await redis.xadd(mailbox, {"id": message.id}, id=f"{then}-0")
    return keys.seen(message.id)


async def test_a_message_that_has_waited_for_days_is_in_a_turn(redis: Redis) -> None:
    """As long as Redis knows it: an edit would replace it otherwise."""
    inbox = an_inbox(redis)
    await inbox.put(a_message("hello"))
    seen = await wait_for_days(redis, 2, "hello")
    _, begun = await begin(inbox)
    known: Any = await redis.hget(seen, "turn")
    assert keys.text(known) == begun.turn.id


async def test_a_message_that_was_forgotten_while_it_waited_leaves_nothing_for_ever(redis: Redis) -> None:
    """Fault: its key would come back without an expiry."""
    inbox = an_inbox(redis)
    await inbox.put(a_message("hello"))
    seen = await wait_for_days(redis, 4, "hello")
    await redis.delete(seen)
    _, begun = await begin(inbox)
    assert [each.text for each in begun.turn.messages] == ["hello"]
    assert 0 < await redis.ttl(seen) <= queries.SEEN_SECONDS


async def test_a_message_that_redis_has_evicted_leaves_nothing_for_ever(redis: Redis) -> None:
    """Against the rules: Redis must not evict. Fault: its key came back without an expiry."""
    inbox = an_inbox(redis)
    message = a_message("hello")
    await inbox.put(message)
    await redis.delete(keys.seen(message.id))
    _, begun = await begin(inbox)
    assert [each.text for each in begun.turn.messages] == ["hello"]
    assert 0 < await redis.ttl(keys.seen(message.id)) <= queries.SEEN_SECONDS
    assert await inbox.put(message) == "duplicate"


class _Anybody:
    """`bot.chat.StopPolicy` by which every user can stop every answer."""

    async def can_stop(self, author: str, thread: str) -> bool:
        """Return True."""
        return True


async def test_a_stop_of_a_message_that_redis_has_evicted_leaves_nothing_for_ever(redis: Redis) -> None:
    """A stop fixes the messages of its turn, too."""
    inbox = Inbox(redis, name="one", follow_days=30, stop_policy=_Anybody())
    message = a_message("hello")
    await inbox.put(message)
    await redis.delete(keys.seen(message.id))
    assert await inbox.put(Stop(by="test:eve", thread=message.thread)) == "stopped"
    assert 0 < await redis.ttl(keys.seen(message.id)) <= queries.SEEN_SECONDS


async def test_a_turn_ends_on_a_redis_before_8_2(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not know XACKDEL."""
    older = scripts.FINISH.replace("redis.REDIS_VERSION_NUM", "0x080000")
    assert older != scripts.FINISH
    monkeypatch.setattr(scripts, "FINISH", older)
    inbox = an_inbox(redis)
    await inbox.put(a_message("hello"))
    await redis.config_resetstat()
    assert await answer(inbox) == ["hello"]
    assert await redis.xlen(keys.READY) == 0
    assert (await redis.xpending(keys.READY, keys.GROUP))["pending"] == 0
    commands = await redis.info("commandstats")
    assert "cmdstat_xdel" in commands
    assert "cmdstat_xackdel" not in commands


async def test_a_full_redis_begins_no_turn_and_ends_those_under_way(redis: Redis) -> None:
    """The end makes room; an attempt that can store nothing is none."""
    inbox = an_inbox(redis)
    for thread in ("t1", "t2"):
        await inbox.put(a_message("hello", thread))
    lease, under_way = await begin(inbox)
    (waiting,) = await inbox.lease(1, 1)
    await redis.config_set("maxmemory", 1)
    try:
        for idle_ms in (0, 3_600_000):
            with pytest.raises(OutOfMemoryError):
                await inbox.begin(waiting, idle_ms=idle_ms)
        await inbox.finish(lease, under_way.turn)
    finally:
        await redis.config_set("maxmemory", 0)
    begun = await inbox.begin(waiting)
    assert begun
    assert begun.turn.attempt == 1


async def test_an_unreadable_correction_can_be_corrected_again(redis: Redis) -> None:
    """The message that it corrects counts as the one that was answered last."""
    inbox = an_inbox(redis)
    message = a_message("five")
    await inbox.put(message)
    assert await answer(inbox) == ["five"]

    async def edit(text: str, at: float) -> str:
        return await inbox.put(Correction(message=replace(message, text=text), edited_at=at))

    assert await edit("six", 1.0) == "corrected"
    box = keys.messages(str(message.thread))
    (id,) = await redis.hkeys(box)
    await redis.hset(box, id, '{"shape": "unknown"}')
    (lease,) = await inbox.lease(1, 1)
    assert await inbox.begin(lease) is None
    assert await redis.xlen(keys.DEAD) == 1
    assert await edit("seven", 2.0) == "corrected"
    assert await answer(inbox) == ["seven"]
