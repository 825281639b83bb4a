"""A Discord that fails or refuses for ever: people are told the truth, and nothing waits for good."""

import time
from dataclasses import replace
from typing import Any

import discord as library
import pytest
from redis.asyncio import Redis

from bot.chat import Approval, File, Text, Undeliverable, Unreachable
from bot.discord import api
from bot.discord.errors import translate_errors
from bot.storage.files import FileStore
from tests.servers.discord.service import Channel, Discord
from tests.servers.model import KEY, ModelServer
from tests.support import discord_reply
from tests.support.bot import run_bot
from tests.support.discord_reply import ask_question, messages_of
from tests.support.files import PICTURE
from tests.support.platforms import platforms_with
from tests.support.wait import wait_until

MESSAGES = "/channels/*/messages"
ALWAYS = 10**6
FILES = "multipart/form-data"


QUICK = replace(discord_reply.QUICK, edit_interval=0.01)
IMPATIENT = replace(QUICK, part_timeout=0)


@pytest.fixture(autouse=True)
def without_rate_limits(discord: Discord) -> None:
    """Accept many messages: what is repeated is repeated soon."""
    discord.limit("send", 100, 1.0)


@pytest.fixture
async def picture(redis: Redis) -> File:
    return await FileStore(redis).keep("sales.png", "image/png", PICTURE, "Sales go up")


def texts(discord: Discord, channel: Channel) -> list[str]:
    return [each.content for each in discord.messages(channel) if each.author is discord.bot]


# --- failures without an end


async def test_a_file_that_fails_for_ever_is_replaced_by_a_sentence(
    discord: Discord, redis: Redis, picture: File
) -> None:
    """After a bounded time, over attempts; then the turn is over, and the thread goes on."""
    discord.fail("POST", MESSAGES, times=ALWAYS, holding=FILES, status=503)
    async with ask_question(discord, redis, "dm", timing=IMPATIENT) as question:
        with pytest.raises(Unreachable):
            await question.answer(Text("Here it is."), picture)
        await question.answer(Text("Here it is."), picture)
        [(text, files)] = messages_of(discord)
        assert text.startswith("Here it is.")
        assert "I could not show the file sales.png: Discord did not accept the upload." in text
        assert not files
        assert question.state["finished"]


async def test_a_failure_is_borne_until_the_time_is_up(discord: Discord, redis: Redis, picture: File) -> None:
    fault = discord.fail("POST", MESSAGES, times=ALWAYS, holding=FILES, status=503)
    async with ask_question(discord, redis, "dm", timing=replace(QUICK, part_timeout=1_000)) as question:
        for _ in range(3):
            with pytest.raises(Unreachable):
                await question.answer(picture)
        fault.times = 0
        await question.answer(picture)
        assert messages_of(discord) == [("", ["sales.png"])]


async def test_a_failure_that_ended_is_forgotten(discord: Discord, redis: Redis, picture: File) -> None:
    """The time begins again with the next one."""
    async with ask_question(discord, redis, "dm", timing=IMPATIENT) as question:
        fault = discord.fail("POST", MESSAGES, times=ALWAYS, holding="first", status=503)
        with pytest.raises(Unreachable):
            await question.answer(Text("first"))
        assert question.state["failing"]
        fault.times = 0
        await question.answer(Text("first"))
        assert not question.state["failing"]


async def test_a_discord_that_fails_at_everything_is_waited_for(
    discord: Discord, redis: Redis, picture: File
) -> None:
    """A file whose sentence cannot be shown either is tried again: an outage costs no answer."""
    places = (MESSAGES, "/channels/*/messages/*", "/users/@me/channels")
    faults = [discord.fail("*", path, times=ALWAYS, status=503) for path in places]
    async with ask_question(discord, redis, "thread", timing=IMPATIENT) as question:
        for _ in range(4):
            with pytest.raises(Unreachable):
                await question.answer(Text("Here it is."), picture)
        for fault in faults:
            fault.times = 0
        await question.answer(Text("Here it is."), picture)
        assert messages_of(discord) == [("Here it is.", []), ("", ["sales.png"])]


async def test_a_message_that_fails_for_ever_is_replaced_by_a_sentence(
    discord: Discord, redis: Redis
) -> None:
    discord.fail("POST", MESSAGES, times=ALWAYS, holding="unlucky", status=503)
    async with ask_question(discord, redis, "dm", timing=IMPATIENT) as question:
        with pytest.raises(Unreachable):
            await question.answer(Text("unlucky words"))
        await question.answer(Text("unlucky words"))
        [sentence] = texts(discord, discord.dm(discord.alice))
        assert "I could not show the rest of this answer" in sentence


async def test_the_second_message_of_an_answer_that_fails_for_ever_is_replaced_by_a_sentence(
    discord: Discord, redis: Redis
) -> None:
    """Fault: the first one succeeded at each attempt, and the time began again: the thread was stuck."""
    discord.fail("POST", MESSAGES, times=ALWAYS, holding="unlucky", status=503)
    answer = Text("word " * 350 + "\n\n" + "unlucky " * 20)
    async with ask_question(discord, redis, "dm", timing=IMPATIENT) as question:
        with pytest.raises(Unreachable):
            await question.answer(answer)
        await question.answer(answer)
        first, sentence = texts(discord, discord.dm(discord.alice))
        assert first.startswith("word word")
        assert "I could not show the rest of this answer" in sentence


async def test_a_message_that_can_never_be_taken_back_is_left(discord: Discord, redis: Redis) -> None:
    """Of several that are too much the others can."""
    direct = discord.dm(discord.alice)
    async with ask_question(discord, redis, "dm", timing=IMPATIENT) as question:
        await question.answer(Text("word " * 1000))
        question.state["finished"] = False
        *_, last = discord.messages(direct)
        discord.fail("DELETE", f"/channels/*/messages/{last.id}", times=ALWAYS, status=503)
        with pytest.raises(Unreachable):
            await question.answer(Text("Only this."))
        await question.answer(Text("Only this."))
        assert question.state["finished"]
        assert len(texts(discord, direct)) == 2


async def test_an_edit_that_fails_for_ever_is_sent_as_another_message(discord: Discord, redis: Redis) -> None:
    async with ask_question(discord, redis, "dm", timing=IMPATIENT) as question:
        await question.answer(Text("begun"))
        question.state["finished"] = False
        discord.fail("PATCH", "/channels/*/messages/*", times=ALWAYS, status=503)
        with pytest.raises(Unreachable):
            await question.answer(Text("begun and ended"))
        await question.answer(Text("begun and ended"))
        assert texts(discord, discord.dm(discord.alice)) == ["begun and ended"]


async def test_a_thread_that_can_never_be_made_is_done_without(discord: Discord, redis: Redis) -> None:
    discord.fail("POST", "/channels/*/messages/*/threads", times=ALWAYS, status=503)
    async with ask_question(discord, redis, timing=IMPATIENT) as question:
        with pytest.raises(Unreachable):
            await question.answer(Text("Here it is."))
        await question.answer(Text("Here it is."))
        assert texts(discord, discord.general) == ["Here it is."]


async def test_a_history_that_can_never_be_read_is_done_without(discord: Discord, redis: Redis) -> None:
    """It would tell what an earlier attempt has sent; the nonce tells that for some minutes, too."""
    discord.fail("GET", MESSAGES, times=ALWAYS, status=503)
    async with ask_question(discord, redis, "dm", timing=IMPATIENT) as question:
        discord.fail("POST", MESSAGES, times=3, drop=True, after_applying=True)
        for _ in range(2):
            with pytest.raises(Unreachable):
                await question.answer(Text("Here it is."))
        await question.answer(Text("Here it is."))
        assert texts(discord, discord.dm(discord.alice)) == ["Here it is."]


@pytest.mark.parametrize(
    "trouble", [{"status": 503}, {"status": 400, "code": 50035}], ids=["fails", "refused"]
)
async def test_a_request_for_approval_that_cannot_be_shown_is_told(
    discord: Discord, redis: Redis, trouble: dict[str, Any]
) -> None:
    """Nobody can approve what nobody has seen."""
    approval = Approval(
        id="7f3a9c21",
        title="Change the database",
        action="DELETE FROM orders",
        effect="1 row goes.",
        expires_at=time.time() + 60,
        approvers=(),
        asked_in="question",
    )
    discord.fail("POST", MESSAGES, times=ALWAYS, holding="Change the database", **trouble)
    async with ask_question(discord, redis, "dm", timing=IMPATIENT) as question:
        if trouble["status"] == 503:
            with pytest.raises(Unreachable):
                await question.answer(Text("I would do this."), approval)
        await question.answer(Text("I would do this."), approval)
        [(text, _)] = messages_of(discord)
        assert "Nothing was done" in text


@pytest.mark.parametrize(("status", "is_repeated"), [(500, False), (502, False), (503, True)])
def test_what_discord_py_has_sent_five_times_is_not_sent_again_at_once(
    status: int, is_repeated: bool
) -> None:
    response: Any = type("Response", (), {"status": status, "reason": ""})()
    with pytest.raises(Unreachable) as raised, translate_errors():
        raise library.DiscordServerError(response, "out of order")
    assert api._is_worth_repeating(raised.value) is is_repeated


# --- refusals


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (50013, "I do not have permission to write there"),
        (50001, "I can no longer see the channel"),
        (10003, "the channel was deleted."),
    ],
)
async def test_a_thread_that_takes_no_answer_is_told_of_in_its_parent(
    discord: Discord, redis: Redis, code: int, words: str
) -> None:
    """The turn is over all the same: what is answered later can still be asked there."""
    async with ask_question(discord, redis, "thread", timing=QUICK) as question:
        thread = question.channel
        discord.fail("POST", f"/channels/{thread}/messages", times=ALWAYS, status=403, code=code)
        with pytest.raises(Undeliverable):
            await question.answer(Text("Here it is."))
        [told] = [each for each in discord.messages(discord.general) if each.author is discord.bot]
        assert f"I could not show my answer in <#{thread}>: {words}" in told.content
        assert told.mentions == [discord.alice]


async def test_an_answer_refused_in_a_new_thread_is_told_below_the_question(
    discord: Discord, redis: Redis
) -> None:
    async with ask_question(discord, redis, timing=QUICK) as question:
        thread = question.place["message"]
        discord.fail("POST", f"/channels/{thread}/messages", times=ALWAYS, status=403, code=50013)
        with pytest.raises(Undeliverable):
            await question.answer(Text("Here it is."))
        [told] = [each for each in discord.messages(discord.general) if each.author is discord.bot]
        assert told.reference is not None
        assert str(told.reference.id) == question.place["message"]


async def test_where_the_whole_server_takes_nothing_the_author_is_told_in_a_direct_message(
    discord: Discord, redis: Redis
) -> None:
    discord.general.denied.add("send_messages")
    discord.general.denied.add("send_messages_in_threads")
    async with ask_question(discord, redis, "thread", timing=QUICK) as question:
        with pytest.raises(Undeliverable):
            await question.answer(Text("Here it is."))
        [told] = texts(discord, discord.dm(discord.alice))
        assert f"I lack the permission *Send Messages in Threads* in <#{discord.general.id}>" in told
        assert "ask an administrator" in told


async def test_a_person_who_cannot_be_told_anywhere_costs_nothing_more(
    discord: Discord, redis: Redis
) -> None:
    discord.general.denied |= {"send_messages", "send_messages_in_threads"}
    discord.alice.accepts_dms = False
    async with ask_question(discord, redis, "thread", timing=QUICK) as question:
        with pytest.raises(Undeliverable):
            await question.answer(Text("Here it is."))
        assert messages_of(discord) == []


async def test_a_thread_in_which_all_fails_is_told_of_elsewhere_and_given_up(
    discord: Discord, redis: Redis
) -> None:
    """Other places work, so it is no outage: the next question of the thread is not to wait for it."""
    async with ask_question(discord, redis, "thread", timing=IMPATIENT) as question:
        thread = question.channel
        discord.fail("POST", f"/channels/{thread}/messages", times=ALWAYS, status=503)
        with pytest.raises(Unreachable):
            await question.answer(Text("Here it is."))
        with pytest.raises(Undeliverable):
            await question.answer(Text("Here it is."))
        [told] = texts(discord, discord.general)
        assert "Discord does not accept my messages there" in told


# --- what cannot be read


async def test_a_message_of_another_that_cannot_be_read_keeps_no_answer_from_being_finished(
    discord: Discord, redis: Redis
) -> None:
    """Neither in the history that tells what was sent, nor as the message that the answer replies to."""
    discord.general.denied.add("create_public_threads")
    broken = {"embeds": "none", "poll": 7, "attachments": None}
    async with ask_question(discord, redis, timing=QUICK, more=broken) as question:
        await discord.say(discord.bob, discord.general, "noise", more={**broken, "author": None})
        discord.fail("POST", MESSAGES, times=3, drop=True, after_applying=True)
        with pytest.raises(Unreachable):
            await question.answer(Text("Here it is."))
        discord.forget_nonces()
        await question.answer(Text("Here it is."))
        assert texts(discord, discord.general) == ["Here it is."]


# --- the whole bot


async def test_the_next_question_of_a_thread_is_answered_though_one_never_can_be(
    redis: Redis,
    redis_url: str,
    database_url: str,
    model: ModelServer,
    discord: Discord,
) -> None:
    discord.fail("POST", MESSAGES, times=ALWAYS, holding="unlucky", status=503)
    model.script("unlucky words")
    settings = {
        "redis_url": redis_url,
        "database_url": database_url,
        "openai_api_key": KEY,
        "openai_base_url": model.base_url,
        "openai_model": "main-model",
        "discord_token": discord.token,
        "discord_api_url": discord.url,
    }
    direct = discord.dm(discord.alice)
    async with run_bot(platforms_with(IMPATIENT), **settings):
        await discord.wait_for_connections()
        await discord.say(discord.alice, direct, "one")
        await wait_until(lambda: len(model.requests) == 1, "the first is asked")
        await discord.say(discord.alice, direct, "two")
        answers = await discord.answer(direct, lambda shown: "You wrote: two" in shown[-1].content)
    assert "I could not show the rest of this answer" in answers[0].content
