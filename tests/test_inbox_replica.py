"""Messages that a process puts back when Redis has come back empty: all of them, in order, nothing twice."""

import time
from dataclasses import replace

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from bot.chat import Correction, Withdrawal
from bot.inbox import Erasure, Inbox, Lookup, keys, replica
from tests.support.inbox import a_message, an_inbox, answer, begin


@pytest.fixture
async def ears(redis: Redis) -> Inbox:
    """A process that takes messages."""
    return an_inbox(redis, "ears")


@pytest.fixture
async def hands(redis: Redis) -> Inbox:
    """A process that answers them."""
    inbox = an_inbox(redis, "hands")
    await inbox.enter()
    return inbox


async def patience(inbox: Inbox) -> None:
    """Wait for messages that another process may be answering."""
    for _ in range(replica.PATIENCE - 1):
        assert await inbox.restore() == 0


async def test_what_waits_is_put_back_in_order(redis: Redis, ears: Inbox, hands: Inbox) -> None:
    for text in ("one", "two"):
        await ears.put(a_message(text))
    await ears.put(Correction(message=replace(a_message("two"), text="zwei"), edited_at=2.0))
    await redis.flushall()
    await patience(ears)
    assert await ears.restore() == 2
    assert await ears.restore() == 0
    assert await answer(hands) == ["one", "zwei"]


async def test_an_answer_goes_on_with_its_receipt(redis: Redis, ears: Inbox, hands: Inbox) -> None:
    """The process that answers puts it back before the one that only took it."""
    await ears.put(a_message("one"))
    lease, begun = await begin(hands)
    await redis.flushall()
    with pytest.raises(ResponseError, match="NOGROUP"):  # what it shows then is in its memory alone
        await hands.keep(lease, begun.turn, {"shown": 3})
    assert await hands.restore() == 0, "it still runs"
    assert await ears.restore() == 0
    hands.leave(begun.turn)
    assert await hands.restore() == 1
    await patience(ears)
    assert await ears.restore() == 0
    _, again = await begin(hands)
    assert (again.turn.messages, again.receipt) == (begun.turn.messages, {"shown": 3})


async def test_what_waits_behind_a_turn_stays_behind_it(redis: Redis, hands: Inbox) -> None:
    await hands.put(a_message("one"))
    _, begun = await begin(hands)
    await hands.put(a_message("two"))
    await redis.flushall()
    await patience(hands)
    assert await hands.restore() == 0
    hands.leave(begun.turn)
    assert await hands.restore() == 2
    assert await answer(hands) == ["one", "two"]


async def test_what_another_process_has_finished_is_not_put_back(
    redis: Redis, ears: Inbox, hands: Inbox
) -> None:
    await ears.put(a_message("one"))
    assert await answer(hands) == ["one"]
    assert await ears.restore() == 0
    await redis.flushall()
    await patience(ears)
    assert await ears.restore() == 0
    assert await ears.put(a_message("one")) == "duplicate", "nor taken again from the history"


async def test_what_was_deleted_is_not_put_back(redis: Redis, ears: Inbox) -> None:
    await ears.put(a_message("one"))
    await ears.put(Withdrawal(message_id=a_message("one").id))
    assert await ears.restore() == 0
    await redis.flushall()
    await patience(ears)
    assert await ears.restore() == 0


async def test_threads_are_taken_part_in_again(redis: Redis, ears: Inbox, hands: Inbox) -> None:
    """Else what follows there would need a mention again."""
    await ears.put(a_message("one"))
    assert await answer(hands) == ["one"]
    await ears.restore()
    await redis.flushall()
    await ears.restore()
    assert await ears.put(a_message("two", addressed=False)) == "kept"


async def test_a_thread_that_was_left_is_not_taken_part_in_again(
    redis: Redis, ears: Inbox, hands: Inbox
) -> None:
    """Fault: what a person had forgotten was put back by the processes that remembered the thread."""
    await ears.put(a_message("zero", "t0"))
    await ears.put(a_message("one"))
    for _ in range(2):
        await answer(hands)
    await Erasure(redis, hands).leave(str(a_message("one").thread))
    await ears.restore()
    assert await ears.put(a_message("two", addressed=False)) == "ignored"
    assert len(await Lookup(redis).active_threads("test", 0)) == 1
    await redis.flushall()
    await ears.restore()
    assert await ears.put(a_message("two", addressed=False)) == "ignored"
    assert await ears.put(a_message("more", "t0", addressed=False)) == "kept"


async def test_a_thread_in_which_nobody_writes_is_left_in_time(
    redis: Redis, ears: Inbox, hands: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault: a process that lived for longer took part again, and said that Redis had lost data."""
    await ears.put(a_message("one"))
    assert await answer(hands) == ["one"]
    await redis.delete(keys.joined(str(a_message("one").thread)))  # it has expired
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 31 * 86_400)
    await ears.restore()
    assert await ears.put(a_message("two", addressed=False)) == "ignored"


async def test_memory_is_bounded(redis: Redis) -> None:
    ears = Inbox(redis, name="ears", follow_days=30, most_replicated=3)
    for number in range(5):
        await ears.put(a_message(str(number), f"t{number}"))
    await redis.flushall()
    await patience(ears)
    assert await ears.restore() == 3
