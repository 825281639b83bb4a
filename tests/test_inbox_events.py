"""Edits, deletions and stops in the inbox, on a real Redis."""

from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.chat import (
    Correction,
    Message,
    QuestionState,
    Stop,
    StopRefused,
    StoredDetails,
    ThreadId,
    Withdrawal,
)
from bot.inbox import Inbox, Lookup, admin, keys, queries
from tests.support.inbox import answer, begin

NOW = 4_000_000_000.0  # in the future: an edit is never too old


def a_message(text: str, thread: str = "t1", **changes: Any) -> Message:
    message = Message(
        id=f"test:{thread}:{text}",
        thread=ThreadId("test", "space", thread),
        author="test:ada",
        text=text,
        sent_at=NOW,
        addressed=True,
        channel="c1",
    )
    return replace(message, **changes)


@pytest.fixture
async def inbox(redis: Redis) -> Inbox:
    inbox = Inbox(redis, name="one", follow_days=30)
    await inbox.enter()
    return inbox


def edit(message: Message, text: str, at: float = 1) -> Correction:
    return Correction(message=replace(message, text=text), edited_at=at)


async def test_an_edit_replaces_a_message_that_waits(inbox: Inbox) -> None:
    """The newest wording counts, also when an older edit comes after it."""
    message = a_message("five")
    await inbox.put(message)
    assert await inbox.put(edit(message, "six", at=2)) == "replaced"
    assert await inbox.put(edit(message, "seven", at=1)) == "duplicate"
    assert await answer(inbox) == ["six"]


async def test_an_edit_of_the_message_under_way_is_the_next_turn(inbox: Inbox) -> None:
    """Its answer is half shown already."""
    message = a_message("five")
    await inbox.put(message)
    lease, begun = await begin(inbox)
    assert await inbox.put(edit(message, "six")) == "corrected"
    assert await inbox.put(edit(message, "six")) == "duplicate"
    await inbox.finish(lease, begun.turn)
    lease, begun = await begin(inbox)
    assert [(each.text, each.corrects) for each in begun.turn.messages] == [("six", message.id)]


async def test_only_the_last_answered_message_is_answered_again(inbox: Inbox) -> None:
    """An edit of one before it comes too late; the last one may be edited again and again."""
    first, last = a_message("first"), a_message("last")
    for message in (first, last):
        await inbox.put(message)
        await answer(inbox)
    assert await inbox.put(edit(first, "other")) == "ignored"
    for number in (1, 2):
        assert await inbox.put(edit(last, f"edit {number}", at=number)) == "corrected"
        assert await answer(inbox) == [f"edit {number}"]


async def test_an_edit_that_addresses_the_bot_counts_as_the_message(inbox: Inbox) -> None:
    """A mention that was forgotten and is edited in; but not into what somebody wrote long ago."""
    assert await inbox.put(edit(a_message("now"), "now")) == "kept"
    assert await inbox.put(a_message("now")) == "duplicate"
    assert await inbox.put(edit(a_message("then", sent_at=1.0), "then")) == "ignored"
    assert await answer(inbox) == ["now"]


async def test_an_edit_that_counted_as_the_message_is_a_duplicate_when_it_comes_again(inbox: Inbox) -> None:
    """It was answered once; an older wording that comes late changes nothing either."""
    message = a_message("five")
    assert await inbox.put(edit(message, "six", at=2)) == "kept"
    assert await inbox.put(edit(message, "seven", at=1)) == "duplicate"
    assert await answer(inbox) == ["six"]
    assert await inbox.put(edit(message, "six", at=2)) == "duplicate"


async def test_an_edited_reply_that_overtakes_its_mention_keeps_its_newest_wording(inbox: Inbox) -> None:
    """Its first wording and an older edit may come after the newest one."""
    reply = a_message("five", addressed=False, sent_at=NOW + 1)
    for early in (edit(reply, "six", at=2), reply, edit(reply, "seven", at=1)):
        assert await inbox.put(early) == "ignored"
    await inbox.put(a_message("mention"))
    assert await inbox.put(edit(reply, "six", at=2)) == "duplicate"
    assert await answer(inbox) == ["mention", "six"]


async def test_a_deleted_message_that_waits_is_not_answered(inbox: Inbox) -> None:
    """The others are, also when it was the first of them."""
    for text in ("one", "two", "three"):
        await inbox.put(a_message(text))
    assert await inbox.put(Withdrawal(message_id="test:t1:one")) == "removed"
    assert await inbox.put(Withdrawal(message_id="test:t1:one")) == "ignored"
    assert await answer(inbox) == ["two", "three"]


async def test_a_message_that_is_deleted_before_it_comes_is_not_taken(inbox: Inbox) -> None:
    """Services do not keep the order."""
    assert await inbox.put(Withdrawal(message_id="test:t1:one")) == "ignored"
    assert await inbox.put(a_message("one")) == "duplicate"


async def test_an_edit_that_comes_after_the_deletion_is_late(inbox: Inbox) -> None:
    """Nobody can edit what is deleted: neither under way nor answered is it asked again."""
    message = a_message("five")
    await inbox.put(message)
    lease, begun = await begin(inbox)
    await inbox.put(Withdrawal(message_id=message.id))
    assert await inbox.put(edit(message, "six")) == "ignored"
    await inbox.finish(lease, begun.turn)
    assert await inbox.put(edit(message, "six")) == "ignored"


async def test_what_corrects_a_message_is_deleted_with_it(inbox: Inbox) -> None:
    """While it waits it is taken out; under way it is stopped."""
    message = a_message("five")
    await inbox.put(message)
    lease, begun = await begin(inbox)
    await inbox.put(edit(message, "six"))
    await inbox.finish(lease, begun.turn)
    await begin(inbox)
    await inbox.put(edit(message, "seven", at=2))
    await inbox.put(a_message("other"))
    assert await inbox.put(Withdrawal(message_id=message.id)) == "stopped"
    await inbox.hand_over()
    lease, begun = await begin(inbox)
    assert (begun.stop_reason, [each.text for each in begun.turn.messages]) == ("withdrawn", ["six"])
    await inbox.finish(lease, begun.turn)
    assert await answer(inbox) == ["other"]


def an_order(question: Message, by: str = "bob") -> Message:
    """Return an order of another user to answer a question again."""
    return replace(
        question,
        id=f"regenerate:{question.text}:{by}",
        author=f"test:{by}",
        text="again",
        corrects=question.id,
        regenerates=question.id,
    )


async def test_an_order_to_answer_a_question_again_ends_when_the_question_is_deleted(inbox: Inbox) -> None:
    """Fault: the model went on with a text that its author had deleted."""
    question, running = a_message("five"), a_message("six", "t2")
    for each in (question, running):
        await inbox.put(each)
        await answer(inbox)
    await inbox.put(an_order(question))
    assert await inbox.put(Withdrawal(message_id=question.id)) == "removed"
    assert await inbox.put(an_order(question, "carol")) == "removed"
    (lease,) = await inbox.lease(1, 1)
    assert await inbox.begin(lease) is None
    await inbox.put(an_order(running))
    await begin(inbox)
    assert await inbox.put(Withdrawal(message_id=running.id)) == "stopped"
    await inbox.hand_over()
    _, begun = await begin(inbox)
    assert (begun.turn.messages[0].text, begun.stop_reason) == ("again", "withdrawn")


async def test_an_order_is_taken_for_the_newest_answer_of_a_thread_in_which_nothing_waits(
    inbox: Inbox,
) -> None:
    """One step decides: of two presses at once, one is taken, and so is its own repetition."""
    question, following = a_message("five"), a_message("six")
    await inbox.put(question)
    await answer(inbox)
    assert await inbox.put(an_order(question)) == "kept"
    assert await inbox.put(an_order(question, "carol")) == "refused"
    assert await inbox.put(an_order(question)) == "duplicate"
    assert (await inbox.newest_order("five", question.thread)) == ("regenerate:five:bob", True)
    await answer(inbox)
    await inbox.put(following)
    assert await inbox.put(an_order(question, "carol")) == "refused"
    await answer(inbox)
    assert await inbox.put(an_order(question, "carol")) == "ignored"


@pytest.mark.parametrize("change", ["edited", "answered again", "forgotten"])
async def test_an_order_is_not_taken_after_its_question_has_changed(
    inbox: Inbox, redis: Redis, change: str
) -> None:
    """The step that takes it decides: what was read before may be old by then."""
    question = a_message("five")
    await inbox.put(question)
    await answer(inbox)
    if change == "edited":
        await inbox.put(edit(question, "six"))
        await answer(inbox)
    elif change == "answered again":
        await inbox.put(an_order(question))
        lease, begun = await begin(inbox)
        details = StoredDetails("{bot}:answer:another", "{}", 60, "another")
        await inbox.finish(lease, begun.turn, details=details)
        state = await inbox.question(question.id)
        assert state == QuestionState(is_deleted=False, edited_at=-1.0, answer="another")
    else:
        await redis.delete(keys.seen(question.id))
        assert await inbox.question(question.id) is None
    assert await inbox.put(an_order(question, "carol")) == "ignored"


async def test_an_order_that_an_earlier_version_joined_with_a_message_loses_none(
    inbox: Inbox, redis: Redis
) -> None:
    """Its words count, as there: fault: the next question was taken back with the answer."""
    question, following = a_message("five"), a_message("six")
    await inbox.put(question)
    await answer(inbox)
    order = an_order(question)
    await inbox.put(order)
    await inbox.put(following)
    entries: Any = await redis.xrange(keys.mailbox(str(question.thread)))
    await redis.hset(keys.turn(order.id), "last", entries[-1][0])
    lease, begun = await begin(inbox)
    assert [each.id for each in begun.turn.messages] == [order.id, following.id]
    assert not begun.turn.regenerates
    await inbox.finish(lease, begun.turn)
    assert await redis.get(keys.joined(str(question.thread))) == following.id.encode()


async def test_an_order_that_is_withdrawn_itself_leaves_the_question(inbox: Inbox, redis: Redis) -> None:
    """Its user may have said that everything of theirs shall be forgotten."""
    question = a_message("five")
    await inbox.put(question)
    await answer(inbox)
    for is_running, outcome in ((False, "removed"), (True, "stopped")):
        order = an_order(question, outcome)
        await inbox.put(order)
        if is_running:
            await begin(inbox)
        assert await inbox.put(Withdrawal(message_id=order.id)) == outcome
    assert not await redis.hexists(keys.seen(question.id), "withdrawn")


async def test_a_mailbox_whose_last_message_is_deleted_leaves_nothing_behind(
    inbox: Inbox, redis: Redis
) -> None:
    """An empty stream would stay for ever."""
    await inbox.put(a_message("one"))
    await inbox.put(Withdrawal(message_id="test:t1:one"))
    (lease,) = await inbox.lease(1, 1)
    assert await inbox.begin(lease) is None
    assert not await redis.exists(f"{{bot}}:mailbox:{lease.thread}")


async def test_a_turn_is_stopped_when_all_its_messages_are_deleted(inbox: Inbox) -> None:
    """Somebody may still wait for the answer to the other one."""
    await inbox.put(a_message("one"))
    await inbox.put(a_message("two"))
    lease, begun = await begin(inbox)
    assert await inbox.put(Withdrawal(message_id="test:t1:one")) == "ignored"
    assert await inbox.renew({lease: begun.turn.id}) == ([], set())
    assert await inbox.put(Withdrawal(message_id="test:t1:two")) == "stopped"
    assert await inbox.renew({lease: begun.turn.id}) == ([], {begun.turn.id})


async def test_a_stop_of_the_thread_ends_the_turn_and_what_waits_behind_it(inbox: Inbox) -> None:
    """All of it was asked before; what is asked afterwards is answered."""
    await inbox.put(a_message("one"))
    lease, begun = await begin(inbox)
    await inbox.put(a_message("two"))
    stop = Stop(by="test:ada", thread=begun.turn.thread)
    assert await inbox.put(stop) == "stopped"
    await inbox.put(a_message("three"))
    assert await inbox.renew({lease: begun.turn.id}) == ([], {begun.turn.id})
    await inbox.finish(lease, begun.turn)
    assert await answer(inbox) == ["three"]
    assert await inbox.put(stop) == "idle"


async def test_a_turn_that_was_stopped_before_it_began_knows(inbox: Inbox) -> None:
    """It ends with a word instead of an answer; one that is put off is taken up at once."""
    await inbox.put(a_message("one"))
    lease, begun = await begin(inbox)
    await inbox.postpone(lease, begun.turn, 3600)
    assert await inbox.stop(Stop(by="test:ada", thread=begun.turn.thread)) == 1
    _, begun = await begin(inbox)
    assert begun.stop_reason == "stop"


@pytest.mark.parametrize("deleted", ["one", "two"])
async def test_a_turn_that_was_stopped_before_it_began_stays_what_it_is(inbox: Inbox, deleted: str) -> None:
    """A deletion neither lets the others off nor draws in what was asked after the stop."""
    for text in ("one", "two"):
        await inbox.put(a_message(text))
    await inbox.put(Stop(by="test:ada", thread=a_message("").thread))
    assert await inbox.put(Withdrawal(message_id=f"test:t1:{deleted}")) == "ignored"
    await inbox.put(a_message("three"))
    lease, begun = await begin(inbox)
    assert (begun.stop_reason, [each.text for each in begun.turn.messages]) == ("stop", ["one", "two"])
    await inbox.finish(lease, begun.turn)
    assert await answer(inbox) == ["three"]


async def test_a_message_is_stopped_by_its_author_alone(inbox: Inbox) -> None:
    """Nobody takes back what somebody else asked."""
    await inbox.put(a_message("one"))
    await begin(inbox)
    with pytest.raises(StopRefused):
        await inbox.stop(Stop(by="test:eve", message_id="test:t1:one"))
    assert await inbox.stop(Stop(by="test:ada", message_id="test:t1:one")) == 1


async def test_a_stop_by_somebody_who_did_not_ask_ends_nothing_of_others(redis: Redis) -> None:
    """Not the turn under way, not what waits behind it; who may overrule others ends both."""

    class Root:
        async def can_stop(self, author: str, thread: str) -> bool:
            return (author, thread) == ("test:root", str(a_message("").thread))

    inbox = Inbox(redis, name="one", follow_days=30, stop_policy=Root())
    await inbox.enter()
    await inbox.put(a_message("one"))
    lease, begun = await begin(inbox)
    await inbox.put(a_message("two"))
    thread = begun.turn.thread
    assert await inbox.put(Stop(by="test:eve", id="test:t1:!stop", thread=thread)) == "refused"
    assert await inbox.put(Stop(by="test:eve", message_id="test:t1:two")) == "refused"
    assert await inbox.renew({lease: begun.turn.id}) == ([], set())
    assert [each.text for each in await queries.unanswered_messages(redis)] == ["one", "two"]
    assert await inbox.put(Stop(by="test:root", thread=thread)) == "stopped"
    assert await inbox.renew({lease: begun.turn.id}) == ([], {begun.turn.id})
    assert [each.text for each in await queries.unanswered_messages(redis)] == ["one"]


async def test_a_stop_behind_somebody_elses_turn_takes_out_only_the_own_messages(inbox: Inbox) -> None:
    """The turn under way goes on, and so does what others asked behind it."""
    await inbox.put(a_message("one"))
    lease, begun = await begin(inbox)
    await inbox.put(a_message("two", author="test:bob"))
    await inbox.put(a_message("three", author="test:cid"))
    assert await inbox.stop(Stop(by="test:bob", thread=begun.turn.thread)) == 1
    assert await inbox.renew({lease: begun.turn.id}) == ([], set())
    await inbox.finish(lease, begun.turn)
    assert await answer(inbox) == ["three"]


async def test_a_stop_before_a_turn_is_made_ends_only_what_its_author_asked(inbox: Inbox) -> None:
    """A question of others meanwhile would have been in the same turn; it is answered."""
    await inbox.put(a_message("one"))
    await inbox.put(a_message("two", author="test:bob"))
    await inbox.put(a_message("three"))
    assert await inbox.stop(Stop(by="test:ada", thread=a_message("").thread)) == 1
    lease, begun = await begin(inbox)
    assert (begun.stop_reason, [each.text for each in begun.turn.messages]) == ("stop", ["one"])
    await inbox.finish(lease, begun.turn)
    assert await answer(inbox) == ["two"]


@pytest.mark.parametrize("message", ["one", "two"])
async def test_an_author_of_a_turn_can_end_it(inbox: Inbox, message: str) -> None:
    """Also with a cross on what the other one asked in the same turn."""
    await inbox.put(a_message("one"))
    await inbox.put(a_message("two", author="test:bob"))
    lease, begun = await begin(inbox)
    assert await inbox.stop(Stop(by="test:bob", message_id=f"test:t1:{message}")) == 1
    assert await inbox.renew({lease: begun.turn.id}) == ([], {begun.turn.id})


async def test_a_stop_in_a_channel_ends_what_this_person_asked_there(inbox: Inbox) -> None:
    """In all its threads, and nowhere else."""
    await inbox.put(a_message("mine", "t1"))
    await inbox.put(a_message("mine too", "t2"))
    await inbox.put(a_message("elsewhere", "t3", channel="c2"))
    await inbox.put(a_message("not mine", "t4", author="test:eve"))
    assert await inbox.stop(Stop(by="test:ada", channel="c1")) == 2


async def test_a_reply_that_overtakes_its_mention_is_answered_after_it(inbox: Inbox) -> None:
    """A message before the mention was not said to the bot."""
    assert await inbox.put(a_message("before", addressed=False, sent_at=NOW - 1)) == "ignored"
    assert await inbox.put(a_message("after", addressed=False, sent_at=NOW + 1)) == "ignored"
    await inbox.put(a_message("mention"))
    assert await answer(inbox) == ["mention", "after"]
    assert await inbox.put(a_message("after", addressed=False, sent_at=NOW + 1)) == "duplicate"


async def test_a_reply_that_overtakes_its_mention_is_answered_in_a_busy_thread_too(
    inbox: Inbox, redis: Redis
) -> None:
    """Fault: a store that was full stayed full for as long as people talked, and took nothing more."""
    for number in range(150):
        talk = a_message(f"talk {number}", addressed=False, sent_at=NOW - 150 + number)
        assert await inbox.put(talk) == "ignored"
    for number in range(2):
        await inbox.put(a_message(f"after {number}", addressed=False, sent_at=NOW + 1 + number))
    (early,) = await redis.keys("{bot}:early:*")
    assert await redis.hlen(early) == 100
    assert await redis.ttl(early) > 0
    await inbox.put(a_message("mention"))
    assert await answer(inbox) == ["mention", "after 0", "after 1"]


async def test_crashes_and_failures_are_counted_apart(inbox: Inbox, redis: Redis) -> None:
    """A service that is away uses up neither; a hand-over is no crash."""
    await inbox.put(a_message("one"))
    lease, begun = await begin(inbox)
    await inbox.postpone(lease, begun.turn, 0, error="away")
    lease, begun = await begin(inbox)
    await inbox.postpone(lease, begun.turn, 0, error="a bug", failed=True)
    _, begun = await begin(inbox)
    assert (begun.turn.failures, begun.turn.crashes, begun.error) == (1, 0, "a bug")
    await inbox.hand_over()
    again = Inbox(redis, name="one", follow_days=30)
    await again.enter()
    lease, begun = await begin(again)
    assert (begun.turn.crashes, begun.has_crashed, begun.turn.attempt) == (0, False, 4)
    begun = await again.begin(lease)  # type: ignore[assignment]  # it waits, so there is one
    assert (begun.turn.crashes, begun.has_crashed) == (0, False), "who runs it again itself has not died"
    reborn = Inbox(redis, name="one", follow_days=30)
    (lease,) = await reborn.enter()
    begun = await reborn.begin(lease)  # type: ignore[assignment]  # as above
    assert (begun.turn.crashes, begun.has_crashed) == (1, True)


async def test_a_replayed_message_is_known_to_be_edited(inbox: Inbox, redis: Redis) -> None:
    """An older edit that comes late is a duplicate, and the answer to a correction is that to its message."""
    message = a_message("five")
    await inbox.put(message)
    await answer(inbox)
    await inbox.put(edit(message, "six", at=2))
    lease, begun = await begin(inbox)
    await inbox.finish(lease, begun.turn, dead="a bug")
    await inbox.put(a_message("other"))
    await answer(inbox)
    await admin.replay(redis, "all")
    assert await answer(inbox) == ["six"]
    assert await inbox.put(edit(message, "seven", at=1)) == "duplicate"
    assert await inbox.put(edit(message, "eight", at=3)) == "corrected"


async def test_an_operator_sees_replays_and_drops(inbox: Inbox, redis: Redis) -> None:
    """A dead message that is put back is answered as a fresh turn."""
    assert await admin.list_messages(redis) == "The inbox is empty."
    for text in ("one", "two"):
        await inbox.put(a_message(text, thread=text))
    for _ in range(2):
        lease, begun = await begin(inbox)
        await inbox.keep(lease, begun.turn, {"ending": "sorry"})
        await inbox.finish(lease, begun.turn, dead="a bug")
    listing = await admin.list_messages(redis)
    assert listing.count("a bug") == 2
    entry = listing.split()[1]
    assert await admin.replay(redis, entry) == "1 message put back."
    assert "waiting" in await admin.list_messages(redis)
    _, begun = await begin(inbox)
    assert (begun.turn.messages[0].text, begun.turn.attempt, begun.receipt) == ("one", 1, {})
    assert begun.turn.gaps == {begun.turn.id: 0}, "what was written before it is read"
    assert "running  on one.1" in await admin.list_messages(redis)
    assert await admin.drop(redis, "all") == "1 message dropped."
    assert "There is no dead message" in await admin.drop(redis, entry)


async def test_a_stop_that_comes_late_spares_what_was_asked_after_it(inbox: Inbox) -> None:
    """Typed, it is read again from the history; under way or waiting, what is newer goes on."""
    await inbox.put(a_message("old"))
    await inbox.put(a_message("new", sent_at=NOW + 20))
    stop = Stop(by="test:ada", id="test:t1:!stop", at=NOW + 10, thread=a_message("").thread, channel="c1")
    assert await inbox.put(stop) == "stopped"
    lease, begun = await begin(inbox)
    assert (begun.stop_reason, [each.text for each in begun.turn.messages]) == ("stop", ["old"])
    await inbox.finish(lease, begun.turn)
    lease, begun = await begin(inbox)
    assert (begun.stop_reason, [each.text for each in begun.turn.messages]) == (None, ["new"])
    again = Stop(by="test:ada", id="test:t1:again", at=NOW + 10, thread=a_message("").thread, channel="c1")
    assert await inbox.put(again) == "idle", "the turn under way is newer"


async def test_a_stop_that_comes_early_ends_the_message_it_was_written_after(inbox: Inbox) -> None:
    """Fault: a service that sends events again mixes up their order, and the answer was given in full."""
    thread = a_message("").thread
    assert await inbox.put(Stop(by="test:ada", at=NOW + 10, thread=thread)) == "idle"
    assert await inbox.put(Stop(by="test:ada", at=NOW + 5, thread=thread)) == "idle", "an older one, later"
    await inbox.put(a_message("old", sent_at=NOW + 8))
    await inbox.put(a_message("others", author="test:bob", sent_at=NOW + 9))
    await inbox.put(a_message("new", sent_at=NOW + 20))
    lease, begun = await begin(inbox)
    assert (begun.stop_reason, [each.text for each in begun.turn.messages]) == ("stop", ["old"])
    await inbox.finish(lease, begun.turn)
    assert await answer(inbox) == ["others", "new"]


async def test_a_stop_that_comes_early_ends_what_waits_behind_a_turn_of_somebody_else(inbox: Inbox) -> None:
    """It is not answered, as if the stop had come later, and comes no more if it is delivered again."""
    await inbox.put(a_message("others", author="test:bob"))
    lease, begun = await begin(inbox)
    with pytest.raises(StopRefused):
        await inbox.stop(Stop(by="test:ada", at=NOW + 10, thread=begun.turn.thread))
    assert await inbox.put(a_message("old")) == "kept"
    assert await inbox.put(a_message("old")) == "duplicate"
    assert await inbox.put(a_message("new", sent_at=NOW + 20)) == "kept"
    await inbox.finish(lease, begun.turn)
    assert await answer(inbox) == ["new"]


async def test_a_stop_that_comes_early_ends_what_waits_for_its_mention(inbox: Inbox) -> None:
    mention, reply = a_message("mention"), a_message("reply", addressed=False, sent_at=NOW + 1)
    later = a_message("later", addressed=False, sent_at=NOW + 3)
    assert [await inbox.put(each) for each in (reply, later)] == ["ignored"] * 2
    await inbox.put(Stop(by="test:ada", at=NOW + 2, thread=mention.thread))
    assert await inbox.put(mention) == "kept"
    lease, begun = await begin(inbox)
    assert (begun.stop_reason, [each.text for each in begun.turn.messages]) == ("stop", ["mention"])
    await inbox.finish(lease, begun.turn)
    assert await answer(inbox) == ["later"]


async def test_an_early_stop_by_who_overrules_others_ends_what_everybody_wrote_before(redis: Redis) -> None:
    class Root:
        async def can_stop(self, author: str, thread: str) -> bool:
            return author == "test:root"

    inbox = Inbox(redis, name="one", follow_days=30, stop_policy=Root())
    await inbox.enter()
    await inbox.put(Stop(by="test:root", at=NOW + 10, thread=a_message("").thread))
    await inbox.put(a_message("one"))
    _, begun = await begin(inbox)
    assert begun.stop_reason == "stop"


async def test_a_stop_that_comes_twice_stops_nothing_else(inbox: Inbox, redis: Redis) -> None:
    """Its thread is idle by then, and it would go on to the author's other threads."""
    await inbox.put(a_message("one"))
    stop = Stop(by="test:ada", id="test:t1:!stop", at=NOW + 10, thread=a_message("").thread, channel="c1")
    assert await inbox.put(stop) == "stopped"
    assert await answer(inbox) == ["one"]
    await inbox.put(a_message("two", "t2"))
    assert await inbox.put(stop) == "duplicate"
    assert await Lookup(redis).is_known(stop.id), "so it does not look like a missed message"
