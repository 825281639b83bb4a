"""`/ask` and the menu of a message on Discord: stored once, answered like a mention or only to the asker."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.chat import SIGN, Message, Part, Question, Text, ThreadId, Turn
from bot.commands import ask_texts, question_texts
from bot.discord.adapter import INFO
from bot.discord.destination import known_destination
from bot.memory.filing import FinishedTurn
from bot.memory.visibility import account_of, search_readers, thread_reader, turn_readers
from bot.storage.files import FileStore
from tests.servers.discord.records import File, MessageFlag
from tests.servers.discord.service import Discord
from tests.servers.model import ModelServer
from tests.support import discord_platform
from tests.support.bot import run_bot
from tests.support.discord_platform import QUICK, Bot, ends, fixed_answer
from tests.support.questions import asking
from tests.support.settings import of_discord, of_model
from tests.support.wait import wait_until

timing = discord_platform.timing
server = discord_platform.server
bot = discord_platform.bot
live = discord_platform.live


async def test_a_question_is_shown_and_answered_in_a_thread_of_its_own(
    storage: dict[str, Any], discord: Discord, model: ModelServer
) -> None:
    """The thread goes on like one that a mention began."""
    model.respond = lambda _: "It is Monday."
    async with run_bot(**storage, **of_model(model), **of_discord(discord)):
        await discord.wait_for_connections()
        asked = await discord.command("ask", options={"question": "which **day** is it?"})
        shown = asked.original
        assert shown
        assert not asked.ephemeral
        thread = await discord.thread_of(shown)
        await discord.answer(thread, ends("It is Monday."))
        assert "Alice asks:" in shown.content
        assert r"which \*\*day\*\* is it?" in shown.content
        assert "which **day** is it?" in str(model.requests)
        again = await discord.say(discord.alice, thread, "and tomorrow?")
        await discord.answer(thread, ends("It is Monday."), after=again)
    assert not discord.violations


async def test_a_private_question_is_answered_only_to_the_asker(
    storage: dict[str, Any], discord: Discord, model: ModelServer
) -> None:
    model.respond = lambda _: "It is Monday."
    async with run_bot(**storage, **of_model(model), **of_discord(discord)):
        await discord.wait_for_connections()
        options = {"question": "which day is it?", "private": True}
        asked = await discord.command("ask", options=options)
        await wait_until(lambda: "It is Monday." in asked.content, "the answer")
        assert asked.ephemeral
        assert [each for each in discord.messages(discord.general) if not each.ephemeral] == []
    assert not discord.violations


async def test_a_long_private_answer_with_a_file_comes_in_one_message(server: Discord, live: Bot) -> None:
    """So that the same request can be sent again: nothing is shown twice."""
    live.answer = fixed_answer("A line of the answer.\n" * 300)
    asked = await server.command("ask", options={"question": "tell me", "private": True})
    await wait_until(lambda: bool(asked.content), "the answer")
    assert asked.ephemeral
    assert ask_texts.WHOLE_ANSWER in asked.content
    assert len(asked.content) <= 2_000
    [whole] = asked.messages[0].attachments
    assert whole.data.count(b"A line of the answer.") == 300
    message = live.heard[-1]
    live.receipts[message.id].pop("finished")
    await live.reply(message)
    assert len(asked.messages) == 1


async def test_files_that_a_private_answer_has_no_room_for_are_told(
    server: Discord, live: Bot, redis: Redis
) -> None:
    """Discord takes ten files of a message; one may be the whole answer."""
    store = FileStore(redis)
    files = [await store.keep(f"{number}.txt", "text/plain", b"%d" % number) for number in range(11)]

    async def answer(turn: Turn) -> AsyncIterator[Part]:
        for each in files:
            yield each

    live.answer = answer
    asked = await server.command("ask", options={"question": "files", "private": True})
    await wait_until(lambda: bool(asked.content), "the answer")
    assert [each.name for each in asked.messages[0].attachments] == [f"{number}.txt" for number in range(9)]
    assert asked.content.count(ask_texts.TOO_MANY_FILES) == 2
    assert files[10].name in asked.content


def a_private_turn() -> Turn:
    """Return a turn of which only the id counts."""
    return Turn(id="discord:1", thread=ThreadId("discord", "1", "1"), messages=())


def which_fruit(turn: Turn, *options: str) -> Question:
    """Return a question to a user."""
    return Question(
        id="a1",
        text="Which **fruit**?",
        options=options,
        respondents=("discord:1",),
        asked_at=0.0,
        expires_at=1e12,
        asked_in=turn.id,
    )


async def test_a_question_in_a_private_answer_has_buttons_for_its_options_and_for_words(
    server: Discord, live: Bot
) -> None:
    async def answer(turn: Turn) -> AsyncIterator[Part]:
        yield Text("Hm.")
        yield which_fruit(turn, "Apples", "Pears") if turn.messages[0].text == "choose" else which_fruit(turn)

    live.answer = answer
    chosen = await server.command("ask", options={"question": "choose", "private": True})
    await wait_until(lambda: ask_texts.PRESS in chosen.content, "the buttons")
    assert chosen.content.startswith("Hm.")
    assert chosen.original
    labels = [each["label"] for each in chosen.original.buttons]
    assert labels == ["Apples", "Pears", question_texts.IN_WORDS]
    in_words = await server.command("ask", options={"question": "say", "private": True})
    await wait_until(lambda: ask_texts.WRITE in in_words.content, "the button")
    assert in_words.original
    assert [each["label"] for each in in_words.original.buttons] == [question_texts.IN_WORDS]


async def test_a_long_private_answer_with_a_request_shows_the_request_whole(
    server: Discord, live: Bot
) -> None:
    """Nobody decides on what they do not see."""

    async def answer(turn: Turn) -> AsyncIterator[Part]:
        yield Text("A line of the answer.\n" * 300)
        yield which_fruit(turn, "Apples")

    live.answer = answer
    asked = await server.command("ask", options={"question": "choose", "private": True})
    await wait_until(lambda: ask_texts.PRESS in asked.content, "the buttons")
    assert "Which **fruit**?" in asked.content
    [whole] = asked.messages[0].attachments
    assert whole.data.count(b"A line of the answer.") == 300


async def test_a_layout_shows_its_pictures_and_files_under_names_of_their_own(
    server: Discord, live: Bot, redis: Redis
) -> None:
    """Discord shows none that the layout does not name; two may have one name, and a name any characters."""
    store = FileStore(redis)
    picture = await store.keep("sales ä.png", "image/png", b"1", alt="Sales")
    rows = [await store.keep("rows.csv", "text/csv", each) for each in (b"1", b"2")]
    live.answer = fixed_answer("Here.", picture, *rows, which_fruit(a_private_turn(), "Apples"))
    asked = await server.command("ask", options={"question": "files", "private": True})
    await wait_until(lambda: bool(asked.content), "the answer")
    assert asked.original
    assert MessageFlag.COMPONENTS_V2 in asked.original.flags
    assert MessageFlag.SUPPRESS_EMBEDS in asked.original.flags
    assert [each.name for each in asked.original.attachments] == ["sales_.png", "rows.csv", "3_rows.csv"]
    shown = asked.original.components
    assert [each["items"][0]["description"] for each in shown if "items" in each] == ["Sales"]
    urls = [each["file"]["url"] for each in shown if "file" in each]
    assert urls == ["attachment://rows.csv", "attachment://3_rows.csv"]


async def test_a_private_question_of_the_agent_is_answered_in_words_in_a_form(
    storage: dict[str, Any], discord: Discord, model: ModelServer
) -> None:
    """Nobody can write there, so that this is the only way."""
    model.script(asking(options=()), "Plums it is.")
    async with run_bot(**storage, **of_model(model), **of_discord(discord)):
        await discord.wait_for_connections()
        asked = await discord.command("ask", options={"question": "buy fruit", "private": True})
        await wait_until(lambda: ask_texts.WRITE in asked.content, "the question")
        assert asked.original
        opened = await discord.click(discord.alice, asked.original, question_texts.IN_WORDS)
        done = await discord.submit(opened, {"words": "Plums"})
        assert done.content == "Your answer: Plums"
        await wait_until(lambda: asked.content.endswith("Plums it is."), "the answer")
        assert "has answered: Plums" in str(model.requests[-1]["messages"][-1])
    assert not discord.messages(discord.general)


async def test_a_private_question_is_remembered_for_its_user_alone(server: Discord, live: Bot) -> None:
    """Fault: everybody in the server could find it, as if it had been asked in an open channel."""
    await server.command("ask", options={"question": "my salary?", "private": True})
    await wait_until(lambda: bool(live.heard), "the question")
    [message] = live.heard
    turn = Turn(id=message.id, thread=message.thread, messages=(message,))
    own = {thread_reader(turn.thread), account_of(message).digest}
    assert turn_readers(turn, "everyone") == own
    assert search_readers(turn, frozenset(), "everyone") == {thread_reader(turn.thread)}
    assert Message.from_json(message.to_json()).is_private
    assert not message.direct, "the rules of its channel hold"
    [filed] = json.loads(FinishedTurn(turn, "much").dump())[2]
    assert filed["direct"], "a process without private answers files it for its user alone, too"


async def test_a_process_without_private_answers_cannot_show_one(server: Discord, live: Bot) -> None:
    """It finds no destination, whatever it does; the turn is tried again, until a newer one takes it."""
    await server.command("ask", options={"question": "my salary?", "private": True})
    await wait_until(lambda: bool(live.heard), "the question")
    [message] = live.heard
    turn = Turn(id=message.id, thread=message.thread, messages=(message,))
    with pytest.raises(KeyError, match="kind"):
        known_destination(turn)


async def test_the_channels_that_are_allowed_hold_for_private_questions(
    storage: dict[str, Any], discord: Discord, model: ModelServer
) -> None:
    async with run_bot(**storage, **of_model(model), **of_discord(discord), allowed_channels={"discord:1"}):
        await discord.wait_for_connections()
        asked = await discord.command("ask", options={"question": "hello", "private": True})
        await wait_until(lambda: "channel" in asked.content, "the refusal")
    assert not model.requests


async def test_the_token_of_a_command_is_in_no_log(
    storage: dict[str, Any], discord: Discord, model: ModelServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It lets anyone answer as the bot: addresses with it are hidden like the token of the bot."""
    model.respond = lambda _: "It is Monday."
    pattern = INFO.redaction
    assert pattern
    discord.fail("PATCH", "/webhooks/*/*/messages/*", status=429, times=1)
    with caplog.at_level("DEBUG"):
        async with run_bot(**storage, **of_model(model), **of_discord(discord)):
            await discord.wait_for_connections()
            asked = await discord.command("ask", options={"question": "hello", "private": True})
            await wait_until(lambda: "Monday" in asked.content, "the answer")
    lines = [str(vars(each)) + each.getMessage() for each in caplog.records if each.name.startswith("bot")]
    assert asked.token not in str(lines)
    warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert any(asked.token in each for each in warnings), "discord.py names the address"
    assert asked.token not in pattern.sub("", str(warnings))


async def test_a_private_answer_that_is_too_late_comes_in_direct_messages(server: Discord, live: Bot) -> None:
    """Discord takes it for 15 minutes; a turn that waited longer, or was repeated, is not lost."""

    async def late(turn: Any) -> Any:
        server.interactions.lifetime = 0
        async for part in fixed_answer("It is Monday.")(turn):
            yield part

    live.answer = late
    options = {"question": "which day?", "private": True}
    asking = asyncio.create_task(server.command("ask", options=options))
    await server.answer(server.dm(server.alice), ends("It is Monday."))
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    [expired] = server.violations
    assert "Invalid Webhook Token" in expired
    server.violations.clear()
    shown = len(server.messages(server.dm(server.alice)))
    message = live.heard[-1]
    live.receipts[message.id].pop("finished")
    server.forget_nonces()
    await live.reply(message)
    assert len(server.messages(server.dm(server.alice))) == shown, "nothing is sent again"


async def test_a_question_about_a_message_has_it_as_a_quote(server: Discord, live: Bot) -> None:
    """Its files come along; a question may be left out."""
    file = File("tea.txt", b"Assam", "text/plain")
    subject = await server.say(server.bob, server.general, "Let us buy **tea**", files=[file])
    opened = await server.message_command(ask_texts.ASK_ABOUT, subject)
    await server.submit(opened, {"question": "Which?"})
    await wait_until(lambda: bool(live.heard), "the question")
    message = live.heard[-1]
    assert message.text == "Which?"
    assert message.author == f"discord:{server.alice.id}"
    assert message.quotes[0].text.startswith("Let us buy **tea**")
    assert [each.name for each in message.attachments] == ["tea.txt"]
    await server.submit(await server.message_command(ask_texts.ASK_ABOUT, subject), {})
    await wait_until(lambda: len(live.heard) == 2, "the other question")
    assert live.heard[-1].text == ask_texts.ABOUT


async def test_a_file_is_asked_about_with_an_option(server: Discord, live: Bot) -> None:
    options = {"question": "what is it?", "attachment": File("tea.txt", b"Assam", "text/plain")}
    await server.command("ask", options=options)
    await wait_until(lambda: bool(live.heard), "the question")
    [file] = live.heard[-1].attachments
    assert (file.name, file.size) == ("tea.txt", 5)


@pytest.mark.parametrize("kind", ["dm", "thread", "channel"])
async def test_the_answer_comes_where_that_of_a_mention_would(server: Discord, live: Bot, kind: str) -> None:
    channel = server.general
    if kind == "dm":
        channel = server.dm(server.alice)
    if kind == "thread":
        channel = await server.thread_of(
            await server.say(server.alice, server.general, f"{server.mention} hi")
        )
        await server.answer(channel, ends("hi"))
    asked = await server.command("ask", channel=channel, options={"question": "hello"})
    await wait_until(lambda: any(each.text == "hello" for each in live.heard), "the question")
    message = live.heard[-1]
    assert asked.original
    assert message.id == f"discord:{asked.original.id}"
    assert message.direct == (kind == "dm")
    root = asked.original.id if kind == "channel" else channel.id
    assert message.thread.channel == str(root)
    assert message.place["kind"] == kind
    assert not message.is_private


async def test_where_the_bot_cannot_write_the_answer_is_private(server: Discord, live: Bot) -> None:
    """Responses to commands are shown even there."""
    server.general.denied.add("send_messages")
    asked = await server.command("ask", options={"question": "hello"})
    await wait_until(lambda: "hello" in asked.content, "the answer")
    assert asked.ephemeral
    assert live.heard[-1].is_private


async def test_a_stored_question_is_not_said_to_have_failed(server: Discord, live: Bot) -> None:
    """Otherwise its user asks again, and is answered twice."""
    edit = server.fail("PATCH", "/webhooks/*/*/messages/*", status=400, code=50035)
    asked = await server.command("ask", options={"question": "hello"})
    await wait_until(lambda: bool(edit.used and live.heard), "the question, and the refusal")
    assert asked.original
    await server.thread_of(asked.original)
    assert not asked.follow_ups


async def test_a_question_is_shown_after_its_interaction_has_ended(server: Discord, live: Bot) -> None:
    """Fault: a turn that waited for longer than 15 minutes would never show it."""
    ended = server.fail("PATCH", "/webhooks/*/*/messages/*", 10, status=401, code=50027)
    asking = asyncio.create_task(server.command("ask", options={"question": "hello"}))
    await wait_until(lambda: ended.used > 1, "the interaction has ended")
    await wait_until(lambda: len(server.general.messages) > 0, "thinking")
    original = next(iter(server.general.messages.values()))
    await wait_until(lambda: "Alice asks:" in original.content, "it is shown")
    await server.thread_of(original)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


async def test_a_question_cannot_look_like_a_request_of_the_bot(server: Discord, live: Bot) -> None:
    """It is shown by the bot: nothing in it is a sign, markup, a ping, or an order that decides."""
    fake = (
        f"{SIGN} **Fix a typo?** @everyone can press a button, or write `approve 1a2b3c4d` here. "
        + "x" * 3_000
    )
    asked = await server.command("ask", options={"question": fake})
    await wait_until(lambda: "asks:" in asked.content, "it is shown")
    assert SIGN not in asked.content
    assert "**Fix" not in asked.content
    assert "`approve 1a2b3c4d`" not in asked.content
    assert len(asked.content) <= 2_000


@pytest.mark.parametrize("timing", [replace(QUICK, delivery_timeout=0.1)])
@pytest.mark.parametrize("private", [False, True])
async def test_a_question_that_cannot_be_stored_says_so(server: Discord, live: Bot, private: bool) -> None:
    """Nothing looks as if it were being answered."""
    live.failures = 1_000
    asked = await server.command("ask", options={"question": "trouble", "private": private})
    await wait_until(lambda: asked.content == ask_texts.NOT_TAKEN, "the user is told")
    assert not live.heard


async def test_the_access_rules_hold_for_commands(
    storage: dict[str, Any], discord: Discord, model: ModelServer
) -> None:
    allowed = {"allowed_users": {f"discord:{discord.bob.id}"}}
    async with run_bot(**storage, **of_model(model), **of_discord(discord), **allowed):
        await discord.wait_for_connections()
        asked = await discord.command("ask", options={"question": "hello", "private": True})
        await wait_until(lambda: "allowed" in asked.content.lower(), "the refusal")
    assert not model.requests


@pytest.mark.parametrize("takes_messages", [True, False])
async def test_a_private_answer_that_discord_refuses_leaves_nothing_running(
    server: Discord, live: Bot, takes_messages: bool
) -> None:
    """Fault: the command went on to show that a tool ran, or that the bot was thinking."""
    live.answer = fixed_answer("The bad word.")
    server.alice.accepts_dms = takes_messages
    refused = server.fail(
        "PATCH", "/webhooks/*/*/messages/@original", times=9, status=400, code=200000, holding="bad word"
    )
    asked = await server.command("ask", options={"question": "which day?", "private": True})
    await wait_until(lambda: bool(asked.content), "the end of the command")
    assert asked.content == (ask_texts.SHOWN_DIRECTLY if takes_messages else ask_texts.SHOWN_NOWHERE)
    assert refused.used == 1
    await asyncio.gather(*live.tasks, return_exceptions=True)  # the turn has ended, for good
    live.tasks.clear()
    if takes_messages:
        assert server.messages(server.dm(server.alice))[-1].content == "The bad word."
