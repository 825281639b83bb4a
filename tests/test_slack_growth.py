"""Answers on Slack that grow by edits, which all readers of a channel see (SLACK_STREAMING=edit)."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from bot.chat import Approval, Message, Part, Text, ToolStep, Unreachable
from bot.slack.rate_limits import RateLimits
from bot.storage.coordination import RedisCoordination
from tests.servers.slack.service import ALICE, Slack
from tests.support import slack_platform
from tests.support.slack_platform import LONG, TIMING, Answer, Serve, a_message, gated_answer, own
from tests.support.wait import wait_until

hostile_environment = slack_platform.hostile_environment
coordination = slack_platform.coordination
serving = slack_platform.serve
server = slack_platform.server

EDIT: dict[str, Any] = {"streaming": "edit", "timing": replace(TIMING, edit_interval=0.01)}

STEP = ToolStep(id="1", name="sql", state="started", title="Count the chairs")


def shown(server: Slack, message: Message) -> list[str]:
    return [each.visible_text for each in own(server, message)]


async def test_an_answer_grows_in_one_message_that_all_can_read(server: Slack, serving: Serve) -> None:
    """Its steps come first, its text takes their place, and no stream is opened."""
    async with serving(server, **EDIT) as bot:
        message = await a_message(bot, server)

        def until(text: str) -> Any:
            return lambda: wait_until(lambda: shown(server, message) == [text], text)

        answer = gated_answer(
            STEP,
            until("- Count the chairs"),
            replace(STEP, state="finished"),
            Text("One "),
            until("One "),
            Text("two "),
            until("One two "),
        )
        await bot.reply(message, answer)
        assert shown(server, message) == ["One two "]
        assert not server.count("chat.startStream")
        assert own(server, message)[0].metadata is not None


async def test_below_its_text_stands_what_the_running_steps_do(server: Slack, serving: Serve) -> None:
    """A stream shows their cards there."""
    async with serving(server, **EDIT) as bot:
        message = await a_message(bot, server)
        running = replace(STEP, activity="Running a query")

        def until(text: str) -> Any:
            return lambda: wait_until(lambda: shown(server, message) == [text], text)

        answer = gated_answer(
            Text("Let me see. "),
            running,
            until("Let me see.\n\nRunning a query…"),
            replace(running, state="finished"),
            until("Let me see. "),
            Text("42."),
        )
        await bot.reply(message, answer)
        assert shown(server, message) == ["Let me see. 42."]


async def test_an_answer_that_is_complete_at_once_is_posted_once(server: Slack, serving: Serve) -> None:
    async with serving(server, **EDIT) as bot:
        message = await a_message(bot, server)
        await bot.reply(message, gated_answer(Text("One two")))
        assert shown(server, message) == ["One two"]
        assert (server.count("chat.postMessage"), server.count("chat.update")) == (1, 0)


async def test_a_long_answer_grows_into_further_messages(server: Slack, serving: Serve) -> None:
    async with serving(server, **EDIT) as bot:
        message = await a_message(bot, server)
        half = len(LONG) // 2

        async def begun() -> None:
            await wait_until(lambda: len(own(server, message)) > 1, "further messages")

        await bot.reply(message, gated_answer(Text(LONG[:half]), begun, Text(LONG[half:])))
        assert "".join(shown(server, message)) == LONG


async def test_direct_messages_are_streamed_all_the_same(server: Slack, serving: Serve) -> None:
    async with serving(server, **EDIT):
        direct = server.dm(ALICE)
        assert "You said: hello" in await server.answer(direct, await server.say(ALICE, direct, "hello"))
    assert server.count("chat.startStream") == 1


async def test_beyond_the_limit_of_edits_the_whole_text_is_shown_in_the_end(
    server: Slack, coordination: RedisCoordination, serving: Serve
) -> None:
    """Those edits are left for final texts."""
    async with serving(server, **EDIT) as bot:
        message = await a_message(bot, server)
        while not await RateLimits(coordination).delay(message.thread.space, "chat.update"):
            pass
        before = server.count("chat.update")

        async def begun() -> None:
            await wait_until(lambda: bool(own(server, message)), "it has begun")

        async def answer(message: Message) -> AsyncIterator[Part]:
            yield Text("One ")
            await begun()
            for _ in range(20):
                yield Text("more ")
                await asyncio.sleep(0)

        await bot.reply(message, answer)
        assert shown(server, message) == ["One " + "more " * 20]
        assert server.count("chat.update") == before + 1


@pytest.mark.parametrize("method", ["chat.postMessage", "chat.update"])
@pytest.mark.parametrize("is_heard", [True, False])
async def test_a_crash_while_an_answer_grows_leaves_one_message_that_the_next_attempt_completes(
    server: Slack, serving: Serve, method: str, is_heard: bool
) -> None:
    """Also if nobody has heard that Slack took the message, or its new text."""
    async with serving(server, **EDIT) as bot:
        message = await a_message(bot, server)

        async def grown() -> None:
            await wait_until(lambda: bool(own(server, message)), "it has begun")

        async def killed() -> None:
            await wait_until(lambda: server.count(method) > 0, method)
            raise asyncio.CancelledError

        if not is_heard:
            server.fail(method, after_applying=True)
        more: list[Any] = [] if method == "chat.postMessage" else [grown, Text("two ")]
        with pytest.raises(asyncio.CancelledError if is_heard else Unreachable):
            await bot.reply(message, gated_answer(Text("One "), *more, killed), is_killed=True)
        await bot.reply(message, gated_answer(Text("Another answer")), attempt=2)
        assert shown(server, message) == ["Another answer"]


async def test_a_message_that_somebody_deletes_while_it_grows_is_posted_again(
    server: Slack, serving: Serve
) -> None:
    server.tolerate("message_not_found")
    async with serving(server, **EDIT) as bot:
        message = await a_message(bot, server)

        async def deleted() -> None:
            await wait_until(lambda: bool(own(server, message)), "it has begun")
            server.remove(message.thread.channel, own(server, message)[0].ts)

        async def noticed() -> None:
            await wait_until(lambda: server.count("chat.update") > 0, "an edit")

        await bot.reply(message, gated_answer(Text("One "), deleted, Text("two "), noticed, Text("three ")))
        assert shown(server, message) == ["One two three "]


# --- plans, in native streams


DONE = replace(STEP, state="finished")


@pytest.mark.parametrize(
    ("answer", "mode", "plan"),
    [
        (gated_answer(STEP, DONE, Text("42")), "plan", "Done in 1 step"),
        (gated_answer(Text("Let me see. "), STEP, DONE, Text("42")), "timeline", ""),
    ],
    ids=["steps first", "text first"],
)
async def test_steps_before_an_answer_are_together_in_a_plan(
    server: Slack, serving: Serve, answer: Answer, mode: str, plan: str
) -> None:
    """Between pieces of text they stand where they belong."""
    async with serving(server) as bot:
        message = await a_message(bot, server)
        await bot.reply(message, answer)
        (reply,) = own(server, message)
        assert (reply.task_display_mode, reply.plan) == (mode, plan)
        assert reply.tasks["1"]["status"] == "complete"


async def test_a_plan_that_fails_says_that_it_is_not_finished(server: Slack, serving: Serve) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)

        async def broken() -> None:
            await wait_until(lambda: bool(own(server, message)), "it has begun")
            assert own(server, message)[0].plan == "Working on it"
            raise RuntimeError

        with pytest.raises(RuntimeError):
            await bot.reply(message, gated_answer(STEP, broken))
        assert own(server, message)[0].plan == "Not finished"


async def test_a_question_leaves_its_session_suspended_with_the_end_of_the_stream(
    server: Slack, serving: Serve
) -> None:
    """A later attempt at a finished reply leaves it so, too."""
    request = Approval(
        id="7f3a9c21",
        title="Change it",
        action="DELETE",
        effect="It would.",
        expires_at=2e9,
        approvers=(f"slack:{ALICE}",),
        asked_in="t",
    )
    async with serving(server) as bot:
        message = await a_message(bot, server)
        for attempt in (1, 2):
            await bot.reply(message, gated_answer(Text("I ask. "), request), attempt=attempt)
            place = message.thread.channel, message.thread.thread
            assert server.workspace.session_status(*place) == "suspended"
    assert [each.args.get("session_status") for each in server.calls if each.method == "chat.stopStream"][
        -1
    ] == "suspended"


async def test_an_answer_of_many_blank_lines_grows_all_the_same(server: Slack, serving: Serve) -> None:
    """A page of nothing is no message."""
    async with serving(server, **EDIT) as bot:
        message = await a_message(bot, server)

        async def begun() -> None:
            await wait_until(lambda: bool(own(server, message)), "it has begun")

        await bot.reply(message, gated_answer(Text("\n" * 30_000 + "One "), begun, Text("two ")))
        assert [each.strip() for each in shown(server, message)] == ["One two"]
