"""Follow-ups in the inbox: the partner is decided in the step that stores a message, in whatever order."""

import json
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.chat import (
    ChannelSettings,
    Correction,
    FollowUp,
    Message,
    Outcome,
    Purpose,
    SameEverywhere,
    ThreadId,
    Withdrawal,
)
from bot.inbox import Inbox, keys
from bot.inbox.keys import text
from bot.inbox.queries import LISTED_SECONDS, newest_answer
from tests.support.inbox import answer

THREAD = ThreadId("test", "space", "channel", "t1")


def an_inbox(redis: Redis, policy: FollowUp = "partner", name: str = "one") -> Inbox:
    channels = SameEverywhere(ChannelSettings(follow_up=policy))
    return Inbox(redis, name=name, follow_days=30, channels=channels)


def said(author: str, at: int, *, mention: bool = False, purpose: Purpose = "") -> Message:
    return Message(
        id=f"test:{author}:{at}",
        thread=THREAD,
        author=f"test:{author}",
        text=f"{author} at {at}",
        sent_at=4e9 + at,
        addressed=mention,
        purpose=purpose,
    )


async def contents(redis: Redis, key: str) -> dict[str, str]:
    stored: Any = await redis.hgetall(key)
    return {text(name): text(value) for name, value in stored.items()}


async def put_all(inbox: Inbox, *messages: Message) -> list[Outcome]:
    return [await inbox.put(each) for each in messages]


async def test_a_redelivery_changes_neither_the_partner_nor_its_own_fate(redis: Redis) -> None:
    """Fault: what Bob wrote to Alice, read again from the history, would end that Alice is followed."""
    inbox = an_inbox(redis)
    bob = said("bob", 2)
    assert await put_all(inbox, said("ada", 1, mention=True), bob) == ["kept", "ignored"]
    assert await put_all(inbox, said("ada", 3, mention=True), bob) == ["kept", "duplicate"]
    assert await put_all(inbox, said("ada", 4), said("bob", 5, mention=True), bob) == [
        *("kept", "kept", "duplicate")
    ]


async def test_two_processes_follow_the_same_partner(redis: Redis) -> None:
    """It is in Redis alone."""
    one, two = an_inbox(redis), an_inbox(redis, name="two")
    await one.put(said("ada", 1, mention=True))
    assert await two.put(said("ada", 2)) == "kept"
    assert await two.put(said("bob", 3)) == "ignored"
    assert await one.put(said("ada", 4)) == "ignored"


async def test_what_was_written_before_the_mention_and_arrives_after_it_ends_nothing(redis: Redis) -> None:
    """Slack does not keep the order."""
    inbox = an_inbox(redis)
    await put_all(inbox, said("ada", 1, mention=True), said("ben", 2))
    outcomes = await put_all(inbox, said("ada", 5, mention=True), said("ben", 4), said("ada", 6))
    assert outcomes == ["kept", "ignored", "kept"]


async def test_a_follow_up_that_arrives_before_its_mention_is_answered(redis: Redis) -> None:
    """In a thread where the bot followed somebody else, as in a new one."""
    inbox = an_inbox(redis)
    await put_all(inbox, said("ada", 1, mention=True))
    await answer(inbox)
    assert await put_all(inbox, said("ben", 3), said("ben", 2, mention=True)) == ["ignored", "kept"]
    assert await answer(inbox) == ["ben at 2", "ben at 3"]
    assert await inbox.put(said("ben", 4)) == "kept"


async def test_a_late_mention_does_not_take_the_partner_from_a_newer_one(redis: Redis) -> None:
    inbox = an_inbox(redis)
    await put_all(inbox, said("ada", 3, mention=True), said("ben", 1, mention=True))
    assert await put_all(inbox, said("ada", 4), said("ben", 5)) == ["kept", "ignored"]


@pytest.mark.parametrize("policy", ["partner", "mention"])
async def test_an_edit_that_adds_a_mention_is_answered(redis: Redis, policy: FollowUp) -> None:
    """A message that was passed over counts as new then; another edit does not."""
    inbox = an_inbox(redis, policy)
    bob = said("bob", 2)
    assert await put_all(inbox, said("ada", 1, mention=True), bob) == ["kept", "ignored"]
    await answer(inbox)
    edited = replace(bob, text="once more")
    assert await inbox.put(Correction(message=edited, edited_at=4e9 + 3)) == "ignored"
    asked = replace(bob, text="and you?", addressed=True)
    assert await inbox.put(Correction(message=asked, edited_at=4e9 + 4)) == "kept"
    assert await answer(inbox) == ["and you?"]


async def test_another_event_of_the_same_message_that_mentions_the_bot_is_answered(redis: Redis) -> None:
    """Slack's `app_mention` may know of a mention that the `message` does not show."""
    inbox = an_inbox(redis)
    await inbox.put(said("ada", 1, mention=True))
    assert await put_all(inbox, said("bob", 2), said("bob", 2, mention=True)) == ["ignored", "kept"]
    assert await inbox.put(said("bob", 2, mention=True)) == "duplicate"
    assert await inbox.put(said("bob", 3)) == "kept"


async def test_a_thread_of_an_earlier_version_follows_whoever_writes_next(redis: Redis) -> None:
    """Its joined threads have no partner in Redis; so has one whose data Redis has lost."""
    inbox = an_inbox(redis)
    await inbox.put(said("ada", 1, mention=True))
    await redis.delete(keys.partner(str(THREAD)))
    assert await put_all(inbox, said("ada", 2), said("bob", 3), said("ada", 4)) == [
        *("kept", "ignored", "ignored")
    ]


async def test_messages_that_an_earlier_version_kept_as_early_are_read(redis: Redis) -> None:
    """They have no purpose."""
    inbox = an_inbox(redis)
    await inbox.put(said("ada", 2))
    early = keys.early(str(THREAD))
    [(id, stored)] = (await contents(redis, early)).items()
    *earlier, purpose = json.loads(stored)
    assert purpose == ""
    await redis.hset(early, id, json.dumps(earlier))
    await inbox.put(said("ada", 1, mention=True))
    assert await answer(inbox) == ["ada at 1", "ada at 2"]


async def test_silence_that_was_asked_for_holds_for_what_is_read_again_later(redis: Redis) -> None:
    """Under `always`, the history after a reconnection would wake it."""
    inbox = an_inbox(redis, "always")
    late = said("bob", 3)
    await put_all(inbox, said("ada", 1, mention=True), said("ada", 2, purpose="quiet"))
    assert await put_all(inbox, late, said("ada", 4, mention=True), late) == ["ignored", "kept", "duplicate"]
    assert await inbox.put(said("bob", 5)) == "kept"


@pytest.mark.parametrize("last", [said("ada", 2 + LISTED_SECONDS), said("ada", 4_000, mention=True)])
@pytest.mark.parametrize("purpose", ["", "quiet"])
async def test_the_partner_lives_as_long_as_the_thread(redis: Redis, purpose: Purpose, last: Message) -> None:
    """A message that is answered renews it every few minutes, and the end of its turn renews the thread.

    Fault: mentions did not. After THREAD_TTL_DAYS of mentions alone, the bot followed the next author.
    """
    inbox = an_inbox(redis)
    await put_all(inbox, said("ada", 1, mention=True, purpose=purpose))
    await answer(inbox)
    names = [name(str(THREAD)) for name in (keys.partner, keys.joined)]
    assert await redis.ttl(names[0]) > await redis.ttl(names[1]) + 80_000, "not even a second too short"
    for name in names:
        await redis.expire(name, 60)
    await put_all(inbox, replace(last, purpose=purpose))
    await answer(inbox)
    assert min([await redis.ttl(name) for name in names]) > 29 * 86_400


@pytest.mark.parametrize("policy", ["partner", "mention"])
async def test_who_is_asked_answers_without_a_mention_until_the_own_question_ends(
    redis: Redis, policy: FollowUp
) -> None:
    """Whoever else is asked in the thread, and whose question ends first."""
    inbox = an_inbox(redis, policy)
    await put_all(inbox, said("ada", 1, mention=True), said("bob", 2, mention=True))
    await inbox.expect_answer(THREAD, "first", ["test:ada"], 60)
    await inbox.expect_answer(THREAD, "second", ["test:cid"], 60)
    assert await put_all(inbox, said("ada", 3), said("cid", 4), said("eve", 5)) == ["kept", "kept", "ignored"]
    await inbox.expect_no_answer(THREAD, "second")
    assert await put_all(inbox, said("cid", 6), said("ada", 7)) == ["ignored", "kept"]
    await inbox.expect_no_answer(THREAD, "first")
    assert await put_all(inbox, said("ada", 8)) == ["ignored"]
    await inbox.expect_answer(THREAD, "third", [], 60)
    assert await put_all(inbox, said("eve", 9)) == ["kept"]
    assert await redis.ttl(keys.asked(str(THREAD))) > 0


async def test_what_is_passed_over_leaves_a_gap_until_the_agent_is_given_a_message(redis: Redis) -> None:
    """Not to a message that is withdrawn before its turn."""
    inbox = an_inbox(redis)
    await put_all(inbox, said("ada", 1, mention=True))
    assert await answer(inbox) == ["ada at 1"]
    await put_all(inbox, said("bob", 2), said("ada", 3, mention=True))
    await inbox.put(Withdrawal(message_id="test:ada:3"))
    await put_all(inbox, said("ada", 4), said("ada", 5, mention=True))
    await inbox.ensure_group()
    (lease,) = await inbox.lease(1, 1)
    begun = await inbox.begin(lease)
    assert begun
    assert begun.turn.gaps == {"test:ada:4": 4e9 + 2}


async def test_a_gap_begins_with_the_earliest_message_that_was_passed_over(redis: Redis) -> None:
    """In whatever order they arrive, and also with a mark that an earlier version has left without a time."""
    inbox = an_inbox(redis)
    await put_all(inbox, said("ada", 1, mention=True))
    assert await answer(inbox) == ["ada at 1"]
    await put_all(inbox, said("bob", 5), said("bob", 3), said("bob", 4), said("ada", 6, mention=True))
    (lease,) = await inbox.lease(1, 1)
    begun = await inbox.begin(lease)
    assert begun
    assert begun.turn.gaps == {"test:ada:6": 4e9 + 3}
    await put_all(inbox, said("bob", 7))
    await inbox.finish(lease, begun.turn, gap=4e9 + 2)
    assert text(await redis.get(keys.joined(str(THREAD))) or b"") == "test:ada:6|4000000002.0|gap"
    assert await newest_answer(redis, THREAD) == "test:ada:6"
    await redis.set(keys.joined(str(THREAD)), "test:ada:6|gap")
    assert await newest_answer(redis, THREAD) == "test:ada:6"
    await put_all(inbox, said("bob", 8), said("ada", 9, mention=True))
    (lease,) = await inbox.lease(1, 1)
    begun = await inbox.begin(lease)
    assert begun
    assert begun.turn.gaps == {"test:ada:9": 0}


async def test_a_message_that_cannot_be_read_leaves_a_gap(redis: Redis) -> None:
    """Fault: the agent was never given what had been passed over before it, nor the message itself."""
    inbox = an_inbox(redis)
    await put_all(inbox, said("ada", 1, mention=True))
    assert await answer(inbox) == ["ada at 1"]
    await put_all(inbox, said("bob", 2), said("ada", 3, mention=True))
    box = keys.messages(str(THREAD))
    (id,) = await redis.hkeys(box)
    await redis.hset(box, id, '{"shape": "unknown"}')
    (lease,) = await inbox.lease(1, 1)
    assert await inbox.begin(lease) is None
    await put_all(inbox, said("ada", 4, mention=True))
    (lease,) = await inbox.lease(1, 1)
    begun = await inbox.begin(lease)
    assert begun
    assert begun.turn.gaps == {"test:ada:4": 0}, "the time of that message is not known"
