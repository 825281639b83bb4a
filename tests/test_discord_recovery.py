"""Interrupted answers on Discord: finished in the same messages, and no message is sent twice."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from bot.chat import LeaseLost, Part, Text, Turn, Unreachable
from bot.concurrency.tasks import cancel
from tests.servers.discord.service import Discord
from tests.support import discord_platform
from tests.support.discord_platform import (
    MESSAGE,
    MESSAGES,
    QUICK,
    Bot,
    PausedAnswer,
    begin_answer,
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


async def test_a_send_whose_answer_is_lost_is_one_message(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    fault = server.fail("POST", MESSAGES, drop=True, after_applying=True)
    await bot.reply(question)
    assert fault.used == 1
    assert server.count("POST", MESSAGES) == 2
    assert texts(server, server.dm(server.alice)) == ["You said: hello"]


async def test_a_wait_for_the_global_limit_that_is_cut_short_holds_up_nothing(
    server: Discord, bot: Bot
) -> None:
    """As when an answer ends while "typing" waits: discord.py would hold all later requests for ever."""

    async def allowed() -> None: ...

    question = await direct(server)
    channel = server.dm(server.alice).id
    fault = server.fail("POST", "/channels/*/typing", status=429, retry_after=20, is_global=True)
    typing = asyncio.create_task(bot.platform._api.type(channel, hold=allowed))
    await wait_until(lambda: fault.used == 1, "the limit is told")
    client = bot.platform._api._client
    assert client
    await wait_until(lambda: not client.http._global_over.is_set(), "the gate is closed")
    await cancel(typing)
    await bot.reply(question)
    assert texts(server, server.dm(server.alice)) == ["You said: hello"]


async def test_a_client_whose_http_session_died_is_replaced(server: Discord, bot: Bot) -> None:
    """It would never open another one, and fail until the process ends."""
    await bot.reply(await direct(server))
    client = bot.platform._api._client
    assert client
    await client.http.close()
    await bot.reply(await direct(server))
    assert texts(server, server.dm(server.alice)) == ["You said: hello"] * 2


@pytest.mark.parametrize("timing", [replace(QUICK, edit_interval=0.01)], ids=["quick"])
async def test_an_interrupted_answer_is_finished_in_the_same_messages(server: Discord, bot: Bot) -> None:
    server.limit("edit", 100, 1.0)
    question = await direct(server)
    channel = server.dm(server.alice)
    long = [f"Sentence number {number}. " for number in range(120)]
    held = PausedAnswer([Text(each) for each in long[:100]])
    reply = asyncio.create_task(bot.reply(question, answer=held))
    await server.answer(channel, lambda messages: len(messages) == 2 and messages[1].content.endswith("99."))
    before = [each.id for each in server.messages(channel)[1:]]
    reply.cancel()
    await asyncio.gather(reply, return_exceptions=True)

    async def again(turn: Turn) -> AsyncIterator[Part]:
        for sentence in long:
            yield Text(sentence)
            await asyncio.sleep(0.002)

    await bot.reply(question, answer=again)
    after = [each.id for each in server.messages(channel)[1:]]
    assert after == before
    assert " ".join(texts(server, channel)).split() == "".join(long).split()
    for message in server.messages(channel)[1:]:
        lengths = [len(edit.content) for edit in message.history]
        assert lengths == sorted(lengths), "what was shown was taken back"


async def test_a_finished_answer_is_not_shown_again(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    await bot.reply(question)
    requests = len(server.calls)

    await bot.reply(question, answer=fixed_answer("Something else."))
    assert len(server.calls) == requests


@pytest.mark.parametrize("left", ["history", "nonce"])
async def test_a_message_that_was_being_sent_at_the_crash_is_found(
    server: Discord, bot: Bot, left: str
) -> None:
    question = await direct(server)
    channel = server.dm(server.alice)
    server.fail("POST", MESSAGES, delay=30, after_applying=True)
    reply = asyncio.create_task(bot.reply(question))
    await wait_until(lambda: bool(texts(server, channel)), "the message is there, its id is not known")
    reply.cancel()
    await asyncio.gather(reply, return_exceptions=True)
    assert not bot.receipts[question.id].get("messages")
    if left == "history":
        server.forget_nonces()
    else:
        server.fail("GET", MESSAGES, status=403, code=50001)
    await bot.reply(question)
    assert texts(server, channel) == ["You said: hello"]


@pytest.mark.parametrize("left", ["history", "nonce"])
async def test_an_answer_whose_end_is_only_noted_is_found_again(server: Discord, bot: Bot, left: str) -> None:
    """Killed between the last message and the end of the turn."""
    question = await direct(server)
    await bot.reply(question, is_killed=True)
    assert bot.receipts[question.id].keys() & {"sending", "messages", "finished"} == {"sending"}
    if left == "history":
        server.forget_nonces()
    else:
        server.fail("GET", MESSAGES, status=403, code=50001)
    await bot.reply(question)
    assert texts(server, server.dm(server.alice)) == ["You said: hello"]
    assert bot.receipts[question.id]["finished"]


async def test_an_answer_that_grows_is_stored_before_each_edit(server: Discord, bot: Bot) -> None:
    """Else it would not be found by its first text; and a later attempt shows no less."""
    question = await direct(server)
    channel, held, reply = await begin_answer(server, bot, question)
    held.go_on.set()
    await server.answer(channel, ends("last"))
    assert bot.receipts[question.id]["messages"] == [str(server.messages(channel)[-1].id)]
    assert bot.receipts[question.id]["shown"] == len("First and last")
    await reply


async def test_a_thread_that_is_only_noted_gets_the_answer_of_the_next_attempt(
    server: Discord, bot: Bot
) -> None:
    """Killed while the model is asked."""
    question = message_of(server, await server.say(server.alice, server.general, f"{server.mention} hello"))

    async def killed(turn: Turn) -> AsyncIterator[Part]:
        await wait_until(lambda: server.count("POST", "/channels/*/messages/*/threads") == 1, "a thread")
        for error in [LeaseLost()]:
            raise error
        yield Text("")

    with pytest.raises(LeaseLost):
        await bot.reply(question, answer=killed)
    assert question.id not in bot.receipts
    await bot.reply(question)
    [thread] = [each for each in server.world.channels.values() if each.name == "hello"]
    assert texts(server, thread) == ["You said: hello"]


async def test_a_message_of_another_conversation_is_not_taken_for_the_one_being_sent(
    server: Discord, bot: Bot
) -> None:
    """Fault: answers that begin alike, in a channel without threads: the later one overwrote the other."""
    server.general.denied.add("create_public_threads")
    ask = f"{server.mention} hello"
    questions = [await server.say(each, server.general, ask) for each in (server.alice, server.bob)]
    first, second = (message_of(server, each) for each in questions)
    await bot.reply(first)
    server.fail("POST", MESSAGES, times=3, drop=True)
    with pytest.raises(Unreachable):
        await bot.reply(second)
    await bot.reply(second)
    own = [each for each in server.messages(server.general) if each.author is server.bot]
    assert [each.reference for each in own] == questions
    assert texts(server, server.general) == ["You said: hello", "You said: hello"]


async def test_a_shorter_answer_takes_back_what_is_too_much(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    channel = server.dm(server.alice)
    held = PausedAnswer([Text("word " * 600)])
    reply = asyncio.create_task(bot.reply(question, answer=held))
    await wait_until(lambda: len(texts(server, channel)) == 2, "two are shown")
    reply.cancel()
    await asyncio.gather(reply, return_exceptions=True)
    await bot.reply(question, answer=fixed_answer("Only this."))
    assert texts(server, channel) == ["Only this."]


async def test_an_answer_whose_message_was_deleted_is_shown_anew(server: Discord, bot: Bot) -> None:
    channel, held, reply = await begin_answer(server, bot, await direct(server))
    server.remove(server.messages(channel)[-1])
    held.go_on.set()
    await reply
    assert texts(server, channel) == ["First and last"]


async def test_an_answer_in_a_thread_that_was_archived_is_shown_anew(server: Discord, bot: Bot) -> None:
    thread = server.start_thread(server.alice, server.general)
    question = message_of(server, await server.say(server.alice, thread, "hello"))
    channel, held, reply = await begin_answer(server, bot, question)
    server.archive(thread)
    held.go_on.set()
    await reply
    assert texts(server, channel) == ["First and last"]
    assert not thread.archived


@pytest.mark.parametrize("code", [200000, 50035, 0])
async def test_an_answer_whose_edit_is_refused_is_shown_anew_and_goes_on_there(
    server: Discord, bot: Bot, code: int
) -> None:
    channel, held, reply = await begin_answer(server, bot, await direct(server))
    server.fail("PATCH", MESSAGE, status=400, code=code)
    held.after = [Text("".join(f" {number}" for number in range(1000))), Text(" end")]
    held.go_on.set()
    await reply
    assert " ".join(texts(server, channel)).split() == ["First", *map(str, range(1000)), "end"]


@pytest.mark.parametrize("at", ["the new message", "the deletion of the old one"])
async def test_an_answer_that_was_being_shown_anew_at_the_crash_is_shown_once(
    server: Discord, bot: Bot, at: str
) -> None:
    """Also when Discord has forgotten the nonce by then."""
    question = await direct(server)
    channel, held, reply = await begin_answer(server, bot, question)
    server.fail("PATCH", MESSAGE, status=400, code=200000)
    if at == "the new message":
        fault = server.fail("POST", MESSAGES, delay=30, after_applying=True)
    else:
        fault = server.fail("DELETE", MESSAGE, delay=30)
    held.go_on.set()
    await wait_until(lambda: fault.used == 1 and len(texts(server, channel)) == 2, "both are shown")
    reply.cancel()
    await asyncio.gather(reply, return_exceptions=True)
    server.forget_nonces()
    await bot.reply(question, answer=fixed_answer("First and last"))
    assert texts(server, channel) == ["First and last"]


@pytest.mark.parametrize("refused", ["the new message", "its edit"])
async def test_an_answer_that_discord_refuses_for_good_ends_with_a_sentence(
    server: Discord, bot: Bot, refused: str
) -> None:
    question = await direct(server)
    held, last = PausedAnswer([Text("First")], [Text(" and more")]), PausedAnswer([], [Text(" and last")])
    reply = asyncio.create_task(bot.reply(question, answer=one_by_one(held, last)))
    channel = server.dm(server.alice)
    await server.answer(channel, ends("First"))
    server.fail("PATCH", MESSAGE, times=3, status=400, code=200000)
    if refused == "the new message":
        server.fail("POST", MESSAGES, times=2, status=400, code=200000)
    held.go_on.set()
    await wait_until(lambda: server.count("POST", MESSAGES) >= 2, "it is sent anew")
    last.go_on.set()
    await reply
    assert "I could not show the rest of this answer" in texts(server, channel)[-1]
    assert texts(server, channel)[0].startswith("First")
    assert len(texts(server, channel)) == 2
    assert bot.receipts[question.id]["finished"]
