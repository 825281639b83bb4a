"""Answers on Discord: in their conversation, streamed within the rate limits, with typing before the text."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import discord as library
import pytest

from bot.chat import Notice, Part, Text, ToolStep, Turn
from tests.servers.discord.service import Discord
from tests.support import discord_platform
from tests.support.discord_platform import (
    MESSAGES,
    QUICK,
    Bot,
    PausedAnswer,
    direct,
    ends,
    fixed_answer,
    message_of,
    one_by_one,
    texts,
)
from tests.support.wait import wait_until

timing = discord_platform.timing
server = discord_platform.server
bot = discord_platform.bot
live = discord_platform.live


# --- conversations


async def test_a_mention_is_answered_in_a_thread_made_from_it(server: Discord, live: Bot) -> None:
    question = await server.say(server.alice, server.general, f"{server.mention} how many **orders**?")
    thread = await server.thread_of(question)
    answer = await server.answer(thread, ends("orders**?"))
    assert [each.content for each in answer] == ["You said: how many **orders**?"]
    assert thread.name == "how many orders?"
    assert texts(server, server.general) == []


async def test_follow_ups_in_the_thread_come_unaddressed_and_are_answered_there(
    server: Discord, live: Bot
) -> None:
    question = await server.say(server.alice, server.general, f"{server.mention} one")
    thread = await server.thread_of(question)
    await server.answer(thread, ends("one"))
    await server.say(server.alice, thread, "two")
    await wait_until(lambda: len(live.heard) == 2, "the follow-up is heard")
    assert [each.addressed for each in live.heard] == [True, False]
    assert live.heard[0].thread == live.heard[1].thread
    await live.reply(live.heard[1])
    assert texts(server, thread) == ["You said: one", "You said: two"]


async def test_direct_messages_are_answered(server: Discord, live: Bot) -> None:
    channel = server.dm(server.alice)
    await server.say(server.alice, channel, "hello")
    await server.answer(channel, ends("hello"))
    assert live.heard[0].direct


async def test_talk_among_others_is_not_heard(server: Discord, live: Bot) -> None:
    await server.say(server.alice, server.general, "hello all")
    await server.say(server.alice, server.general, f"{server.mention} hello")
    await wait_until(lambda: bool(live.heard), "the mention is heard")
    assert [each.text for each in live.heard] == ["hello"]


async def test_without_permission_for_threads_the_reply_chain_is_the_conversation(
    server: Discord, live: Bot
) -> None:
    server.general.denied.add("create_public_threads")
    question = await server.say(server.alice, server.general, f"{server.mention} one")
    [first] = await server.answer(server.general, ends("one"))
    assert first.reference is question
    assert first.mentions == [server.alice]
    again = await server.say(server.alice, server.general, "two", reply_to=first)
    [second] = await server.answer(server.general, ends("two"), after=first)
    third = await server.say(server.alice, server.general, "three", reply_to=second)
    await server.answer(server.general, ends("three"), after=third)
    assert {each.thread for each in live.heard} == {live.heard[0].thread}
    assert again.thread is None


async def test_where_it_may_read_no_history_the_answer_is_no_reply(server: Discord, bot: Bot) -> None:
    server.general.denied |= {"create_public_threads", "read_message_history"}
    question = message_of(server, await server.say(server.alice, server.general, f"{server.mention} hello"))
    await bot.reply(question)
    [answer] = server.messages(server.general)[1:]
    assert answer.reference is None


async def test_a_thread_that_exists_already_is_used(server: Discord, bot: Bot) -> None:
    question = await server.say(server.alice, server.general, f"{server.mention} hello")
    thread = server.start_thread(server.bob, question)
    await bot.reply(message_of(server, question))
    assert texts(server, thread) == ["You said: hello"]


async def test_a_deleted_question_is_answered_in_the_channel(server: Discord, bot: Bot) -> None:
    question = await server.say(server.alice, server.general, f"{server.mention} hello")
    server.remove(question)
    await bot.reply(message_of(server, question))
    assert texts(server, server.general) == ["You said: hello"]


async def test_an_answer_pings_nobody_and_has_no_previews(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    text = f"@everyone {server.bob.mention} see https://example.com"
    await bot.reply(question, answer=fixed_answer(text))
    [answer] = server.messages(server.dm(server.alice))[1:]
    assert answer.content == text
    assert not answer.mentions
    assert not answer.mentions_everyone
    assert library.MessageFlags._from_value(int(answer.flags)).suppress_embeds


# --- streaming


async def test_the_first_text_is_shown_at_once_and_the_end_always(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    channel = server.dm(server.alice)
    held = PausedAnswer([Text("First")], [Text(" and"), Text(" last")])
    reply = asyncio.create_task(bot.reply(question, answer=held))
    await server.answer(channel, ends("First"))
    held.go_on.set()
    await reply
    assert texts(server, channel) == ["First and last"]
    assert bot.receipts[question.id]["finished"]


@pytest.mark.parametrize("timing", [replace(QUICK, edit_interval=0.24)], ids=["quick"])
async def test_a_long_stream_stays_within_the_buckets(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    server.limit("edit", 5, 1.0)
    server.limit("send", 5, 1.0)

    async def answer(turn: Turn) -> AsyncIterator[Part]:
        for number in range(200):
            yield Text(f"word{number} ")
            await asyncio.sleep(0.01)

    await bot.reply(question, answer=answer)
    channel = server.dm(server.alice)
    assert "".join(texts(server, channel)).split() == [f"word{number}" for number in range(200)]
    assert server.rate_limited == 0
    assert len(server.edit_times(channel)) > 3


@pytest.mark.parametrize("timing", [replace(QUICK, edit_interval=0.2)], ids=["quick"])
async def test_edits_of_all_answers_in_a_channel_share_its_pace(server: Discord, bot: Bot) -> None:
    server.general.denied.add("create_public_threads")
    questions = [
        message_of(server, await server.say(server.alice, server.general, "hello")) for _ in range(3)
    ]
    helds = [PausedAnswer([Text("first")], [Text(" last")]) for _ in questions]
    replies = [
        asyncio.create_task(bot.reply(question, answer=held))
        for question, held in zip(questions, helds, strict=True)
    ]
    await wait_until(lambda: len(texts(server, server.general)) == 3, "all answers begin")
    began = time.monotonic()
    for held in helds:
        held.go_on.set()
    await asyncio.gather(*replies)
    assert server.edit_times(server.general)[-1] >= began + 0.4
    assert texts(server, server.general) == ["first last"] * 3


async def test_a_slow_discord_does_not_hold_the_model_back(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    slow = server.fail("POST", MESSAGES, delay=30)
    read = 0

    async def answer(turn: Turn) -> AsyncIterator[Part]:
        nonlocal read
        for _ in range(50):
            read += 1
            yield Text("word ")

    reply = asyncio.create_task(bot.reply(question, answer=answer))
    await wait_until(lambda: slow.used == 1 and read == 50, "all is read while the first message is sent")
    reply.cancel()
    await asyncio.gather(reply, return_exceptions=True)


async def test_a_long_answer_goes_on_in_further_messages(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    code = "```python\n" + "print('x')\n" * 60 + "```"
    paragraph = "Words and words. " * 70
    answer = f"{paragraph}\n\n{code}\n\n{paragraph}\n\n{code}"
    await bot.reply(
        question, answer=fixed_answer(*[answer[at : at + 100] for at in range(0, len(answer), 100)])
    )
    shown = texts(server, server.dm(server.alice))
    assert len(shown) > 2
    assert "\n".join(shown).split() == answer.split()
    assert sum(code in each for each in shown) == 2


async def test_tool_steps_are_small_lines_and_notices_paragraphs(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    channel = server.dm(server.alice)
    title, activity = "Looking up the orders", "Running a query"
    step = ToolStep(id="1", name="sql_query", state="started", title=title, activity=activity)
    done = replace(step, state="finished", rows=3, seconds=0.42)
    held = PausedAnswer([step], [done, Text("There are 3."), Notice("Time is up.")])
    reply = asyncio.create_task(bot.reply(question, answer=held))
    await server.answer(channel, ends("-# ⏳ Running a query…"))
    held.go_on.set()
    await reply
    assert texts(server, channel) == [
        "-# ✓ Looking up the orders: 3 rows, 0.4 s\nThere are 3.\n\nTime is up."
    ]


async def test_the_bot_types_while_it_thinks(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    held = PausedAnswer([], [Text("Done.")])
    reply = asyncio.create_task(bot.reply(question, answer=held))
    await wait_until(lambda: bool(server.typing(server.dm(server.alice))), "typing is shown")
    assert texts(server, server.dm(server.alice)) == []
    held.go_on.set()
    await reply


async def test_typing_ends_with_the_first_text(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    channel = server.dm(server.alice)
    before, held = PausedAnswer([], [Text("First")]), PausedAnswer([], [Text(" and last")])
    tasks = asyncio.all_tasks()
    reply = asyncio.create_task(bot.reply(question, answer=one_by_one(before, held)))
    await wait_until(lambda: bool(server.typing(channel)), "typing is shown")
    assert typing_tasks(tasks)
    before.go_on.set()
    await server.answer(channel, ends("First"))
    assert not typing_tasks(tasks)
    held.go_on.set()
    await reply


async def test_the_bot_types_again_while_a_tool_is_at_work(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    channel = server.dm(server.alice)
    step = ToolStep(id="1", name="sql_query", state="started", title="Looking")
    text, tool = PausedAnswer([Text("Let me see.")], [step]), PausedAnswer([], [Text("12.")])
    reply = asyncio.create_task(bot.reply(question, answer=one_by_one(text, tool)))
    await server.answer(channel, ends("see."))
    typed = len(server.typing(channel))
    text.go_on.set()
    await wait_until(lambda: len(server.typing(channel)) > typed, "typed again", timeout=5)
    tool.go_on.set()
    await reply


def typing_tasks(before: set[asyncio.Task[Any]]) -> list[asyncio.Task[Any]]:
    new = asyncio.all_tasks() - before
    return [task for task in new if "Status" in getattr(task.get_coro(), "__qualname__", "")]


async def test_typing_that_fails_fails_nothing(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    server.fail("POST", "/channels/*/typing", status=403, code=50013)
    await bot.reply(question)
    assert texts(server, server.dm(server.alice)) == ["You said: hello"]
