"""Live progress on Discord: each step has a line that names it while it runs, and tells its outcome then."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from bot.chat import LeaseLost, Part, Text, ToolStep, Turn
from tests.servers.discord.service import Discord
from tests.support import discord_platform
from tests.support.discord_platform import QUICK, Bot, PausedAnswer, direct, ends, fixed_answer, texts
from tests.support.wait import wait_until

timing = discord_platform.timing
server = discord_platform.server
bot = discord_platform.bot
live = discord_platform.live

RUNNING = ToolStep(id="1", name="sql_query", state="started", title="Query", activity="Running a query")
ENDED = replace(RUNNING, state="finished", rows=120, seconds=0.412)
LINE = "-# ⏳ Running a query…"
OUTCOME = "-# ✓ Query: 120 rows, 0.4 s"


@pytest.mark.parametrize("timing", [replace(QUICK, step_delay=60)])
async def test_a_step_that_ends_at_once_has_no_line_of_its_own(server: Discord, bot: Bot) -> None:
    await bot.reply(await direct(server), answer=fixed_answer(RUNNING, ENDED, "There are 120."))
    [message] = [each for each in server.messages(server.dm(server.alice)) if each.author is server.bot]
    assert message.content == f"{OUTCOME}\nThere are 120."
    assert not any("⏳" in each.content for each in message.history)


async def test_steps_side_by_side_each_have_a_line(server: Discord, bot: Bot) -> None:
    other = replace(RUNNING, id="2", title="Draw", activity="Drawing a chart")
    held = PausedAnswer(
        [RUNNING, other], [replace(other, state="failed", output="no rows", seconds=3), ENDED]
    )
    question, channel = await direct(server), server.dm(server.alice)
    reply = asyncio.create_task(bot.reply(question, answer=held))
    await server.answer(channel, ends(f"{LINE}\n-# ⏳ Drawing a chart…"))
    held.go_on.set()
    await reply
    assert texts(server, channel) == [f"-# ⚠️ Draw: no rows, 3.0 s\n{OUTCOME}"]


async def test_after_a_crash_a_step_is_shown_once_and_none_runs_for_ever(server: Discord, bot: Bot) -> None:
    question, channel = await direct(server), server.dm(server.alice)

    async def dying(turn: Turn) -> AsyncIterator[Part]:
        yield Text("Let me look.")
        yield RUNNING
        await server.answer(channel, ends(LINE))
        raise LeaseLost

    with pytest.raises(LeaseLost):
        await bot.reply(question, answer=dying)
    await bot.reply(question, answer=fixed_answer("Let me look.", RUNNING, ENDED, "There are 120."))
    assert texts(server, channel) == [f"Let me look.\n{OUTCOME}\nThere are 120."]


async def test_a_private_answer_names_what_runs_until_it_is_there(server: Discord, live: Bot) -> None:
    """Discord showed that the bot is “thinking” for all of this time."""
    held = PausedAnswer([RUNNING], [ENDED, Text("There are 120.")])
    live.answer = held
    asked = await server.command("ask", options={"question": "count", "private": True})
    await wait_until(lambda: asked.content == LINE, "the line of the step")
    held.go_on.set()
    await wait_until(lambda: asked.content == f"{OUTCOME}\nThere are 120.", "the answer")
    assert asked.ephemeral
    assert len(asked.messages) == 1


async def test_a_line_that_discord_refuses_fails_no_private_answer(server: Discord, live: Bot) -> None:
    server.fail("PATCH", "/webhooks/*/*/messages/@original", status=400, code=50035)
    live.answer = held = PausedAnswer([RUNNING], [ENDED, Text("There are 120.")])
    asking = asyncio.create_task(server.command("ask", options={"question": "count", "private": True}))
    await wait_until(lambda: any(each.method == "PATCH" for each in server.calls), "the line is refused")
    held.go_on.set()
    asked = await asking
    assert asked.content == f"{OUTCOME}\nThere are 120."
