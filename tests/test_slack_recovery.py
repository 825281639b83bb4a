"""Answers on Slack that fail or continue after a crash: shown once, complete, in the same messages."""

from collections.abc import AsyncIterator, Mapping
from functools import partial

import pytest

from bot.chat import AnswerError, Json, LeaseLost, Message, Part, Receipt, Text, Turn, Unreachable
from tests.servers.slack.service import ALICE, GENERAL, Slack
from tests.support import slack_platform
from tests.support.slack_platform import LONG, Bot, Serve, a_message, gated_answer, own
from tests.support.wait import wait_until

hostile_environment = slack_platform.hostile_environment
serving = slack_platform.serve
server = slack_platform.server


async def test_when_the_answer_fails_its_stream_is_ended_and_the_error_passes(
    server: Slack, serving: Serve
) -> None:
    async def answer(message: Message) -> AsyncIterator[Part]:
        yield Text("So far ")
        await wait_until(lambda: server.count("chat.startStream") == 1, "a stream")
        raise AnswerError("no model")

    async with serving(server) as bot:
        message = await a_message(bot, server)
        with pytest.raises(AnswerError, match="no model"):
            await bot.reply(message, answer)
        [reply] = own(server, message)
        assert (reply.text, reply.streaming_state) == ("So far ", "completed")
        assert server.status(GENERAL, message.thread.thread) == ""


async def test_without_the_lease_nothing_more_is_written(server: Slack, serving: Serve) -> None:
    server.tolerate("unfinished")  # whoever has the lease ends it

    async def answer(message: Message) -> AsyncIterator[Part]:
        yield Text("So far ")
        await wait_until(lambda: server.count("chat.startStream") == 1, "a stream")
        calls.append(len(server.calls))
        raise LeaseLost

    calls: list[int] = []
    async with serving(server) as bot:
        message = await a_message(bot, server)
        with pytest.raises(LeaseLost):
            await bot.reply(message, answer)
        assert len(server.calls) == calls[0]


@pytest.mark.parametrize("after_applying", [True, False])
async def test_a_reply_is_continued_in_the_same_message(
    server: Slack, after_applying: bool, serving: Serve
) -> None:
    """The first attempt ends without knowing whether its last append was taken; both must do."""
    async with serving(server) as bot:
        message = await a_message(bot, server)
        server.fail("chat.appendStream", status=500, after_applying=after_applying)
        answer = gated_answer(Text("One "), Text("two " * 100), Text("three."))
        slow_answer = gated_answer(
            Text("One "),
            lambda: wait_until(lambda: server.count("chat.startStream") == 1, "a stream"),
            Text("two " * 100),
            lambda: wait_until(lambda: server.count("chat.appendStream") == 1, "an append"),
            Text("three."),
        )
        with pytest.raises(Unreachable, match=r"chat\.appendStream"):
            await bot.reply(message, slow_answer)
        await bot.reply(message, answer)
        [reply] = own(server, message)
        assert reply.text == "One " + "two " * 100 + "three."
        assert reply.streaming_state == "completed"
        calls = len(server.calls)
        await bot.reply(message, answer)
        again = [call.method for call in server.calls[calls:]]
        assert again == ["agents.sessions.setStatus"], "a finished reply is left alone"


async def test_a_continued_reply_posts_what_does_not_fit_its_last_message(
    server: Slack, serving: Serve
) -> None:
    text = "".join(f"This is line {number}.\n" for number in range(1500))
    async with serving(server) as bot:
        message = await a_message(bot, server)
        server.fail("chat.appendStream", status=500)
        waiting = gated_answer(
            Text(text[:100]),
            lambda: wait_until(lambda: server.count("chat.startStream") == 1, "a stream"),
            Text(text[100:]),
        )
        server.fail("chat.stopStream", status=500)
        with pytest.raises(Unreachable):
            await bot.reply(message, waiting)
        await bot.reply(message, gated_answer(Text(text)))
        replies = own(server, message)
        assert "".join(reply.text for reply in replies) == text
        assert len(replies) == 3


async def test_a_reply_that_died_while_posting_goes_on_after_what_is_posted(
    server: Slack, serving: Serve
) -> None:
    text = "".join(f"This is line {number}.\n" for number in range(1500))
    group = server.add_channel("G0GROUP", "mpim")
    async with serving(server, gated_answer()) as bot:
        await server.say(ALICE, group, f"{server.mention} hello", mention_last=True)
        message = await bot.wait_for_messages()
        await wait_until(lambda: bool(bot.receipts), "answered")
        bot.receipts.clear()
        group_message = next(each for each in bot.messages if each.place["channel_kind"] == "mpim")
        posts = 0

        async def keep(state: Mapping[str, Json]) -> None:
            nonlocal posts
            posts += 1
            bot.receipts[message.id] = dict(state)
            if posts == 2:
                raise LeaseLost

        turn = Turn(id="t", thread=message.thread, messages=(group_message,))
        with pytest.raises(LeaseLost):
            await bot.platform.thread(message.thread).reply(
                gated_answer(Text(text))(message), Receipt(turn, keep)
            )
        await bot.reply(group_message, gated_answer(Text(text)))
        assert "".join(reply.text for reply in own(server, message)) == text


OTHER = "".join(f"Here stands line {number} of another answer.\n" for number in range(500))


async def run_killed_attempt(
    server: Slack, bot: Bot, message: Message, text: str, streams: int, *, is_stored: bool = True
) -> None:
    """An attempt that ends, as with kill -9, without a word after its last stream has begun.

    `is_stored`: the receipt has that stream, as after a write of the agent.
    """

    async def answer(message: Message) -> AsyncIterator[Part]:
        yield Text(text)
        await wait_until(lambda: server.count("chat.startStream") == streams, f"{streams} streams")
        await wait_until(lambda: len(bot.noted[message.id]["pages"]) == streams, "it is in the receipt")
        if is_stored:
            bot.receipts[message.id] = dict(bot.noted[message.id])
        raise LeaseLost

    with pytest.raises(LeaseLost):
        await bot.reply(message, answer)


@pytest.mark.parametrize("grows", [False, True])
async def test_the_first_checkpoint_stores_that_a_stream_will_be_opened(
    server: Slack, serving: Serve, grows: bool
) -> None:
    """Nothing is stored between the first text and its stream; by that, its message is found after a crash.

    Which message that is is stored before the answer grows.
    """
    stored: list[Mapping[str, Json]] = []

    async def keep(state: Mapping[str, Json]) -> None:
        stored.append(dict(state))

    async def store_checkpoint() -> None:
        async with receipt.take_notes() as state:
            assert state is not None
            await keep(state)

    async def wait_for(method: str) -> None:
        await wait_until(lambda: server.count(method) == 1, method)

    async with serving(server) as bot:
        message = await a_message(bot, server)
        receipt = Receipt(Turn(id="t", thread=message.thread, messages=(message,)), keep)
        is_open, is_longer = partial(wait_for, "chat.startStream"), partial(wait_for, "chat.appendStream")
        more = (Text("two " * 100), is_longer) if grows else ()
        answer = gated_answer(store_checkpoint, Text("One "), is_open, *more)
        await bot.platform.thread(message.thread).reply(answer(message), receipt)
        [reply] = own(server, message)
    assert stored[0] == {"opening": {"stream": True}}
    assert [(each["opening"], each["pages"][0]["ts"]) for each in stored[1:]] == [(None, reply.ts)] * grows


async def test_an_attempt_that_died_before_its_stream_was_opened_leaves_nothing_behind(
    server: Slack, serving: Serve
) -> None:
    """Its receipt says only that a stream may exist: there is none, and the next attempt opens one."""
    async with serving(server) as bot:
        message = await a_message(bot, server)
        bot.receipts[message.id] = {"opening": {"stream": True}}
        await bot.reply(message, gated_answer(Text("One two.")), attempt=2)
        [reply] = own(server, message)
        assert (reply.text, reply.streaming_state) == ("One two.", "completed")


@pytest.mark.parametrize("is_stored", [True, False])
@pytest.mark.parametrize("text", ["A short one.", OTHER, LONG, LONG + OTHER])
async def test_after_a_crash_only_the_second_answer_is_shown(
    server: Slack, text: str, serving: Serve, is_stored: bool
) -> None:
    """The model may answer otherwise: no page of the first answer may stay, nor be glued to the second."""
    async with serving(server) as bot:
        message = await a_message(bot, server)
        await run_killed_attempt(server, bot, message, LONG, 4, is_stored=is_stored)
        await bot.reply(message, gated_answer(Text(text)))
        assert "".join(reply.text for reply in own(server, message)) == text
        assert all(reply.streaming_state != "in_progress" for reply in own(server, message))


async def test_after_a_crash_messages_that_are_right_are_left_alone(server: Slack, serving: Serve) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)
        await run_killed_attempt(server, bot, message, LONG, 4)
        await bot.reply(message, gated_answer(Text(LONG)))
        assert [reply.history[-1].action for reply in own(server, message)] == [
            "stop",
            "stop",
            "stop",
            "update",
        ]


@pytest.mark.parametrize("makes_streams", [True, False])
async def test_an_answer_whose_end_is_only_noted_is_found_again(
    server: Slack, serving: Serve, makes_streams: bool
) -> None:
    """Between its last message and the end of the turn; neither shown twice nor left open."""
    server.tolerate("message_not_in_streaming_state")  # whether its stream has ended is learnt by ending it
    if not makes_streams:
        server.disable("chat.startStream")
    async with serving(server) as bot:
        message = await a_message(bot, server)
        await bot.reply(message, gated_answer(Text("One two.")), is_killed=True)
        # a session that no stream ends needs a call of its own, before which the end is stored
        assert ("finished" in bot.receipts[message.id]) is not makes_streams
        # a stream is found by what is stored before it is opened
        assert bool(bot.receipts[message.id]["opening"]) is makes_streams
        await bot.reply(message, gated_answer(Text("One two.")))
        [reply] = own(server, message)
        assert reply.visible_text == "One two."
        assert reply.streaming_state != "in_progress"
        assert bot.receipts[message.id]["finished"]


async def test_after_a_crash_on_its_only_page_a_shorter_answer_replaces_it(
    server: Slack, serving: Serve
) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)
        await run_killed_attempt(server, bot, message, "One two three four ", 1)
        await bot.reply(message, gated_answer(Text("One.")))
        assert [reply.text for reply in own(server, message)] == ["One."]


@pytest.mark.parametrize(
    ("method", "text", "after_applying"),
    [
        ("chat.update", OTHER, True),
        ("chat.update", OTHER, False),
        ("chat.delete", "short", True),
        ("chat.delete", "short", False),
        ("chat.postMessage", LONG + OTHER, False),
    ],
)
async def test_a_correction_that_dies_is_done_again(
    server: Slack, method: str, text: str, after_applying: bool, serving: Serve
) -> None:
    """Even if the next attempt wants back what the first one showed."""
    async with serving(server) as bot:
        message = await a_message(bot, server)
        await run_killed_attempt(server, bot, message, LONG, 4)
        server.fail(method, status=500, after_applying=after_applying)
        with pytest.raises(Unreachable):
            await bot.reply(message, gated_answer(Text(text)))
        server.tolerate("message_not_found")  # it may have been deleted
        await bot.reply(message, gated_answer(Text(LONG)))
        shown = [reply.text for reply in own(server, message)]
        assert sorted("".join(shown).splitlines()) == sorted(LONG.splitlines())


async def test_a_message_that_cannot_be_edited_is_replaced(server: Slack, serving: Serve) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)
        await run_killed_attempt(server, bot, message, LONG, 4)
        server.fail("chat.update", error="edit_window_closed", times=2)
        await bot.reply(message, gated_answer(Text(OTHER)))
        assert "".join(reply.text for reply in own(server, message)) == OTHER


async def test_a_stream_that_has_ended_is_not_taken_for_the_own_one(server: Slack, serving: Serve) -> None:
    """It can be an earlier answer that a user stopped after this question: then it never gets a key.

    Fault: this question got no answer, and the log said that a user had stopped it.
    """
    async with serving(server) as bot:
        first = await a_message(bot, server)

        async def interrupted(message: Message) -> AsyncIterator[Part]:
            yield Text("One, ")
            await wait_until(lambda: bool(own(server, first)), "a stream")
            await server.say(ALICE, GENERAL, f"{server.mention} and now?", first.thread.thread)
            await bot.wait_for_messages(2)
            server.end_stream(GENERAL, own(server, first)[0].ts)
            raise LeaseLost

        with pytest.raises(LeaseLost):
            await bot.reply(first, interrupted, is_killed=True)
        question = bot.messages[-1]
        bot.receipts[question.id] = {"opening": {"stream": True}}
        await bot.reply(question, gated_answer(Text("Two.")), attempt=2)
        assert [each.text for each in own(server, first) if each.from_bot] == ["One, ", "Two."]


async def test_an_attempt_that_fails_before_its_first_text_leaves_nothing_to_look_for(
    server: Slack, serving: Serve
) -> None:
    """Many turns are repeated after an outage, and Slack counts reading a history."""

    async def answer(message: Message) -> AsyncIterator[Part]:
        if message.text:
            raise AnswerError("no model")
        yield Text("never")

    async with serving(server) as bot:
        message = await a_message(bot, server)
        with pytest.raises(AnswerError, match="no model"):
            await bot.reply(message, answer)
        await bot.reply(message, gated_answer(Text("One.")), attempt=2)
        assert [reply.text for reply in own(server, message)] == ["One."]
        assert server.count("conversations.replies") == 0
