"""Refusals, rate limits and lost turns on Discord: the answer is shown otherwise, or the error is exact."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from bot.chat import (
    AnswerError,
    Json,
    LeaseLost,
    Message,
    Part,
    RateLimited,
    Receipt,
    Text,
    Turn,
    Undeliverable,
    Unreachable,
)
from bot.discord import api
from bot.discord.messages import plain_text
from bot.discord.timing import Timing
from bot.inbox import worker
from bot.main import SETTINGS
from tests.servers.discord.rate_limits import Fault
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
    echo,
    fixed_answer,
    message_of,
    texts,
)

timing = discord_platform.timing
server = discord_platform.server
bot = discord_platform.bot


THREADS = "/channels/*/messages/*/threads"


async def test_a_refused_message_is_sent_once_more_as_plain_text(server: Discord, bot: Bot) -> None:
    """Without control characters, of a length that Discord takes however it counts, and as no reply."""
    server.general.denied.add("create_public_threads")
    question = message_of(server, await server.say(server.alice, server.general, f"{server.mention} hello"))
    fault = server.fail("POST", MESSAGES, status=400, code=50035)
    await bot.reply(question, answer=fixed_answer("Here: \x00\x1b[1m" + "🚢" * 1200))
    first, *_ = [each for each in server.messages(server.general) if each.author is server.bot]
    assert fault.used == 1
    assert first.content == "Here: [1m" + "🚢" * 995 + "…"
    assert first.reference is None


def test_plain_text_keeps_words_apart_and_marks_without_meaning() -> None:
    """Fault: `10\u00a0kg` became `10kg`, and neutral backticks, signs and emoji were live again."""
    text = "10\u00a0kg\u3000of\u200b: `\u200b`\u200b` <:x:1100000000000000009\u200b> 👩\u200d💻"
    assert plain_text(f"\x1b{text}\ta\r\nb\ud83d") == f"{text} a\nb"


async def test_an_answer_of_which_discord_takes_nothing_is_told_by_a_sentence(
    server: Discord, bot: Bot
) -> None:
    server.fail("POST", MESSAGES, times=2, status=400, code=200000)
    await bot.reply(await direct(server))
    [sentence] = texts(server, server.dm(server.alice))
    assert "I could not show the rest of this answer" in sentence


async def test_when_even_the_sentence_is_refused_the_answer_is_undeliverable(
    server: Discord, bot: Bot
) -> None:
    server.fail("POST", MESSAGES, times=3, status=400, code=200000)
    with pytest.raises(Undeliverable):
        await bot.reply(await direct(server))


@pytest.mark.parametrize("code", [10003, 50001, 50007, 50013])
async def test_an_edit_that_is_refused_for_the_place_is_undeliverable(
    server: Discord, bot: Bot, code: int
) -> None:
    channel, held, reply = await begin_answer(server, bot, await direct(server))
    server.fail("PATCH", MESSAGE, status=403, code=code)
    held.go_on.set()
    with pytest.raises(Undeliverable):
        await reply
    assert texts(server, channel) == ["First"]


async def test_a_message_that_cannot_be_taken_back_fails_nothing(server: Discord, bot: Bot) -> None:
    channel, held, reply = await begin_answer(server, bot, await direct(server))
    server.fail("PATCH", MESSAGE, status=400, code=200000)
    server.fail("DELETE", MESSAGE, status=400, code=50083)
    held.go_on.set()
    await reply
    assert texts(server, channel) == ["First", "First and last"]


async def test_a_channel_that_is_gone_is_undeliverable(server: Discord, bot: Bot) -> None:
    question = message_of(server, await server.say(server.alice, server.general, "hello"))
    server.remove_channel(server.general)
    with pytest.raises(Undeliverable):
        await bot.reply(question)


async def test_a_person_who_takes_no_messages_is_undeliverable(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    server.alice.accepts_dms = False
    with pytest.raises(Undeliverable):
        await bot.reply(question)


async def test_a_dead_server_is_unreachable_after_some_tries(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    fault = server.fail("POST", MESSAGES, times=99, status=503)
    with pytest.raises(Unreachable):
        await bot.reply(question)
    assert fault.used == api.TRIES


async def test_a_long_rate_limit_is_told_to_the_caller(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    server.fail("POST", MESSAGES, status=429, retry_after=120)
    with pytest.raises(RateLimited) as limited:
        await bot.reply(question)
    assert limited.value.retry_after == 120


async def test_a_short_rate_limit_is_waited_for(server: Discord, bot: Bot) -> None:
    question = await direct(server)
    server.fail("POST", MESSAGES, status=429, retry_after=0.05)
    await bot.reply(question)
    assert texts(server, server.dm(server.alice)) == ["You said: hello"]


@pytest.mark.parametrize("error", [AnswerError("no"), LeaseLost("gone")])
async def test_an_error_of_the_answer_comes_out_as_it_is(server: Discord, bot: Bot, error: Exception) -> None:
    async def failing(turn: Turn) -> AsyncIterator[Part]:
        yield Text("So far")
        raise error

    question = await direct(server)
    with pytest.raises(type(error)) as raised:
        await bot.reply(question, answer=failing)
    assert raised.value is error


async def test_a_lost_lease_stops_the_reply(server: Discord, bot: Bot) -> None:
    async def keep(state: Mapping[str, Json]) -> None:
        raise LeaseLost

    question = await direct(server)
    turn = Turn(id="t", thread=question.thread, messages=(question,))
    with pytest.raises(LeaseLost):
        await bot.platform.thread(turn.thread).reply(echo(turn), Receipt(turn, keep))
    assert texts(server, server.dm(server.alice)) == []


async def reply_until_lost(bot: Bot, question: Message, fault: Fault) -> None:
    """A reply of "Only this." by a process that loses its turn while the request of `fault` goes wrong."""

    async def hold() -> None:
        if fault.used:
            raise LeaseLost

    async def keep(state: Mapping[str, Json]) -> None:
        pass

    turn = Turn(id=question.id, thread=question.thread, messages=(question,))
    receipt = Receipt(turn, keep, dict(bot.receipts.get(turn.id, {})), hold)
    await bot.platform.thread(turn.thread).reply(fixed_answer("Only this.")(turn), receipt)


async def leave_half_done(bot: Bot, question: Message) -> None:
    """An earlier attempt has shown more than one message."""
    await bot.reply(question, answer=fixed_answer("word " * 600))
    bot.receipts[question.id]["finished"] = False


WRITES = [("POST", THREADS), ("POST", MESSAGES), ("PATCH", MESSAGE), ("DELETE", MESSAGE)]
IMPATIENT = replace(QUICK, exchange_timeout=0.2)


@pytest.mark.parametrize("timing", [IMPATIENT], ids=["impatient"])
@pytest.mark.parametrize("trouble", [{"status": 429, "retry_after": 0.05}, {"status": 503}, {"delay": 30}])
@pytest.mark.parametrize(("method", "path"), WRITES)
async def test_nothing_is_written_again_once_the_turn_is_lost(
    server: Discord, bot: Bot, method: str, path: str, trouble: dict[str, Any]
) -> None:
    """Neither by us nor by discord.py, which repeats what was limited by itself."""
    question = message_of(server, await server.say(server.alice, server.general, f"{server.mention} hello"))
    if path == MESSAGE:
        await leave_half_done(bot, question)
    done = server.count(method, path)
    fault = server.fail(method, path, **trouble)
    with pytest.raises(LeaseLost):
        await reply_until_lost(bot, question, fault)
    assert server.count(method, path) == done + 1


async def test_typing_ends_once_the_turn_is_lost(server: Discord, bot: Bot) -> None:
    fault = server.fail("POST", "/channels/*/typing", status=429, retry_after=0.05)
    question = await direct(server)
    held = PausedAnswer([])

    async def hold() -> None:
        if fault.used:
            raise LeaseLost

    async def keep(state: Mapping[str, Json]) -> None:
        pass

    turn = Turn(id=question.id, thread=question.thread, messages=(question,))
    with pytest.raises(LeaseLost):
        await bot.platform.thread(turn.thread).reply(held(turn), Receipt(turn, keep, check_lease=hold))
    assert not server.typing(server.dm(server.alice))


@pytest.mark.parametrize("timing", [IMPATIENT], ids=["impatient"])
async def test_a_wait_for_a_rate_limit_is_not_cut_short(server: Discord, bot: Bot) -> None:
    """It may be longer than an exchange: another request would only be refused, too."""
    question = await direct(server)
    server.fail("POST", MESSAGES, status=429, retry_after=0.5, is_global=True)
    await bot.reply(question)
    assert texts(server, server.dm(server.alice)) == ["You said: hello"]
    assert server.count("POST", MESSAGES) == 2


def test_an_exchange_ends_while_the_turn_is_still_ours() -> None:
    """`hold` returns without asking until a part of the lease is over."""
    lease_seconds = SETTINGS.model_fields["lease_seconds"].default
    assert (1 - worker._HELD_SHARE) * lease_seconds > Timing().exchange_timeout
