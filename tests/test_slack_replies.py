"""Answers on Slack: streams, cards and notices as people see them, and long ones in several messages."""

import asyncio
from dataclasses import replace

from bot.chat import Notice, Text, ToolStep
from tests.servers.slack.service import ALICE, GENERAL, Slack
from tests.support import slack_platform
from tests.support.slack_platform import TIMING, Serve, a_message, gated_answer, own
from tests.support.wait import wait_until

hostile_environment = slack_platform.hostile_environment
serving = slack_platform.serve
server = slack_platform.server


async def test_the_first_words_are_shown_at_once_and_the_rest_at_a_pace(
    server: Slack, serving: Serve
) -> None:
    go_on = asyncio.Event()
    words = [Text(f"word{number} ") for number in range(200)]
    async with serving(server) as bot:
        bot.answer = gated_answer(Text("First "), go_on.wait, *words, Text("last"))
        ts = await server.say(ALICE, GENERAL, f"{server.mention} hello")
        await wait_until(lambda: bool(server.replies(GENERAL, ts)), "a stream")
        assert server.replies(GENERAL, ts)[0].visible_text == "First "
        go_on.set()
        text = await server.answer(GENERAL, ts)
    assert text == "First " + "".join(word.text for word in words) + "last"
    assert server.count("chat.appendStream") <= 1
    assert server.count("chat.startStream") == server.count("chat.stopStream") == 1


async def test_tool_steps_are_cards_between_the_words(server: Slack, serving: Serve) -> None:
    go_on = asyncio.Event()
    title = "Look at <!channel> " + "x" * 300
    async with serving(server) as bot:
        bot.answer = gated_answer(
            ToolStep(id="call_1", name="sql_query", state="started", title=title),
            go_on.wait,
            ToolStep(id="call_1", name="sql_query", state="finished", title=title, output="42 rows"),
            ToolStep(id="call_2", name="chart", state="failed", title="", output="no data"),
            Text("There are 42."),
        )
        ts = await server.say(ALICE, GENERAL, f"{server.mention} count")
        await wait_until(lambda: bool(server.replies(GENERAL, ts)), "a stream")
        [reply] = server.replies(GENERAL, ts)
        assert reply.tasks["call_1"]["status"] == "in_progress"
        go_on.set()
        await server.answer(GENERAL, ts)
    assert reply.tasks["call_1"]["status"] == "complete"
    assert reply.tasks["call_1"]["output"] == "42 rows"
    assert reply.tasks["call_1"]["title"].endswith("…")
    assert "<!channel>" not in reply.tasks["call_1"]["title"]
    assert (reply.tasks["call_2"]["status"], reply.tasks["call_2"]["title"]) == ("error", "chart")
    assert reply.text == "There are 42."


async def test_a_notice_is_a_paragraph(server: Slack, serving: Serve) -> None:
    async with serving(server, gated_answer(Text("So far"), Notice("Time is up."))):
        ts = await server.say(ALICE, GENERAL, f"{server.mention} hello")
        assert (await server.answer(GENERAL, ts)).strip() == "So far\n\nTime is up."


async def test_an_answer_without_parts_shows_nothing(server: Slack, serving: Serve) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)
        assert own(server, message) == []
        assert [each.status for each in server.workspace.session_statuses][-2:] == ["processing", "active"]


async def test_text_from_a_model_pings_nobody(server: Slack, serving: Serve) -> None:
    async with serving(server, gated_answer(Text("Hey <!chan"), Text("nel> and <@U0"), Text("BOB>!"))):
        ts = await server.say(ALICE, GENERAL, f"{server.mention} hello")
        assert await server.answer(GENERAL, ts) == "Hey <\u200b!channel> and <\u200b@U0BOB>!"


async def test_a_long_answer_goes_on_in_further_messages(server: Slack, serving: Serve) -> None:
    text = "".join(f"This is line {number}.\n" for number in range(2000))
    async with serving(
        server, gated_answer(*(Text(text[at : at + 700]) for at in range(0, len(text), 700)))
    ) as bot:
        ts = await server.say(ALICE, GENERAL, f"{server.mention} talk")
        await server.answer(GENERAL, ts, until=lambda shown: "line 1999." in shown)
        replies = server.replies(GENERAL, ts)
        await wait_until(lambda: bot.receipts[bot.messages[0].id].get("finished") is True, "the end")
    assert len(replies) == 4
    assert "".join(reply.text for reply in replies) == text
    assert all(reply.metadata for reply in replies)


async def test_a_stream_that_grows_old_goes_on_in_a_new_message(server: Slack, serving: Serve) -> None:
    seen: list[int] = []

    async def shown() -> None:
        count = len(seen) + 1
        await wait_until(lambda: server.count("chat.startStream") >= count, f"{count} streams")
        seen.append(count)

    async with serving(server, timing=replace(TIMING, stream_max_age=0)) as bot:
        bot.answer = gated_answer(
            Text("```\none\nx = "), shown, Text("1\ntwo\n```\nthree "), shown, Text("four ")
        )
        ts = await server.say(ALICE, GENERAL, f"{server.mention} talk")
        await server.answer(GENERAL, ts, until=lambda text: "four" in text)
    assert [reply.text for reply in server.replies(GENERAL, ts)] == [
        "```\none\nx = 1\n```",
        "```\ntwo\n```\nthree ",
        "four ",
    ]


async def test_a_stream_that_slack_ended_is_brought_to_its_full_text(server: Slack, serving: Serve) -> None:
    async with serving(server) as bot:

        async def ended() -> None:
            await wait_until(lambda: bool(server.replies(GENERAL, ts)), "a stream")
            server.end_stream(GENERAL, server.replies(GENERAL, ts)[0].ts)

        bot.answer = gated_answer(Text("One two "), ended, Text("three four."))
        ts = await server.say(ALICE, GENERAL, f"{server.mention} talk")
        assert await server.answer(GENERAL, ts, until=lambda text: "four" in text) == "One two three four."
    [reply] = server.replies(GENERAL, ts)
    assert reply.history[-1].action == "update"
    assert reply.metadata


async def test_an_answer_that_slack_interrupts_goes_on_in_a_new_message(
    server: Slack, serving: Serve
) -> None:
    async with serving(server) as bot:

        async def ended() -> None:
            await wait_until(lambda: bool(server.replies(GENERAL, ts)), "a stream")
            server.end_stream(GENERAL, server.replies(GENERAL, ts)[0].ts)

        async def mended() -> None:
            await wait_until(lambda: server.count("chat.update") == 1, "the message is edited")

        bot.answer = gated_answer(Text("One two "), ended, Text("three " * 60), mended, Text("four."))
        ts = await server.say(ALICE, GENERAL, f"{server.mention} talk")
        await server.answer(GENERAL, ts, until=lambda text: "four" in text)
    assert [reply.text for reply in server.replies(GENERAL, ts)] == ["One two " + "three " * 60, "four."]


async def test_a_card_whose_stream_slack_has_ended_becomes_text_with_its_outcome(
    server: Slack, serving: Serve
) -> None:
    """No call reaches it any more, and it would look for ever as if it ran."""
    step = ToolStep(id="c1", name="sql", state="started", title="Count")
    async with serving(server) as bot:

        async def ended() -> None:
            await wait_until(lambda: bool(server.replies(GENERAL, ts)), "a stream")
            server.end_stream(GENERAL, server.replies(GENERAL, ts)[0].ts)

        async def edited() -> None:
            await wait_until(lambda: server.count("chat.update") == 1, "the outcome")

        done = ToolStep(id="c1", name="sql", state="finished", title="Count", output="42", seconds=301)
        bot.answer = gated_answer(step, ended, done, edited, Text("There are 42."))
        ts = await server.say(ALICE, GENERAL, f"{server.mention} count")
        await server.answer(GENERAL, ts, until=lambda text: "42." in text)
    assert [each.text for each in server.replies(GENERAL, ts)] == ["- Count: 42, 5 min 1 s", "There are 42."]


async def test_a_card_that_ends_with_an_answer_whose_stream_slack_has_ended_becomes_text(
    server: Slack, serving: Serve
) -> None:
    """An answer without text, such as one that only asks for an approval."""
    step = ToolStep(id="c1", name="sql", state="started", title="Count")
    server.tolerate("message_not_in_streaming_state")
    async with serving(server) as bot:

        async def ended() -> None:
            await wait_until(lambda: bool(server.replies(GENERAL, ts)), "a stream")
            server.end_stream(GENERAL, server.replies(GENERAL, ts)[0].ts)

        done = replace(step, state="finished", output="42")
        bot.answer = gated_answer(step, ended, done)
        ts = await server.say(ALICE, GENERAL, f"{server.mention} count")
        assert await server.answer(GENERAL, ts, until=lambda text: "42" in text) == "- Count: 42"
    [reply] = server.replies(GENERAL, ts)
    assert reply.metadata


async def test_a_card_that_runs_on_when_slack_ends_its_stream_runs_in_a_new_message(
    server: Slack, serving: Serve
) -> None:
    """The message that holds nothing else is removed."""
    step = ToolStep(id="c1", name="sql", state="started", title="Count")
    other = replace(step, id="c2", title="Draw")
    async with serving(server) as bot:

        async def ended() -> None:
            await wait_until(lambda: bool(server.replies(GENERAL, ts)), "a stream")
            server.end_stream(GENERAL, server.replies(GENERAL, ts)[0].ts)

        async def carried_over() -> None:
            await wait_until(lambda: server.count("chat.delete") == 1, "one message is left")
            [reply] = server.replies(GENERAL, ts)
            assert [each["status"] for each in reply.tasks.values()] == ["in_progress"] * 2

        done = [replace(each, state="finished", seconds=0.4) for each in (step, other)]
        bot.answer = gated_answer(step, ended, other, carried_over, *done, Text("There are 42."))
        ts = await server.say(ALICE, GENERAL, f"{server.mention} count")
        await server.answer(GENERAL, ts, until=lambda text: "42." in text)
    [reply] = server.replies(GENERAL, ts)
    assert [each["status"] for each in reply.tasks.values()] == ["complete"] * 2


async def test_a_limited_append_is_repeated_and_nothing_is_lost(server: Slack, serving: Serve) -> None:
    async with serving(server) as bot:
        fault = server.fail("chat.appendStream", status=429, retry_after=1)

        async def started() -> None:
            await wait_until(lambda: server.count("chat.startStream") == 1, "a stream")

        async def met() -> None:
            await wait_until(lambda: fault.hits == 1, "the limit is met")

        bot.answer = gated_answer(Text("One "), started, Text("two " * 100), met, Text("three"))
        ts = await server.say(ALICE, GENERAL, f"{server.mention} talk")
        await server.answer(GENERAL, ts, until=lambda text: "three" in text)
    [reply] = server.replies(GENERAL, ts)
    assert reply.text == "One " + "two " * 100 + "three"


async def test_a_group_direct_message_is_answered_with_a_posted_message(
    server: Slack, serving: Serve
) -> None:
    group = server.add_channel("G0GROUP", "mpim")
    async with serving(server):
        ts = await server.say(ALICE, group, f"{server.mention} hello", mention_last=True)
        assert await server.answer(group, ts) == "You said: hello "
    assert server.count("chat.startStream") == 0


async def test_where_slack_refuses_a_stream_the_answer_is_posted(server: Slack, serving: Serve) -> None:
    server.tolerate("channel_type_not_supported")
    group = server.add_channel("G0GROUP", "mpim")
    async with serving(server):
        ts = await server.say(ALICE, group, f"{server.mention} hello")  # app_mention names no kind
        assert await server.answer(group, ts) == "You said: hello "
    assert server.count("chat.startStream") == 1


async def test_an_answer_of_steps_only_is_posted_as_a_list(server: Slack, serving: Serve) -> None:
    group = server.add_channel("G0GROUP", "mpim")
    async with serving(server, gated_answer(ToolStep(id="1", name="sql", state="finished", title="Count"))):
        ts = await server.say(ALICE, group, f"{server.mention} count", mention_last=True)
        assert await server.answer(group, ts) == "- Count"
