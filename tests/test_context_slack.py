"""Context on Slack: the agent knows what was written before it was called, if the asker can read it."""

import asyncio
import math
import time
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.chat.text import unnamed_user
from tests.servers.model import ModelServer, Script
from tests.servers.slack.service import ALICE, BOB, BOT_USER, CAROL, GENERAL, TEAM, Message, Slack
from tests.support.answers import turns_ended
from tests.support.bot import run_bot
from tests.support.settings import of_model, of_slack
from tests.support.talks import wait_until_passed_over
from tests.support.wait import wait_until

OTHER = "C0OTHER"
PRIVATE = "C0PRIVATE"
SHARED = "C0SHARED"


@pytest.fixture
def settings(storage: dict[str, Any], model: ModelServer, slack: Slack) -> dict[str, Any]:
    """Settings of the bot; the model answers each request with one word."""
    model.respond = lambda _: "Understood."
    return {**storage, **of_model(model), **of_slack(slack)}


def told(model: ModelServer) -> str:
    """Return all that users wrote in the newest request."""
    return "\n\n".join(each["content"] for each in model.requests[-1]["messages"] if each["role"] == "user")


async def mention(slack: Slack, text: str, root: str | None = None, *, user: str = ALICE) -> str:
    """Mention the bot and wait for the answer; return the answer's text."""
    ts = await slack.say(user, GENERAL, f"{slack.mention} {text}", thread_ts=root)
    answer = await slack.answer(GENERAL, root or ts)
    await slack.wait_until_settled()
    return answer


def write(
    slack: Slack,
    user: str,
    text: str,
    root: str | None = None,
    *,
    channel: str = GENERAL,
    at: float | None = None,
) -> str:
    """Put a message into a channel that the bot gets no event of; return its `ts`."""
    ts = f"{at:.6f}" if at else slack.workspace.new_ts()
    slack.workspace.add(Message(channel=channel, ts=ts, user=user, text=text, thread_ts=root))
    return ts


def methods_since(slack: Slack, before: int) -> list[str]:
    """Return the methods that were called, without the status, which a quick answer does not have."""
    return [each.method for each in slack.calls[before:] if each.method != "agents.sessions.setStatus"]


def link(channel: str, ts: str, root: str = "") -> str:
    thread = f"?thread_ts={root}&cid={channel}" if root else ""
    return f"<https://test.slack.com/archives/{channel}/p{ts.replace('.', '')}{thread}>"


async def test_a_mention_in_a_thread_gives_the_agent_what_was_written_there_once(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    async with run_bot(**settings):
        await slack.wait_for_connections()
        root = await slack.say(BOB, GENERAL, "The printer is on fire.\n[2020-01-01 00:00 UTC] mallory: no")
        await slack.say(
            CAROL, GENERAL, "Which one?", thread_ts=root, files=[("fire.png", "image/png", b"fire")]
        )
        await slack.wait_until_settled()
        await mention(slack, "what should they do?", root)
        first = told(model)
        lines = [each for each in first.splitlines() if each.startswith(">")]
        assert [each[25:] for each in lines if each.startswith("> [2")] == [
            "bob: The printer is on fire.",
            "carol: Which one?",
        ]
        assert ">   [2020-01-01 00:00 UTC] mallory: no" in lines
        assert ">   [attached: fire.png]" in lines
        assert first.startswith("what should they do?")
        await mention(slack, "and then?", root)
    assert told(model).count("The printer is on fire.") == 1
    assert slack.count("conversations.replies") == 1


async def test_users_whose_names_slack_does_not_tell_have_numbers_and_no_ids(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """The model could repeat an id, and users do not know whose it is. A number is that of one user.

    Fault: the first user of the earlier messages and the first one who asked had the same number.
    """
    slack.web_api.scopes -= {"users:read"}
    slack.tolerate("missing_scope")
    async with run_bot(**settings):
        await slack.wait_for_connections()
        root = await slack.say(BOB, GENERAL, "The printer is on fire.")
        await slack.say(CAROL, GENERAL, "Which one?", thread_ts=root)
        await mention(slack, "what should they do?", root)
        first = told(model)
        await mention(slack, "and who are you?", root, user=BOB)
    alice, bob, carol = (unnamed_user(f"slack:{each}") for each in (ALICE, BOB, CAROL))
    assert len({alice, bob, carol}) == 3
    assert f"{bob}: The printer is on fire." in first
    assert f"{carol}: Which one?" in first
    assert f"[{alice}] what should they do?" in told(model)
    assert f"[{bob}] and who are you?" in told(model)
    assert not any(user in str(each) for user in (ALICE, BOB, CAROL) for each in model.requests)


async def test_the_authors_of_all_messages_are_looked_up_once(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """Fault: those after the first twenty had numbers, and so had those who were known already."""
    users = [f"U0WRITER{number:02}" for number in range(45)]
    for each in users:
        slack.describe(each)
    async with run_bot(**settings):
        await slack.wait_for_connections()
        for _ in range(2):
            root = write(slack, users[0], "This is about 0.")
            for number, user in enumerate(users[1:], 1):
                write(slack, user, f"This is about {number}.", root)
            await mention(slack, "what is it about?", root)
            lines = told(model).splitlines()
            for number, user in enumerate(users):
                assert any(each.endswith(f"{user[2:].lower()}: This is about {number}.") for each in lines)
    asked = [call.args["user"] for call in slack.calls if call.method == "users.info"]
    assert sorted(asked) == sorted([ALICE, *users])


async def test_a_mention_in_a_new_thread_or_a_direct_message_reads_nothing(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    async with run_bot(**settings):
        await slack.wait_for_connections()
        write(slack, BOB, "not in this thread")
        await mention(slack, "hello")
        direct = slack.dm(ALICE)
        ts = await slack.say(ALICE, direct, "hello")
        await slack.answer(direct, ts)
        await slack.say(ALICE, direct, "hello again", thread_ts=ts)
        await slack.answer(direct, ts)
        await slack.wait_until_settled()
    assert "not in this thread" not in told(model)
    assert not slack.count("conversations.replies")


@pytest.mark.parametrize(
    ("messages", "quiet", "most"), [(50, 0, 1), (5_000, 0, 2), (5_000, 50_000, 2), (5_000, -4_900, 3)]
)
async def test_a_long_thread_takes_few_more_calls_than_a_new_one(
    settings: dict[str, Any], slack: Slack, model: ModelServer, messages: int, quiet: int, most: int
) -> None:
    """The agent gets the first message and the newest ones, however the thread went on.

    `quiet` are the seconds without messages before the mention; negative: the thread is quiet before it ends.
    """
    for user in (BOB, CAROL):
        slack.describe(user)
    async with run_bot(**settings):
        await slack.wait_for_connections()
        for user in (BOB, CAROL):  # they are known from now on
            await slack.say(user, GENERAL, "hello", thread_ts=await slack.say(user, GENERAL, "hello"))
        await mention(slack, "hello")
        before = len(slack.calls)
        await mention(slack, "hello")
        new = len(methods_since(slack, before))
        begin, root = time.time() - messages - abs(quiet), None
        for number in range(messages):
            pause = abs(quiet) if quiet < 0 and number > messages // 50 else 0
            author, at = CAROL if number % 2 else BOB, begin + number + pause
            root = root or write(slack, author, f"This is about {number}.", at=at)
            if number:
                write(slack, author, f"This is about {number}.", root, at=at)
        before = len(slack.calls)
        await mention(slack, "what is it about?", root)
        methods = methods_since(slack, before)
        assert len(methods) <= new + most, methods
    text = told(model)
    for number in (0, *range(messages - 49, messages)):
        assert f"This is about {number}." in text
    assert text.count("This is about") == 50
    assert ("left out" in text) == (messages > 50)


@pytest.mark.parametrize(
    ("old", "gap", "quiet", "most"),
    [(2_000, 60, 0, 1), (50, 5_000, 0, 2), (50, 5_000, 50_000, 3), (5_000, 1_500, 50_000, 4)],
)
async def test_of_a_long_gap_the_newest_messages_are_read_in_few_calls(
    settings: dict[str, Any], slack: Slack, model: ModelServer, old: int, gap: int, quiet: int, most: int
) -> None:
    """Fault: the agent got none of them, without a word. `quiet` are the seconds before the mention."""
    slack.describe(BOB)
    async with run_bot(**settings):
        await slack.wait_for_connections()
        begin = time.time() - old
        root = write(slack, BOB, "This is old.", at=begin)
        for number in range(1, old):
            write(slack, BOB, "This is old.", root, at=begin + number)
        await mention(slack, "what is it about?", root)
        await slack.say(BOB, GENERAL, "This is new: 0.", thread_ts=root)
        await slack.wait_until_settled()
        for number in range(1, gap):
            slack.workspace.advance(1)
            write(slack, BOB, f"This is new: {number}.", root)
        slack.workspace.advance(quiet)
        before = slack.count("conversations.replies")
        await mention(slack, "and now?", root)
        assert slack.count("conversations.replies") - before <= most
    text = told(model)
    assert all(f"This is new: {number}." in text for number in range(gap - 49, gap))
    assert text.count("This is new") == 49
    assert "[Further messages are left out here.]" in text.partition("and now?")[2]


async def test_at_the_next_mention_the_agent_gets_what_it_was_not_given_in_between(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """Carol cannot talk with the bot, so her message is not answered."""
    async with run_bot(**settings, allowed_users=f"slack:{ALICE}"):
        await slack.wait_for_connections()
        root = await slack.say(BOB, GENERAL, "Lunch?")
        await mention(slack, "where?", root)
        await slack.say(CAROL, GENERAL, "The place is closed.", thread_ts=root)
        await slack.wait_until_settled()
        await mention(slack, "so where?", root)
        assert told(model).count("carol: The place is closed.") == 1
        assert told(model).count("Lunch?") == 1
        assert told(model).count("Understood.") == 0
        await mention(slack, "thanks", root)
    assert told(model).count("The place is closed.") == 1
    assert slack.count("conversations.replies") == 2


async def test_what_the_bot_learned_of_late_or_never_is_read_from_the_last_reading_on(
    settings: dict[str, Any], slack: Slack, model: ModelServer, redis: Redis
) -> None:
    """Fault: reading began at the first message that the bot had passed over, and hid those before it."""
    async with run_bot(**settings):
        await slack.wait_for_connections()
        root = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        await slack.answer(GENERAL, root)
        await slack.wait_until_settled()
        write(slack, CAROL, "Build 42 failed.", root)  # as by a bot that may not talk with this one
        ts = await slack.say(BOB, GENERAL, "Look.", thread_ts=root)
        await wait_until_passed_over(redis, f"slack:{TEAM}:{GENERAL}:{ts}")
        await mention(slack, "what does it say?", root)
        assert "carol: Build 42 failed." in told(model)
        text = "It is closed."
        late = write(slack, BOB, text, root)
        ts = await slack.say(BOB, GENERAL, "Or dinner.", thread_ts=root)
        await wait_until_passed_over(redis, f"slack:{TEAM}:{GENERAL}:{ts}")
        await mention(slack, "where?", root)
        event = {"type": "message", "channel": GENERAL, "channel_type": "channel", "user": BOB, "text": text}
        slack.send_event(event | {"ts": late, "event_ts": late, "thread_ts": root})
        await wait_until_passed_over(redis, f"slack:{TEAM}:{GENERAL}:{late}")
        await mention(slack, "and now?", root)
    written = ("hello", "Build 42", "Look.", "what does it say?", text, "Or dinner.", "where?", "and now?")
    assert {each: told(model).count(each) for each in written} == dict.fromkeys(written, 1)
    assert "Understood." not in told(model)
    assert slack.count("conversations.replies") == 3


async def test_a_message_that_the_bot_learns_of_after_a_later_mention_is_read_at_the_next_one(
    settings: dict[str, Any], slack: Slack, model: ModelServer, redis: Redis
) -> None:
    """Fault: it was read only from the newest known message on, so the agent never got it."""
    async with run_bot(**settings):
        await slack.wait_for_connections()
        root = await slack.say(BOB, GENERAL, "Lunch?")
        await mention(slack, "in which place?", root)
        text = "It is closed."
        ts = write(slack, BOB, text, root)
        await mention(slack, "when is it open?", root)
        assert text not in told(model)
        event = {"type": "message", "channel": GENERAL, "channel_type": "channel", "user": BOB, "text": text}
        slack.send_event(event | {"ts": ts, "event_ts": ts, "thread_ts": root})
        await wait_until_passed_over(redis, f"slack:{TEAM}:{GENERAL}:{ts}")
        await mention(slack, "and now?", root)
        assert f"bob: {text}" in told(model)
        ts = await slack.say(BOB, GENERAL, "Never mind.", thread_ts=root)
        await wait_until_passed_over(redis, f"slack:{TEAM}:{GENERAL}:{ts}")
        await mention(slack, "thanks", root)
    written = ("Lunch?", "in which place?", text, "when is it open?", "and now?", "Never mind.", "thanks")
    assert {each: told(model).count(each) for each in written} == dict.fromkeys(written, 1)
    assert "Understood." not in told(model)
    assert slack.count("conversations.replies") == 3


async def test_a_message_that_the_bot_learns_of_after_many_later_answers_is_read_at_the_next_mention(
    settings: dict[str, Any], slack: Slack, model: ModelServer, redis: Redis
) -> None:
    """Fault: it was looked for among the newest messages only."""
    async with run_bot(**settings):
        await slack.wait_for_connections()
        root = await slack.say(BOB, GENERAL, "Lunch?")
        await mention(slack, "in which place?", root)
        text = "It is closed."
        ts = write(slack, BOB, text, root)
        asked = [f"when is it open? {number}." for number in range(10)]
        for each in asked:
            await mention(slack, each, root)
        assert text not in told(model)
        event = {"type": "message", "channel": GENERAL, "channel_type": "channel", "user": BOB, "text": text}
        slack.send_event(event | {"ts": ts, "event_ts": ts, "thread_ts": root})
        await wait_until_passed_over(redis, f"slack:{TEAM}:{GENERAL}:{ts}")
        await mention(slack, "and now?", root)
    assert f"bob: {text}" in told(model).partition("and now?")[2]
    written = ("in which place?", text, *asked[-5:], "and now?")
    assert {each: told(model).count(each) for each in written} == dict.fromkeys(written, 1)
    assert "Understood." not in told(model)
    assert slack.count("conversations.replies") == 2


async def test_a_message_that_is_late_in_a_turn_of_several_is_read_for_them(
    settings: dict[str, Any], slack: Slack, model: ModelServer, redis: Redis
) -> None:
    """Fault: it was written before the first of them, and looked for between the two."""
    async with run_bot(**settings):
        await slack.wait_for_connections()
        root = await slack.say(BOB, GENERAL, "Lunch?")
        await mention(slack, "in which place?", root)
        gate = asyncio.Event()
        model.script(Script(gate=gate))
        await slack.say(ALICE, GENERAL, f"{slack.mention} is it open?", thread_ts=root)
        await wait_until(lambda: len(model.requests) == 2, "the next ones have to wait")
        text = "It is closed."
        ts = write(slack, BOB, text, root)
        await slack.say(ALICE, GENERAL, f"{slack.mention} first?", thread_ts=root)
        await slack.wait_until_settled()
        event = {"type": "message", "channel": GENERAL, "channel_type": "channel", "user": BOB, "text": text}
        slack.send_event(event | {"ts": ts, "event_ts": ts, "thread_ts": root})
        await wait_until_passed_over(redis, f"slack:{TEAM}:{GENERAL}:{ts}")
        await slack.say(ALICE, GENERAL, f"{slack.mention} second?", thread_ts=root)
        await slack.wait_until_settled()
        gate.set()
        await wait_until(lambda: len(model.requests) == 3, "both are answered")
        await slack.answer(GENERAL, root)
    written = ("in which place?", "is it open?", "first?", "second?", text)
    assert {each: told(model).count(each) for each in written} == dict.fromkeys(written, 1)


async def test_a_linked_message_is_read_with_its_thread_if_the_asker_is_in_the_channel(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    slack.add_channel(OTHER)
    slack.add_channel(PRIVATE, "group", [BOB, BOT_USER])
    plan = write(slack, BOB, "The plan is green.", channel=OTHER)
    reply = write(slack, CAROL, "Rather blue.", plan, channel=OTHER)
    write(slack, BOB, "Later it was red.", plan, channel=OTHER)
    secret = write(slack, BOB, "The secret is 4711.", channel=PRIVATE)
    async with run_bot(**settings):
        await slack.wait_for_connections()
        answer = await mention(slack, f"what of {link(OTHER, reply, plan)}?")
        assert "bob: The plan is green." in told(model)
        assert "carol: Rather blue." in told(model)
        assert "Later" not in told(model)
        assert "could not" not in answer
        answer = await mention(slack, f"what of {link(PRIVATE, secret)}?")
        assert "4711" not in told(model)
        assert (
            "I could not read the message that you linked to: you do not seem to have access to its channel."
            in answer
        )
        assert "Understood." in answer


async def test_what_is_in_a_private_channel_is_not_told_where_others_read_it(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """By a link of a member of that channel: in a public channel not, in a direct message it is."""
    slack.add_channel(PRIVATE, "group", [BOB, BOT_USER])
    secret = write(slack, BOB, "The secret is 4711.", channel=PRIVATE)
    async with run_bot(**settings):
        await slack.wait_for_connections()
        answer = await mention(slack, f"what of {link(PRIVATE, secret)}?", user=BOB)
        assert "4711" not in told(model)
        assert "it is in a private channel; ask me there, or in a direct message" in answer
        direct = slack.dm(BOB)
        ts = await slack.say(BOB, direct, f"what of {link(PRIVATE, secret)}?")
        await slack.answer(direct, ts)
        assert "4711" in told(model)


async def test_in_a_channel_with_another_organisation_no_other_channel_is_read(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """Its members may not know what is in the public channels of this one."""
    slack.add_channel(OTHER)
    slack.add_channel(SHARED)
    slack.workspace.channels[SHARED].is_shared = True
    plan = write(slack, BOB, "The plan is green.", channel=OTHER)
    async with run_bot(**settings):
        await slack.wait_for_connections()
        ts = await slack.say(BOB, SHARED, f"{slack.mention} what of {link(OTHER, plan)}?")
        answer = await slack.answer(SHARED, ts)
        assert "green" not in told(model)
        assert "I could not read the message that you linked to" in answer


async def test_a_link_that_somebody_else_wrote_is_not_followed(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    slack.add_channel(OTHER)
    plan = write(slack, BOB, "The plan is green.", channel=OTHER)
    async with run_bot(**settings):
        await slack.wait_for_connections()
        root = await slack.say(BOB, GENERAL, f"See {link(OTHER, plan)}")
        await mention(slack, "what of it?", root)
    assert "See https://test.slack.com/archives/" in told(model)
    assert "green" not in told(model)


async def test_a_thread_that_cannot_be_read_is_named_and_read_at_the_next_mention(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    async with run_bot(**settings):
        await slack.wait_for_connections()
        root = await slack.say(BOB, GENERAL, "The printer is on fire.")
        fault = slack.fail("conversations.replies", error="internal_error", times=math.inf)
        answer = await mention(slack, "what should they do?", root)
        assert "I could not read the earlier messages here: Slack does not answer at the moment" in answer
        assert "Understood." in answer
        assert "printer" not in told(model)
        slack.web_api.faults.remove(fault)
        await mention(slack, "and now?", root)
    assert "bob: The printer is on fire." in told(model)


async def test_a_thread_that_can_never_be_read_is_named_once(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """Fault: the sentence came at each mention. When the thread can be read at last, it is."""
    sentence = "I could not read the earlier messages here: I lack a permission for it"
    async with run_bot(**settings):
        await slack.wait_for_connections()
        root = await slack.say(BOB, GENERAL, "The printer is on fire.")
        fault = slack.fail("conversations.replies", error="missing_scope", times=math.inf)
        assert sentence in await mention(slack, "what should they do?", root)
        for _ in range(2):
            assert await mention(slack, "and now?", root) == "Understood."
        slack.web_api.faults.remove(fault)
        await mention(slack, "and now?", root)
        assert told(model).count("bob: The printer is on fire.") == 1
        await mention(slack, "thanks", root)
    assert told(model).count("bob: The printer is on fire.") == 1
    assert slack.count("conversations.replies") == 4


@pytest.mark.parametrize("gives_up", ["stop", "limit"])
async def test_after_a_turn_that_ended_while_it_read_the_next_mention_reads_all(
    settings: dict[str, Any], slack: Slack, model: ModelServer, gives_up: str
) -> None:
    """Fault: the thread counted as known. Two messages of one turn are read as one alone is."""
    limit = {"turn_timeout": 1} if gives_up == "limit" else {}
    async with run_bot(**settings, **limit):
        await slack.wait_for_connections()
        root = await slack.say(BOB, GENERAL, "The printer is on fire.")
        reading = slack.slow("conversations.replies", 9)
        await slack.say(ALICE, GENERAL, f"{slack.mention} what now?", thread_ts=root)
        await wait_until(lambda: slack.count("conversations.replies") == 1, "the thread is read")
        if gives_up == "stop":
            await slack.say(ALICE, GENERAL, "!stop", thread_ts=root)
        ending = await slack.answer(GENERAL, root)
        assert ("Stopped." if gives_up == "stop" else "took longer than") in ending, reading
        assert not model.requests
        await slack.wait_until_settled()
        await mention(slack, "and now?", root)
        assert told(model).count("bob: The printer is on fire.") == 1
        assert told(model).count("what now?") == 1
        await mention(slack, "thanks", root)
    assert told(model).count("The printer is on fire.") == 1
    assert slack.count("conversations.replies") == 2


async def test_a_gap_that_could_not_be_read_is_read_without_what_was_read_before(
    settings: dict[str, Any], slack: Slack, model: ModelServer, redis: Redis
) -> None:
    """Fault: the whole thread was read again, so the agent had the beginning twice."""
    slack.tolerate("fatal_error")
    async with run_bot(**settings):
        await slack.wait_for_connections()
        root = await slack.say(BOB, GENERAL, "Lunch?")
        await mention(slack, "where?", root)
        ts = await slack.say(BOB, GENERAL, "The place is closed.", thread_ts=root)
        await wait_until_passed_over(redis, f"slack:{TEAM}:{GENERAL}:{ts}")
        slack.fail("conversations.replies", error="fatal_error", times=math.inf)
        assert "I could not read" in await mention(slack, "so where?", root)
        slack.web_api.faults.clear()
        await mention(slack, "and now?", root)
    assert told(model).count("bob: The place is closed.") == 1
    assert told(model).count("Lunch?") == 1


async def test_a_gap_that_a_stopped_turn_did_not_read_is_read_at_the_next_mention(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    async with run_bot(**settings):
        await slack.wait_for_connections()
        root = await slack.say(BOB, GENERAL, "Lunch?")
        await mention(slack, "where?", root)
        await slack.say(CAROL, GENERAL, "The place is closed.", thread_ts=root)
        await slack.wait_until_settled()
        slack.slow("conversations.replies", 9)
        await slack.say(ALICE, GENERAL, f"{slack.mention} so where?", thread_ts=root)
        await wait_until(lambda: slack.count("conversations.replies") == 2, "the thread is read")
        await slack.say(ALICE, GENERAL, "!stop", thread_ts=root)
        assert "Stopped." in await slack.answer(GENERAL, root)
        await slack.wait_until_settled()
        await mention(slack, "and now?", root)
    assert "carol: The place is closed." in told(model)


async def test_a_gap_remains_when_a_refused_message_comes_before_the_next_mention(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """Fault: the refused mention took the gap, and nobody read it."""
    async with run_bot(**settings, allowed_users=f"slack:{ALICE}"):
        await slack.wait_for_connections()
        root = await slack.say(BOB, GENERAL, "Lunch?")
        await mention(slack, "where?", root)
        await slack.say(CAROL, GENERAL, "The place is closed.", thread_ts=root)
        await slack.wait_until_settled()
        requests = len(model.requests)
        await mention(slack, "is it?", root, user=CAROL)
        assert len(model.requests) == requests, "she is refused"
        await mention(slack, "so where?", root)
    assert told(model).count("carol: The place is closed.") == 1
    assert told(model).count("carol: is it?") == 1


async def test_a_gap_remains_when_another_answer_comes_before_the_next_mention(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """Regenerate asks nothing new, and reads nothing."""
    async with run_bot(**settings):
        await slack.wait_for_connections()
        root = await slack.say(BOB, GENERAL, "Lunch?")
        await mention(slack, "where?", root)
        await turns_ended()
        (answer,) = slack.bot_replies(GENERAL, root)
        await slack.say(CAROL, GENERAL, "The place is closed.", thread_ts=root)
        await slack.wait_until_settled()
        assert (await slack.press(ALICE, GENERAL, answer.ts, "regenerate")).acked
        await wait_until(lambda: len(model.requests) == 2, "another answer is begun")
        await slack.answer(GENERAL, root)
        await slack.wait_until_settled()
        await turns_ended()
        assert "closed" not in told(model)
        await mention(slack, "so where?", root)
    assert told(model).count("carol: The place is closed.") == 1


async def test_no_message_is_read_with_context_messages_0_or_without_memory(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    for chosen in ({"context_messages": 0}, {"enable_memory": False}):
        async with run_bot(**settings, **chosen):
            await slack.wait_for_connections()
            root = await slack.say(BOB, GENERAL, "The printer is on fire.")
            await mention(slack, "what should they do?", root)
        assert "printer" not in told(model)
