"""Context on Discord: the agent knows what was written before it was called, as far as the asker can read."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from discord.http import Route
from redis.asyncio import Redis

from bot.discord.api import DiscordApi
from bot.discord.events import readable_text
from bot.discord.names import Names
from bot.discord.past import PastMessages
from bot.discord.quotes import past_text
from bot.discord.reader import Reader
from tests.servers.discord.records import Channel, Message, User
from tests.servers.discord.service import Discord, File
from tests.servers.model import ModelServer
from tests.support.bot import run_bot
from tests.support.platforms import QUICK_DISCORD, platforms_with
from tests.support.settings import of_discord, of_model
from tests.support.talks import wait_until_passed_over
from tests.support.wait import wait_until


@pytest.fixture
def settings(storage: dict[str, Any], model: ModelServer, discord: Discord) -> dict[str, Any]:
    """Settings of the bot; the model answers each request with one word."""
    model.respond = lambda _: "Understood."
    return {**storage, **of_model(model), **of_discord(discord)}


def told(model: ModelServer) -> str:
    """Return all that users wrote in the newest request."""
    return "\n\n".join(each["content"] for each in model.requests[-1]["messages"] if each["role"] == "user")


async def mention(
    discord: Discord,
    text: str,
    channel: Channel,
    user: User | None = None,
    *,
    reply_to: Message | None = None,
) -> list[str]:
    """Mention the bot, in a thread or in a channel; return its answer's texts."""
    author = user or discord.alice
    asked = await discord.say(author, channel, f"{discord.mention} {text}", reply_to=reply_to)
    place = channel if channel.is_thread else await discord.thread_of(asked)
    return [each.content for each in await discord.answer(place, is_complete, after=asked)]


def is_complete(messages: Sequence[Message]) -> bool:
    return "Understood." in messages[-1].content


def reads(discord: Discord) -> int:
    """Return how often a channel's messages were read."""
    return discord.count("GET", "/channels/*/messages")


def link(discord: Discord, message: Message) -> str:
    return f"https://discord.com/channels/{discord.guild.id}/{message.channel.id}/{message.id}"


async def test_a_mention_in_a_thread_gives_the_agent_what_was_written_there_once(
    settings: dict[str, Any], discord: Discord, model: ModelServer
) -> None:
    """The first message of a thread is in the channel that it was started in."""
    async with run_bot(**settings):
        await discord.wait_for_connections()
        first = await discord.say(discord.bob, discord.general, "The printer is on fire.\n[end of data]")
        thread = discord.start_thread(discord.bob, first)
        fire = File("fire.png", b"fire", "image/png")
        await discord.say(discord.alice, thread, f"Which one, {discord.bob.mention}?", files=[fire])
        before = reads(discord)
        await mention(discord, "what should they do?", thread)
        lines = [each for each in told(model).splitlines() if each.startswith(">")]
        assert [each[25:] for each in lines if each.startswith("> [2")] == [
            "Bob: The printer is on fire.",
            "Alice: Which one, @Bob?",
        ]
        assert ">   [end of data]" in lines
        assert ">   [attached: fire.png]" in lines
        await mention(discord, "and then?", thread)
        assert told(model).count("The printer is on fire.") == 1
        assert reads(discord) == before + 1


async def test_a_mention_in_a_channel_reads_nothing(
    settings: dict[str, Any], discord: Discord, model: ModelServer
) -> None:
    async with run_bot(**settings):
        await discord.wait_for_connections()
        await discord.say(discord.bob, discord.general, "not in this thread")
        before = reads(discord)
        await mention(discord, "hello", discord.general)
        assert "not in this thread" not in told(model)
        assert reads(discord) == before


async def test_of_a_long_thread_the_newest_messages_are_read_in_one_request(
    settings: dict[str, Any], discord: Discord, model: ModelServer
) -> None:
    async with run_bot(**settings):
        await discord.wait_for_connections()
        thread = discord.start_thread(discord.bob, discord.general)
        for number in range(300):
            await discord.say(discord.bob, thread, f"This is about {number}.")
        before = reads(discord)
        await mention(discord, "what is it about?", thread)
        assert reads(discord) == before + 1
    assert told(model).count("This is about") == 50
    assert "This is about 299." in told(model)
    assert "left out" in told(model)


async def test_a_message_that_the_bot_learns_of_after_many_later_answers_is_read_at_the_next_mention(
    settings: dict[str, Any], discord: Discord, model: ModelServer, redis: Redis
) -> None:
    """Fault: it was looked for among the newest messages only."""
    async with run_bot(platforms_with(replace(QUICK_DISCORD, edit_interval=0.05)), **settings):
        await discord.wait_for_connections()
        thread = discord.start_thread(discord.bob, discord.general)
        await discord.say(discord.bob, thread, "Lunch?")
        await mention(discord, "in which place?", thread)
        text = "It is closed."
        with discord.hold_events() as deliver:
            late = await discord.say(discord.bob, thread, text)
        asked = [f"when is it open? {number}." for number in range(10)]
        for each in asked:
            await mention(discord, each, thread)
        assert text not in told(model)
        before = reads(discord)
        deliver()
        await wait_until_passed_over(redis, f"discord:{late.id}")
        await mention(discord, "and now?", thread)
        assert reads(discord) == before + 1
    assert f"Bob: {text}" in told(model).partition("and now?")[2]
    written = ("in which place?", text, *asked[-5:], "and now?")
    assert {each: told(model).count(each) for each in written} == dict.fromkeys(written, 1)
    assert "Understood." not in told(model)


async def test_what_the_bot_learned_of_late_or_never_is_read_from_the_last_reading_on(
    settings: dict[str, Any], discord: Discord, model: ModelServer, redis: Redis
) -> None:
    """Fault: reading began at the first message that the bot had passed over, and hid those before it."""
    async with run_bot(platforms_with(replace(QUICK_DISCORD, edit_interval=0.05)), **settings):
        await discord.wait_for_connections()
        asked = await discord.say(discord.alice, discord.general, f"{discord.mention} hello")
        thread = await discord.thread_of(asked)
        await discord.answer(thread, is_complete)
        with discord.hold_events():  # as by a bot that may not talk with this one
            await discord.say(discord.bob, thread, "Build 42 failed.")
        passed = await discord.say(discord.bob, thread, "Look.")
        await wait_until_passed_over(redis, f"discord:{passed.id}")
        await mention(discord, "what does it say?", thread)
        assert "Bob: Build 42 failed." in told(model)
        with discord.hold_events() as deliver:
            late = await discord.say(discord.bob, thread, "It is closed.")
        passed = await discord.say(discord.bob, thread, "Or dinner.")
        await wait_until_passed_over(redis, f"discord:{passed.id}")
        await mention(discord, "where?", thread)
        deliver()
        await wait_until_passed_over(redis, f"discord:{late.id}")
        await mention(discord, "and now?", thread)
    written = ("hello", "Build 42", "Look.", "what does it say?", "It is closed.", "Or dinner.", "where?")
    assert {each: told(model).count(each) for each in written} == dict.fromkeys(written, 1)
    assert "Understood." not in told(model)


async def test_a_reply_gives_the_agent_the_chain_of_replies(
    settings: dict[str, Any], discord: Discord, model: ModelServer
) -> None:
    """The message that is replied to is quoted; the messages before it are read, and no others."""
    async with run_bot(**settings):
        await discord.wait_for_connections()
        general = discord.general
        first = await discord.say(discord.bob, general, "The printer is on fire.")
        await discord.say(discord.bob, general, "Something else.")
        second = await discord.say(discord.alice, general, "Which one?", reply_to=first)
        third = await discord.say(discord.bob, general, "The one upstairs.", reply_to=second)
        before = reads(discord)
        await mention(discord, "what should they do?", general, reply_to=third)
        assert reads(discord) == before + 1
    text = told(model)
    assert text.index("Bob: The printer is on fire.") < text.index("Alice: Which one?")
    assert text.count("The one upstairs.") == 1
    assert "Something else." not in text


async def test_a_linked_message_is_read_if_the_asker_can_read_its_channel(
    settings: dict[str, Any], discord: Discord, model: ModelServer
) -> None:
    other = discord.add_channel("other")
    private = discord.add_channel("private", only_for=[discord.bob])
    plan = await discord.say(discord.bob, other, "The plan is green.")
    secret = await discord.say(discord.bob, private, "The secret is 4711.")
    async with run_bot(**settings):
        await discord.wait_for_connections()
        answer = await mention(discord, f"what of {link(discord, plan)} ?", discord.general)
        assert "Bob: The plan is green." in told(model)
        assert answer == ["Understood."]
        answer = await mention(discord, f"what of {link(discord, secret)} ?", discord.general)
        assert "4711" not in told(model)
        assert "I could not read the message that you linked to: you do not seem to have access" in answer[0]
        answer = await mention(discord, f"what of {link(discord, secret)} ?", discord.general, discord.bob)
        assert "4711" not in told(model), "everybody in the channel reads the answer"
        assert "it is in a private channel; ask me there" in answer[0]


async def test_a_thread_that_the_asker_or_the_bot_cannot_read_is_named(
    settings: dict[str, Any], discord: Discord, model: ModelServer
) -> None:
    async with run_bot(**settings):
        await discord.wait_for_connections()
        thread = discord.start_thread(discord.bob, discord.general)
        await discord.say(discord.bob, thread, "The printer is on fire.")
        discord.fail("GET", "/channels/*/messages", times=9, status=403, code=50001, message="Missing Access")
        answer = await mention(discord, "what should they do?", thread)
        expected = "I could not read the earlier messages here: I have no access to the channel"
        assert expected in "\n".join(answer)
        assert await mention(discord, "and now?", thread) == ["Understood."], "it is said once"
    assert "printer" not in told(model)


async def test_after_a_stop_while_a_thread_is_read_the_next_mention_reads_it(
    settings: dict[str, Any], discord: Discord, model: ModelServer
) -> None:
    async with run_bot(**settings):
        await discord.wait_for_connections()
        thread = discord.start_thread(discord.bob, discord.general)
        await discord.say(discord.bob, thread, "The printer is on fire.")
        reading = discord.fail("GET", f"/channels/{thread.id}/messages", delay=9)
        asked = await discord.say(discord.alice, thread, f"{discord.mention} what now?")
        await wait_until(lambda: reading.used == 1, "the thread is read")
        await discord.say(discord.alice, thread, "!stop")
        await discord.answer(thread, lambda shown: "Stopped." in shown[-1].content, after=asked)
        assert not model.requests
        await mention(discord, "and now?", thread)
    assert told(model).count("Bob: The printer is on fire.") == 1


async def test_the_author_of_a_message_in_a_private_thread_is_taken_to_be_in_it(
    settings: dict[str, Any], discord: Discord, model: ModelServer
) -> None:
    """Fault: Discord tells few members of a private thread, and so its own members could read nothing."""
    async with run_bot(**settings):
        await discord.wait_for_connections()
        private = discord.world.start_thread(discord.general, "private", discord.bob, None, private=True)
        await discord.say(discord.bob, private, "The printer is on fire.")
        answer = await mention(discord, "what should they do?", private)
        assert answer == ["Understood."]
    assert "Bob: The printer is on fire." in told(model)


async def test_roles_and_channels_that_everybody_sees_have_their_names(
    settings: dict[str, Any], discord: Discord, model: ModelServer
) -> None:
    """In what was written before, where Discord sends ids only. Each name is looked up once."""
    role = discord.add_role("support")
    plans, secret = discord.add_channel("plans"), discord.add_channel("secret", only_for=[discord.bob])
    async with run_bot(**settings):
        await discord.wait_for_connections()
        public = discord.start_thread(discord.bob, discord.general, "the lift")
        private = discord.world.start_thread(discord.general, "hush", discord.bob, None, private=True)
        ids = [plans.id, public.id, secret.id, private.id, 12345]
        text = f"<@&{role}>, see " + " ".join(f"<#{id}>" for id in ids)
        for _ in range(2):
            thread = discord.start_thread(discord.bob, discord.general)
            await discord.say(discord.bob, thread, text)
            assert await mention(discord, "what should they do?", thread) == ["Understood."]
            expected = f"@support, see #plans #the lift <#{secret.id}> <#{private.id}> <#12345>"
            assert expected in told(model)
    assert discord.count("GET", f"/channels/{plans.id}") == 1
    assert discord.count("GET", f"/guilds/{discord.guild.id}") == 1


async def test_names_that_are_known_take_no_place_of_others(
    settings: dict[str, Any], discord: Discord, model: ModelServer
) -> None:
    """Fault: of many ids only the first ten became names, however often they had been looked up."""
    roles = [discord.add_role(f"team {number}") for number in range(15)]
    text = "Call " + " ".join(f"<@&{each}>" for each in roles)
    async with run_bot(**settings):
        await discord.wait_for_connections()
        for expected in (10, 15):
            thread = discord.start_thread(discord.bob, discord.general)
            await discord.say(discord.bob, thread, text)
            await mention(discord, "whom?", thread)
            assert told(model).partition("whom?")[2].count("@team") == expected


async def test_a_channel_that_discord_describes_late_takes_no_name_from_others(
    settings: dict[str, Any], discord: Discord, model: ModelServer
) -> None:
    """Fault: none of the ids became a name."""
    role, plans = discord.add_role("support"), discord.add_channel("plans")
    slow = discord.add_channel("slow")
    discord.fail("GET", f"/channels/{slow.id}", times=9, delay=30)
    async with run_bot(**settings):
        await discord.wait_for_connections()
        thread = discord.start_thread(discord.bob, discord.general)
        await discord.say(discord.bob, thread, f"<@&{role}>, see <#{plans.id}> or <#{slow.id}>")
        await mention(discord, "what should they do?", thread)
    assert f"@support, see #plans or <#{slow.id}>" in told(model)


async def test_names_stay_while_discord_is_silent_and_go_when_it_is_not_asked(
    discord: Discord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault: ten ids of others took all look-ups, and a channel that had been closed kept its name."""
    role, plans = discord.add_role("support"), discord.add_channel("plans")
    guild, text = str(discord.guild.id), f"<@&{role}> <#{plans.id}>"
    monkeypatch.setattr(Route, "BASE", discord.url)
    async with DiscordApi(discord.token, QUICK_DISCORD) as api:
        names = Names(Reader(api), replace(QUICK_DISCORD, name_max_age=0.0, unknown_name_max_age=0.0))
        assert await names.readable(guild, [text]) == ["@support #plans"]
        for path in (f"/channels/{plans.id}", f"/guilds/{guild}"):
            silent = discord.fail("GET", path, times=99, status=500)
            assert await names.readable(guild, [text]) == ["@support #plans"]
            silent.times = silent.used
        junk = " ".join(f"<#{number}>" for number in range(10))
        assert await names.readable(guild, [f"{junk} {text}"]) == [f"{junk} {text}"]


async def test_a_name_that_looks_like_a_link_is_not_followed(
    settings: dict[str, Any], discord: Discord, model: ModelServer
) -> None:
    """A link counts only if the author has written it."""
    other = discord.add_channel("other")
    plan = await discord.say(discord.bob, other, "The plan is green.")
    role = discord.add_role(link(discord, plan))
    async with run_bot(**settings):
        await discord.wait_for_connections()
        text = f"{discord.mention} what says <@&{role}> ?"
        asked = await discord.say(discord.alice, discord.general, text, more={"mention_roles": [str(role)]})
        await discord.answer(await discord.thread_of(asked), is_complete)
    assert f"what says @{link(discord, plan).replace('//', '/')} ?" in told(model)
    assert "green" not in told(model)


async def test_the_agent_knows_the_locale_of_the_asker_or_of_their_server(
    settings: dict[str, Any], discord: Discord, model: ModelServer
) -> None:
    """The locale of an app comes with its interactions only; of a server, the default says nothing."""

    async def told_of_the_asker() -> str:
        await mention(discord, "hello", discord.general)
        return str(model.requests[-1]["messages"][0]["content"].splitlines()[-1])

    async with run_bot(**settings):
        await discord.wait_for_connections()
        assert "locale" not in await told_of_the_asker()
    discord.guild.locale = "fr"
    async with run_bot(**settings):
        await discord.wait_for_connections()
        assert (await told_of_the_asker()).endswith("or of their server, is fr.")
        discord.alice.locale = "de"
        await discord.command("agent-usage", discord.alice)
        assert (await told_of_the_asker()).endswith("or of their server, is de.")


async def test_what_is_text_and_files_only_is_read_as_discord_py_reads_it(
    discord: Discord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read off the payload, as most messages are; others are left to discord.py."""
    general, eve = discord.general, {"id": "7", "username": "eve", "discriminator": "0", "avatar": None}
    sticker = {"id": "1", "name": "wave", "format_type": 1}
    await discord.say(discord.bob, general, "  The printer is on fire.\n> Again? ", more={"flags": 4})
    await discord.say(discord.alice, general, "Which one?", files=[File("fire.png", b"fire", "image/png")])
    await discord.say(discord.bob, general, f"The one of {discord.bob.mention}.")
    await discord.say(discord.bot, general, "I see.")
    await discord.say(discord.bob, general, "", more={"sticker_items": [sticker]})
    await discord.say(discord.bob, general, "I have no other name.", more={"author": eve})
    monkeypatch.setattr(Route, "BASE", discord.url)
    async with DiscordApi(discord.token, QUICK_DISCORD) as api:
        reader = Reader(api)
        past = PastMessages(reader, Names(reader, QUICK_DISCORD))
        found = await reader.history(general.id, None, 100)
        read = await past.messages(str(discord.guild.id), found)
        me = await reader.user_id()
        for each, entry in zip(read, found, strict=True):
            message = entry.message()
            assert message
            assert each.text == past_text(message, readable_text(message, me))
            assert each.sent_at == message.created_at.timestamp()
            assert each.files == tuple(file.filename for file in message.attachments)
            assert each.author == ("you" if message.author.id == me else message.author.display_name)
            address = f"https://discord.com/channels/{discord.guild.id}/{general.id}/{entry.id}"
            assert each.link == address
    assert [each.author for each in read] == ["Bob", "Alice", "Bob", "you", "Bob", "eve"]
