"""Live progress on Slack: each step is named while it runs, and none looks as if it ran when it does not."""

import time
from dataclasses import replace

import pytest

from bot.chat import Approval, LeaseLost, Text, ToolStep
from bot.slack.texts import INTERRUPTED, THINKING
from tests.servers.slack.service import ALICE, GENERAL, Slack
from tests.support import slack_platform
from tests.support.slack_platform import TIMING, Serve, a_message, gated_answer, own
from tests.support.wait import wait_until

hostile_environment = slack_platform.hostile_environment
serving = slack_platform.serve
server = slack_platform.server

RUNNING = ToolStep(
    id="1", name="sql_query", state="started", title="Query: select 1", activity="Running a query"
)
ENDED = replace(RUNNING, state="finished", rows=120, seconds=0.412)
SLOW = replace(TIMING, flush_interval=3_600)
"""Durations with which nothing is shown at its pace after the first words."""


async def test_a_step_is_shown_while_it_runs_whenever_words_were_shown_last(
    server: Slack, serving: Serve
) -> None:
    """And with its rows and its duration once it has ended."""
    async with serving(server, timing=SLOW) as bot:
        message = await a_message(bot, server)

        async def has_begun() -> None:
            await wait_until(lambda: server.count("chat.startStream") == 1, "a stream")

        async def is_shown() -> None:
            await wait_until(lambda: "1" in own(server, message)[0].tasks, "the card")
            assert own(server, message)[0].tasks["1"]["status"] == "in_progress"

        answer = gated_answer(Text("Let me look. "), has_begun, RUNNING, is_shown, ENDED, Text("120."))
        await bot.reply(message, answer)
        [reply] = own(server, message)
    assert (reply.text, reply.tasks["1"]["status"]) == ("Let me look. 120.", "complete")
    assert reply.tasks["1"]["output"] == "120 rows, 0.4 s"


async def test_a_step_that_ends_at_once_costs_no_call(server: Slack, serving: Serve) -> None:
    async with serving(server, timing=SLOW) as bot:
        message = await a_message(bot, server)

        async def has_begun() -> None:
            await wait_until(lambda: server.count("chat.startStream") == 1, "a stream")

        await bot.reply(message, gated_answer(Text("One. "), has_begun, RUNNING, ENDED, Text("Two.")))
        assert server.count("chat.appendStream") == 0
        assert own(server, message)[0].tasks["1"]["output"] == "120 rows, 0.4 s"


async def test_where_no_stream_can_be_opened_a_line_names_the_steps_that_run(
    server: Slack, serving: Serve
) -> None:
    group = server.add_channel("G0GROUP", "mpim")
    async with serving(server, timing=replace(TIMING, step_delay=0)) as bot:

        async def says(words: str) -> None:
            await wait_until(lambda: words in [each.status for each in server.statuses], words)

        both = (RUNNING, replace(RUNNING, id="2"))
        bot.answer = gated_answer(
            *both,
            lambda: says("is running a query (+1 more)…"),
            *(replace(ENDED, id=each.id) for each in both),
            lambda: says(THINKING),
            Text("120."),
        )
        ts = await server.say(ALICE, group, f"{server.mention} count", mention_last=True)
        assert await server.answer(group, ts) == "120."
        await wait_until(lambda: not server.unfinished(), "nothing looks as if it ran")


async def test_an_answer_without_steps_asks_for_no_line(server: Slack, serving: Serve) -> None:
    group = server.add_channel("G0GROUP", "mpim")
    async with serving(server):
        ts = await server.say(ALICE, group, f"{server.mention} hello", mention_last=True)
        await server.answer(group, ts)
    assert server.count("assistant.threads.setStatus") == 0


@pytest.mark.parametrize("is_stored", [True, False])
async def test_the_card_of_an_attempt_that_died_is_ended_before_the_next_one_has_an_answer(
    server: Slack, serving: Serve, is_stored: bool
) -> None:
    """Its receipt names the stream, or only says that one was about to be opened, as after a kill -9.

    The step runs again: a line names it, and the message shows the answer alone in the end.
    """
    async with serving(server, timing=replace(TIMING, step_delay=0)) as bot:
        message = await a_message(bot, server)
        first = replace(ENDED, id="0")

        async def dies() -> None:
            await wait_until(lambda: bool(own(server, message)), "a card")
            raise LeaseLost

        with pytest.raises(LeaseLost):
            await bot.reply(message, gated_answer(first, RUNNING, dies))
        assert own(server, message)[0].tasks["1"]["status"] == "in_progress"
        if is_stored:
            bot.receipts[message.id] = dict(bot.noted[message.id])

        async def is_ended() -> None:
            [reply] = own(server, message)
            await wait_until(lambda: reply.streaming_state == "completed", "the stream's end")
            assert [each["status"] for each in reply.tasks.values()] == ["complete", "error"]
            assert [each["output"] for each in reply.tasks.values()] == ["120 rows, 0.4 s", INTERRUPTED]
            words = "is running a query…"
            await wait_until(lambda: words in [each.status for each in server.statuses], words)

        await bot.reply(message, gated_answer(first, RUNNING, is_ended, ENDED, Text("120.")), attempt=2)
        [reply] = own(server, message)
        assert (reply.text, reply.edited) == ("120.", True)


async def test_where_slack_takes_no_card_at_the_end_of_a_dead_stream_it_ends_all_the_same(
    server: Slack, serving: Serve
) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)

        async def dies() -> None:
            await wait_until(lambda: bool(own(server, message)), "a card")
            raise LeaseLost

        with pytest.raises(LeaseLost):
            await bot.reply(message, gated_answer(RUNNING, dies))
        server.fail("chat.stopStream", error="invalid_chunks")
        await bot.reply(message, gated_answer(RUNNING, ENDED, Text("120.")), attempt=2)
        assert [each.text for each in own(server, message)] == ["120."]


REQUEST = Approval(
    id="7f3a9c21",
    title="Change the database",
    action="DELETE FROM orders",
    effect="It would delete 3 rows.",
    expires_at=time.time() + 3_600,
    approvers=(f"slack:{ALICE}",),
    asked_in="turn",
)


@pytest.mark.parametrize("text", [Text("I have asked. "), None])
async def test_a_session_is_suspended_while_a_request_waits(
    server: Slack, serving: Serve, text: Text | None
) -> None:
    """Also by an attempt that finds only this undone; with the next answer it is active again."""
    async with serving(server) as bot:
        message = await a_message(bot, server)
        place = message.thread.channel, message.thread.thread
        await bot.reply(message, gated_answer(*filter(None, [text]), REQUEST))
        assert server.workspace.session_status(*place) == "suspended"
        server.workspace.set_session_status(*place, "processing")
        await bot.reply(message, gated_answer(), attempt=2)
        assert server.workspace.session_status(*place) == "suspended"
        bot.receipts.clear()
        await bot.reply(message, gated_answer(Text("Done. ")))
        assert server.workspace.session_status(*place) == "active"
        assert not server.status(GENERAL, message.thread.thread)
