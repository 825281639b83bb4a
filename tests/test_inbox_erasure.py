"""Holding a thread that has no turn, and taking one person's messages out of the inbox."""

import asyncio
import json
import time
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.chat import Author, Message, StillBusy, Stop
from bot.inbox import Erasure, Inbox, Lookup, keys
from tests.support.turns import slack_dm, slack_message
from tests.support.wait import wait_until

ALICE = Author("slack:U1", "T1")


@pytest.fixture
async def inbox(redis: Redis) -> Inbox:
    """An inbox that this process works on, with an empty Redis."""
    inbox = Inbox(redis, name="one", follow_days=30)
    await inbox.enter()
    return inbox


@pytest.fixture
def eraser(redis: Redis, inbox: Inbox) -> Erasure:
    """Return the eraser of the inbox."""
    return Erasure(redis, inbox)


async def test_message_that_comes_while_a_thread_is_held_waits_for_its_end(
    inbox: Inbox, eraser: Erasure
) -> None:
    """No turn begins in between, and none is lost."""
    message = slack_message("hello")
    async with eraser.pause(str(message.thread), patience=1):
        assert await inbox.put(message) == "kept"
        await inbox.wake()
        assert await inbox.lease(5, 10) == []
    (lease,) = await inbox.lease(5, 10)
    assert await inbox.begin(lease)


async def test_stop_does_not_end_a_hold(inbox: Inbox, eraser: Erasure, redis: Redis) -> None:
    """A stop makes a thread that waits due at once: one that is held goes on to wait."""
    message = slack_message("hello")
    async with eraser.pause(str(message.thread), patience=1):
        await inbox.put(message)
        await redis.zadd(keys.LATER, {str(message.thread): 0}, xx=True)
        assert await inbox.wake() == 0
        assert await inbox.lease(5, 10) == []
    assert len(await inbox.lease(5, 10)) == 1


async def test_thread_with_a_turn_is_held_once_that_has_ended(inbox: Inbox, eraser: Erasure) -> None:
    """Not before; who has no patience is told."""
    message = slack_message("hello")
    thread = str(message.thread)
    await inbox.put(message)
    with pytest.raises(StillBusy):
        async with eraser.pause(thread, patience=0):
            pass
    held = asyncio.Event()

    async def hold() -> None:
        async with eraser.pause(thread, patience=10):
            held.set()

    holding = asyncio.create_task(hold())
    (lease,) = await inbox.lease(5, 10)
    begun = await inbox.begin(lease)
    assert begun
    assert not held.is_set()
    await inbox.finish(lease, begun.turn)
    await holding
    assert held.is_set()


async def test_hold_of_a_dead_process_ends_by_itself(inbox: Inbox, redis: Redis) -> None:
    """The thread is then taken up like one that was put off."""
    eraser = Erasure(redis, inbox, hold_seconds=1)
    message = slack_message("hello")
    assert await eraser._is_paused(str(message.thread), "of a process that died")
    await inbox.put(message)
    await wait_until(lambda: _wakes(inbox), "woken")
    assert len(await inbox.lease(5, 10)) == 1


async def _wakes(inbox: Inbox) -> bool:
    return bool(await inbox.wake())


async def test_only_the_named_person_is_erased(inbox: Inbox, eraser: Erasure, redis: Redis) -> None:
    """Waiting, answered, early and dead messages; of a namesake in another workspace nothing."""
    everyone = {"U1": slack_dm("mine"), "U2": slack_dm("hers", user="U2"), "T2": slack_dm("far", team="T2")}
    for message in everyone.values():
        await _answer(inbox, message)
        dead: dict[Any, Any] = {
            "reason": "r",
            "thread": str(message.thread),
            "id": "x",
            "message": json.dumps(message.to_json()),
        }
        await redis.xadd(keys.DEAD, dead)
        early = slack_message(message.text, user=message.author[6:], team=message.thread.space, thread="8.8")
        await inbox.put(_unaddressed(early))
        await inbox.put(Stop(by=message.author, at=time.time(), thread=early.thread))
    await redis.xadd(keys.DEAD, {"thread": "slack:t1:c1", "id": "y", "message": "{broken", "reason": "r"})
    assert await _mentions(redis, "mine")
    await eraser.erase([ALICE])
    assert not await _mentions(redis, "mine")
    assert await _stoppers(redis, "slack:t1") == ["slack:U2"]
    assert await _stoppers(redis, "slack:t2") == ["slack:U1"]
    assert await _mentions(redis, "hers")
    assert await _mentions(redis, "far")
    assert await redis.xlen(keys.DEAD) == 3
    assert await inbox.put(everyone["U1"]) == "duplicate"  # it is not answered again


async def test_waiting_messages_are_withdrawn_and_those_of_others_answered(
    inbox: Inbox, eraser: Erasure
) -> None:
    """In the same thread, too."""
    mine, hers = slack_message("mine"), slack_message("hers", user="U2")
    await inbox.put(mine)
    await inbox.put(hers)
    assert await eraser.withdraw(ALICE) == 1
    (lease,) = await inbox.lease(5, 10)
    begun = await inbox.begin(lease)
    assert begun
    assert [each.text for each in begun.turn.messages] == ["hers"]


async def test_an_order_for_another_answer_is_withdrawn_and_not_the_question_of_somebody_else(
    inbox: Inbox, eraser: Erasure, redis: Redis
) -> None:
    """Fault: her question counted as deleted, and the order stayed."""
    hers = slack_message("hers", user="U2")
    await inbox.put(hers)
    (lease,) = await inbox.lease(5, 10)
    begun = await inbox.begin(lease)
    assert begun
    await inbox.finish(lease, begun.turn)
    order = replace(slack_message("again"), id="regenerate:0:1", corrects=hers.id, regenerates=hers.id)
    await inbox.put(order)
    assert await eraser.withdraw(ALICE) == 1
    assert not await redis.xlen(keys.mailbox(str(hers.thread)))
    assert not await redis.hexists(keys.seen(hers.id), "withdrawn")


async def test_a_thread_does_not_keep_whom_the_bot_followed(
    inbox: Inbox, eraser: Erasure, redis: Redis
) -> None:
    """It follows nobody until the next mention; a partner of others stays."""
    mine, hers = slack_message("mine", thread="1.1"), slack_message("hers", user="U2", thread="2.2")
    for message in (mine, hers):
        await inbox.put(message)
    await eraser.erase([ALICE])
    partners = [keys.text(await redis.get(keys.partner(str(each.thread))) or b"") for each in (mine, hers)]
    assert [each.partition(" ")[2] for each in partners] == ["", "slack:U2"]
    assert await redis.ttl(keys.partner(str(mine.thread))) > 0
    assert await inbox.put(_unaddressed(slack_message("again", thread="1.1"))) == "ignored"
    await eraser.leave(str(hers.thread))
    assert not await redis.exists(keys.partner(str(hers.thread)), keys.joined(str(hers.thread)))


@pytest.mark.parametrize("moment", ["before", "while the list is read", "after"])
async def test_a_mention_about_the_time_at_which_a_thread_is_left_is_not_missing_in_the_list(
    inbox: Inbox, eraser: Erasure, redis: Redis, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault: catch-up did not read the thread for five minutes, though the bot had joined it again."""
    mention = slack_message("hello")
    thread, lookup = str(mention.thread), Lookup(redis)
    await _answer(inbox, mention)
    another = replace(mention, id=f"{mention.id}9", text="and now?")
    zrange = redis.zrange

    async def read_then_mention(*args: Any) -> Any:
        members = await zrange(*args)
        if moment == "while the list is read":
            await inbox.put(another)
        return members

    monkeypatch.setattr(redis, "zrange", read_then_mention)
    if moment == "before":
        await inbox.put(another)
    await eraser.leave(thread)
    assert await redis.exists(keys.joined(thread)) == 0
    assert bool(await lookup.active_threads("slack", 0)) == (moment != "after")
    if moment == "after":
        await inbox.put(another)
    (lease,) = await inbox.lease(1, 10)
    begun = await inbox.begin(lease)
    assert begun
    await inbox.finish(lease, begun.turn)
    assert await redis.exists(keys.joined(thread)) == 1
    assert await lookup.active_threads("slack", 0) == [mention.thread]


async def test_receipt_of_a_turn_that_still_runs_is_left(inbox: Inbox, eraser: Erasure, redis: Redis) -> None:
    """It is what keeps the answer from being shown twice; it goes when the turn has ended."""
    message = slack_message("mine")
    await inbox.put(message)
    (lease,) = await inbox.lease(5, 10)
    begun = await inbox.begin(lease)
    assert begun
    await inbox.keep(lease, begun.turn, {"said": "mine"})
    await eraser.erase([ALICE])
    assert await redis.hget(keys.turn(begun.turn.id), "receipt")
    await inbox.finish(lease, begun.turn)
    await eraser.erase([ALICE])
    assert not await redis.exists(keys.turn(begun.turn.id))


@pytest.mark.parametrize(
    ("author", "thread", "is_theirs"),
    [
        ("slack:U1", "slack:t1:c1:1.1", True),
        ("slack:u1", "slack:t1:c1:1.1", False),
        ("slack:U11", "slack:t1:c1:1.1", False),
        ("slack:U1", "slack:t11:c1:1.1", False),
        ("slack:U1", "slack:t2:c1:1.1", False),
        ("discord:U1", "slack:t1:c1", False),
    ],
)
def test_writer_is_told_by_space_and_id(author: str, thread: str, is_theirs: bool) -> None:
    """Exactly."""
    assert ALICE.wrote(author, thread) == is_theirs


async def _answer(inbox: Inbox, message: Message) -> None:
    await inbox.put(message)
    (lease,) = await inbox.lease(1, 10)
    begun = await inbox.begin(lease)
    assert begun
    await inbox.keep(lease, begun.turn, {"answer": message.text})
    await inbox.finish(lease, begun.turn)


def _unaddressed(message: Message) -> Message:
    return Message.from_json(message.to_json() | {"addressed": False})


async def _stoppers(redis: Redis, space: str) -> list[str]:
    """Return the authors of the stops that are known in a workspace."""
    found: list[Any] = [await redis.hkeys(key) for key in await redis.keys(f"{{bot}}:stops:{space}:*")]
    return [each.decode() for authors in found for each in authors]


async def _mentions(redis: Redis, word: str) -> bool:
    for key in await redis.keys("*"):
        kind: Any = await redis.type(key)
        held: Any = await redis.hgetall(key) if kind == b"hash" else ""
        if word in repr(await redis.xrange(key) if kind == b"stream" else held):
            return True
    return False
