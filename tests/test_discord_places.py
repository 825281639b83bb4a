"""Places on Discord: threads, posts, replies, and channels in which the bot is not."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.chat import (
    AnswerButtons,
    Health,
    RateLimited,
    Since,
    Text,
    ThreadId,
    Turn,
    Undeliverable,
    Unreachable,
)
from bot.commands import ask_texts
from bot.discord import events
from bot.discord.thread_names import LONGEST, thread_name
from bot.discord.timing import Timing
from bot.inbox import Lookup
from bot.memory.visibility import account_of, search_readers, thread_reader, turn_readers
from bot.storage.files import FileStore
from tests.servers.discord.payloads import channel as channel_json
from tests.servers.discord.service import Channel, ChannelType, Discord
from tests.servers.model import ModelServer, Script
from tests.support import discord_platform
from tests.support.bot import run_bot
from tests.support.discord_platform import (
    Bot,
    PausedAnswer,
    begin_answer,
    bot_of,
    ends,
    fixed_answer,
    message_of,
    texts,
)
from tests.support.files import PICTURE
from tests.support.settings import of_discord, of_model
from tests.support.wait import wait_until

timing = discord_platform.timing
server = discord_platform.server
bot = discord_platform.bot
live = discord_platform.live


async def thread_with_answer(server: Discord, bot: Bot) -> tuple[Channel, PausedAnswer, asyncio.Task[None]]:
    """Return a thread in which half of an answer is shown."""
    thread = server.start_thread(server.alice, server.general)
    asked = message_of(server, await server.say(server.alice, thread, "hello"))
    return await begin_answer(server, bot, asked)


# --- titles


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("How do I **reset** my `pass_word`?", "How do I reset my pass_word?"),
        (
            "Tell @Alice: <@12> saw [the docs](https://x.test/a) <:wave:34> <t:1:R>",
            "Tell Alice: saw the docs",
        ),
        ("# Why?\n> because\n```sql\nSELECT 1\n```", "Why? because"),
        ("Who did it: ||the butler||, or ||?", "Who did it: , or ?"),
        ("one\u202e two\u200b\u0000 three\r\nfour", "one two three four"),
        ("word " * 40, "word " * 11 + "word…"),
        ("x" * 99, "x" * 59 + "…"),
        (
            "売上の推移を部門ごとに教えてください。" * 5,
            ("売上の推移を部門ごとに教えてください。" * 5)[:59] + "…",
        ),
        ("\u0645\u06cc\u200c\u062e\u0648\u0645?", "\u0645\u06cc\u200c\u062e\u0648\u0645?"),
        ("👩\u200d💻 🚢", "Question from Alice"),
        ("https://x.test/a?b=c", "Question from Alice"),
        ("[sticker: Hi]\n[voice message of 5 seconds]", "Question from Alice"),
        ("", "Question from Alice"),
    ],
)
async def test_a_thread_has_a_short_title_in_plain_words(server: Discord, question: str, title: str) -> None:
    asked = message_of(server, await server.say(server.alice, server.general, "?"), question)
    assert thread_name(replace(asked, author_name="**Alice**")) == title
    assert len(title) <= LONGEST


async def test_a_title_cuts_no_character_from_its_marks(server: Discord) -> None:
    asked = message_of(server, await server.say(server.alice, server.general, "?"), "e\u0301" * 40)
    assert thread_name(asked) == "e\u0301" * 29 + "…"
    long = replace(asked, text="𠀋" * 60)
    assert len(thread_name(long).encode("utf-16-le")) <= 200
    assert thread_name(replace(asked, text="", author_name="\u200b")) == "Question"


async def test_a_thread_keeps_the_name_that_a_person_gave_it(server: Discord, live: Bot) -> None:
    question = await server.say(server.alice, server.general, f"{server.mention} which *tea*?")
    thread = await server.thread_of(question)
    await server.answer(thread, ends("which *tea*?"))
    assert (thread.id, thread.name) == (question.id, "which tea?")
    thread.name = "Tea"
    server.world.update_thread(thread)
    again = await server.say(server.alice, thread, f"{server.mention} and coffee?")
    await server.answer(thread, ends("and coffee?"), after=again)
    assert thread.name == "Tea"
    assert server.count("PATCH", "/channels/*") == 0


async def test_a_title_that_the_server_does_not_allow_is_replaced(server: Discord, live: Bot) -> None:
    blocked = server.fail("POST", "/channels/*/messages/*/threads", status=400, code=200001)
    question = await server.say(server.alice, server.general, f"{server.mention} a bad word")
    thread = await server.thread_of(question)
    await server.answer(thread, ends("a bad word"))
    assert (blocked.used, thread.name) == (1, "Question")


# --- kinds of channels


async def test_a_thread_of_an_announcement_is_archived_when_its_channel_says(
    server: Discord, live: Bot
) -> None:
    news = server.add_channel("news", type=ChannelType.ANNOUNCEMENT)
    news.default_auto_archive_duration = 60
    thread = await server.thread_of(await server.say(server.alice, news, f"{server.mention} hello"))
    await server.answer(thread, ends("hello"))
    assert thread.type is ChannelType.ANNOUNCEMENT_THREAD
    assert thread.auto_archive_duration == 60
    assert not server.violations


@pytest.mark.parametrize("type", [ChannelType.VOICE, ChannelType.STAGE])
async def test_the_chat_of_a_voice_channel_is_answered_in_replies(
    server: Discord, live: Bot, type: ChannelType
) -> None:
    """It has no threads, so none is asked for."""
    voice = server.add_channel("lounge", type=type)
    question = await server.say(server.alice, voice, f"{server.mention} hello")
    [reply] = await server.answer(voice, ends("hello"))
    assert reply.reference is question
    assert not server.violations
    again = await server.say(server.alice, voice, "and now?", reply_to=reply)
    await server.answer(voice, ends("and now?"), after=again)
    assert live.heard[-1].thread == live.heard[0].thread


@pytest.mark.parametrize("type", [ChannelType.FORUM, ChannelType.MEDIA])
async def test_a_post_is_answered_with_its_title_and_tags(
    server: Discord, live: Bot, type: ChannelType
) -> None:
    forum = server.add_channel("help", type=type, tags=["bug", "solved"])
    asked = await server.start_post(server.alice, forum, "It rains", f"{server.mention} why?", ["bug"])
    [answer] = await server.answer(asked.channel, ends("why?"))
    [message] = live.heard
    assert answer.channel.id == asked.id
    assert message.thread.channel == message.place["message"] == str(asked.id)
    assert [each.text for each in message.quotes] == ["It rains\n[tags: bug]"]
    await server.say(server.alice, asked.channel, "aside")
    await wait_until(lambda: len(live.heard) == 2, "the next message")
    assert not live.heard[-1].quotes
    assert not server.violations


# --- archived, locked, deleted


async def test_an_answer_reopens_a_thread_that_was_archived_meanwhile(server: Discord, bot: Bot) -> None:
    thread, held, reply = await thread_with_answer(server, bot)
    begun = server.messages(thread)[-1]
    server.archive(thread)
    held.go_on.set()
    await reply
    assert not thread.archived
    assert texts(server, thread) == ["First and last"]
    assert server.messages(thread)[-1] is begun, "edited, not sent again"


async def test_a_new_message_takes_the_place_of_one_in_a_thread_that_may_not_be_reopened(
    server: Discord, bot: Bot
) -> None:
    thread, held, reply = await thread_with_answer(server, bot)
    server.archive(thread)
    thread.members.clear()
    held.go_on.set()
    await reply
    assert texts(server, thread) == ["First and last"]


@pytest.mark.parametrize("is_archived", [True, False])
async def test_an_answer_continues_in_direct_messages_when_its_thread_is_locked(
    server: Discord, bot: Bot, is_archived: bool
) -> None:
    """The whole answer, once, however often the turn is repeated; what a moderator locked stays so."""
    thread = server.start_thread(server.alice, server.general)
    asked = message_of(server, await server.say(server.alice, thread, "hello"))
    rest = " and\n\n" + "long " * 500 + "last"
    _, held, reply = await begin_answer(server, bot, asked)
    thread.archived, thread.locked = is_archived, True
    held.after = [Text(rest)]
    held.go_on.set()
    await reply
    sentence, first, *_, last = shown = texts(server, server.dm(server.alice))
    assert f"The thread <#{thread.id}> is locked" in sentence
    assert first.startswith("First and")
    assert last.endswith("last")
    assert len(texts(server, thread)) == 1
    del bot.receipts[asked.id]["finished"]
    server.forget_nonces()
    await bot.reply(asked, answer=fixed_answer(f"First{rest}"))
    assert texts(server, server.dm(server.alice)) == shown
    assert (thread.archived, thread.locked) == (is_archived, True)


async def test_a_file_that_a_locked_thread_refuses_comes_in_direct_messages(
    server: Discord, bot: Bot, redis: Redis
) -> None:
    """Fault: it was taken off the list before it was shown."""
    thread, held, reply = await thread_with_answer(server, bot)
    thread.locked = True
    held.after = [await FileStore(redis).keep("sales.png", "image/png", PICTURE, "Sales go up")]
    held.go_on.set()
    await reply
    _, answer, file = server.messages(server.dm(server.alice))
    assert answer.content == "First"
    assert [each.name for each in file.attachments] == ["sales.png"]


async def test_a_move_to_direct_messages_that_was_interrupted_is_told_once(server: Discord, bot: Bot) -> None:
    thread, held, reply = await thread_with_answer(server, bot)
    server.archive(thread, locked=True)
    own = server.dm(server.alice)
    server.limit("send", 100, 1.0)
    server.fail("POST", f"/channels/{own.id}/messages", times=3, status=503, after_applying=True)
    held.after = [Text(" and last"), AnswerButtons("a1")]
    held.go_on.set()
    with pytest.raises(Unreachable):
        await reply
    asked = message_of(server, server.messages(thread)[0])
    await bot.reply(asked, answer=held)
    sentence, answer = server.messages(own)
    assert "is locked" in sentence.content
    assert answer.content == "First and last"
    assert not answer.components, "nobody can rate or repeat it there"


async def test_a_locked_thread_is_told_of_in_its_parent_if_the_author_takes_no_messages(
    server: Discord, bot: Bot
) -> None:
    thread = server.start_thread(server.alice, server.general)
    asked = message_of(server, await server.say(server.alice, thread, "hello"))
    server.archive(thread, locked=True)
    server.alice.accepts_dms = False
    with pytest.raises(Undeliverable):
        await bot.reply(asked)
    [told] = texts(server, server.general)
    assert f"I could not show my answer in <#{thread.id}>: the thread is locked." in told


async def test_a_move_that_fails_half_way_is_told_in_the_parent_of_the_thread(
    server: Discord, bot: Bot
) -> None:
    """Fault: it was told as an answer in the direct messages, and only in the locked thread."""
    thread, held, reply = await thread_with_answer(server, bot)
    thread.locked = True
    path = f"/channels/{server.dm(server.alice).id}/messages"
    server.fail("POST", path, times=99, status=403, code=50007, holding="First")
    held.after = [Text(" and\n\n" + "long " * 500)]
    held.go_on.set()
    with pytest.raises(Undeliverable):
        await reply
    [told] = texts(server, server.general)
    assert f"I could not show my answer in <#{thread.id}>" in told


async def test_no_thread_is_reopened_for_buttons_alone(server: Discord, bot: Bot) -> None:
    thread, held, reply = await thread_with_answer(server, bot)
    held.after = []
    server.archive(thread)
    held.go_on.set()
    await reply
    assert thread.archived
    assert texts(server, thread) == ["First"]


async def test_a_thread_that_is_deleted_during_an_answer_ends_the_turn(server: Discord, bot: Bot) -> None:
    """Its author is told in the parent; nothing is tried again."""
    thread, held, reply = await thread_with_answer(server, bot)
    server.remove_channel(thread)
    held.go_on.set()
    with pytest.raises(Undeliverable):
        await reply
    [told] = texts(server, server.general)
    assert "the channel was deleted." in told


async def test_a_thread_that_is_deleted_leaves_nothing_waiting(
    storage: dict[str, Any],
    redis: Redis,
    discord: Discord,
    model: ModelServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The inbox is done with the message, the log says so, and others are answered."""
    gate = asyncio.Event()
    model.script(Script(text="It is Monday.", gate=gate))
    async with run_bot(**storage, **of_model(model), **of_discord(discord)):
        await discord.wait_for_connections()
        asked = await discord.say(discord.alice, discord.general, f"{discord.mention} which day?")
        discord.remove_channel(await discord.thread_of(asked))
        gate.set()
        [told] = await discord.answer(discord.general, ends("the channel was deleted."))
        assert told.reference is asked
        thread = ThreadId("discord", str(discord.guild.id), str(asked.id))
        await wait_until(lambda: Lookup(redis).is_idle(thread), "nothing waits")
        again = await discord.say(discord.alice, discord.general, f"{discord.mention} and now?")
        await discord.answer(await discord.thread_of(again), lambda shown: "now?" in shown[-1].content)
    assert [each.getMessage() for each in caplog.records].count("turn given up") == 1
    assert not discord.violations


async def test_a_private_thread_is_answered_there_and_nobody_else_hears_of_it(
    server: Discord, live: Bot
) -> None:
    secret = server.world.start_thread(server.general, "secret", server.alice, None, private=True)
    await server.say(server.alice, secret, f"{server.mention} hello")
    await server.answer(secret, ends("hello"))
    [message] = live.heard
    assert message.is_private_thread
    assert await live.platform.audience(message) == "members"
    secret.members = {server.alice.id: server.alice}
    with pytest.raises(Undeliverable):
        await live.reply(replace(message, id="discord:1"))
    assert texts(server, server.general) == []
    [told] = texts(server, server.dm(server.alice))
    assert "I lack the permission *View Channel*" in told


# --- permissions and limits


async def test_earlier_messages_that_the_bot_may_not_read_are_named(server: Discord, live: Bot) -> None:
    """Discord shows it an empty history, as if nothing had been written."""
    no_history = {"id": str(server.bot.id), "type": 1, "allow": "0", "deny": str(1 << 16)}
    server.tell("CHANNEL_UPDATE", channel_json(server.general) | {"permission_overwrites": [no_history]})
    thread = server.start_thread(server.alice, server.general)
    await server.say(server.alice, thread, "It rains.")
    await server.say(server.alice, thread, f"{server.mention} why?")
    await server.answer(thread, ends("why?"))
    read = live.platform.context(live.heard[-1], Since())
    assert read
    [problem] = (await read(10)).problems
    assert "I lack the permission Read Message History" in problem


async def test_a_missing_permission_is_told_once_an_hour_to_each_author(server: Discord, bot: Bot) -> None:
    """With its name and its channel; the health of Discord lists it, too."""
    server.general.denied |= {"send_messages", "create_public_threads"}
    for user in (server.alice, server.alice, server.bob):
        asked = message_of(server, await server.say(user, server.general, f"{server.mention} hello"))
        with pytest.raises(Undeliverable):
            await bot.reply(asked)
    for user in (server.alice, server.bob):
        [told] = texts(server, server.dm(user))
        assert f"I lack the permission *Send Messages* in <#{server.general.id}>" in told
    health = await bot.platform.health()
    assert health.evidence["missing_permissions"] == f"{server.general.id}: Send Messages"


@pytest.mark.parametrize("timing", [replace(discord_platform.QUICK, refusal_interval=0)])
async def test_a_missing_permission_is_told_again_after_that(
    server: Discord, bot: Bot, timing: Timing
) -> None:
    server.general.denied.add("send_messages_in_threads")
    for number in range(2):
        asked = message_of(server, await server.say(server.alice, server.general, f"hello {number}"))
        with pytest.raises(Undeliverable):
            await bot.reply(asked)
    assert [each.count("*Send Messages in Threads*") for each in texts(server, server.general)] == [1, 1]
    assert "missing_permissions" not in (await bot.platform.health()).evidence


async def test_a_channel_in_slow_mode_is_waited_for_and_its_author_is_told_once(
    server: Discord, bot: Bot
) -> None:
    thread = server.start_thread(server.alice, server.general)
    asked = message_of(server, await server.say(server.alice, thread, "hello"))
    slow = f"/channels/{thread.id}/messages"
    server.fail("POST", slow, times=2, status=429, code=20016, retry_after=600)
    for _ in range(2):
        with pytest.raises(RateLimited) as limited:
            await bot.reply(asked)
        assert limited.value.retry_after == 600
    await bot.reply(asked)
    assert texts(server, thread) == ["You said: hello"]
    [told] = texts(server, server.dm(server.alice))
    assert f"write in <#{thread.id}> again in 10 minutes" in told


# --- without the bot


@pytest.mark.parametrize(
    "type", [ChannelType.TEXT, ChannelType.PUBLIC_THREAD, ChannelType.DM, ChannelType.GROUP_DM]
)
async def test_a_user_who_installed_the_app_asks_where_the_bot_is_not(
    server: Discord, live: Bot, type: ChannelType
) -> None:
    """Only they see the answer, it needs the token of the command alone, and is remembered for them alone."""
    place = server.add_foreign_channel(type, server.alice, server.bob)
    live.answer = fixed_answer("A line of the answer.\n" * 300)
    asked = await server.command("ask", channel=place, options={"question": "hello"})
    await wait_until(lambda: bool(asked.content), "the answer")
    assert asked.ephemeral
    [whole] = asked.messages[0].attachments
    assert whole.data.count(b"A line of the answer.") == 300
    subject = await server.say(server.bob, place, "Let us buy tea")
    opened = await server.message_command(ask_texts.ASK_ABOUT, subject)
    await server.submit(opened, {"question": "Which?"})
    await wait_until(lambda: len(live.heard) == 2, "the question about a message")
    for message in live.heard:
        assert message.is_private
        assert message.place["guild"] == message.thread.space == events.DIRECT
        turn = Turn(id=message.id, thread=message.thread, messages=(message,))
        assert search_readers(turn, frozenset(), "everyone") == {thread_reader(turn.thread)}
        assert turn_readers(turn, "everyone") == {thread_reader(turn.thread), account_of(message).digest}
    assert not [each for each in server.calls if str(place.id) in each.path]
    assert not server.violations


async def test_a_long_answer_to_a_command_comes_as_a_file_where_the_bot_is_not(
    server: Discord, redis: Redis
) -> None:
    """Discord takes five follow-ups of an app that only its user has installed."""

    async def much() -> list[Health]:
        return [Health(name=f"part {n}", state="ok", evidence={"detail": "x" * 60}) for n in range(200)]

    place = server.add_foreign_channel(ChannelType.DM, server.alice, server.bob)
    async with bot_of(server, redis, much) as bot, bot.listen():
        await server.wait_for_connections()
        used = await server.command("agent-health", channel=place)
    [shown] = used.messages
    assert ask_texts.WHOLE_ANSWER in shown.content
    assert shown.attachments[0].data.count(b"x" * 60) == 200
    assert not server.violations
