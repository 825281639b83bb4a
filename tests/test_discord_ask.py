"""`/ask` and the menu of a message on Discord: stored once, answered like a mention or only to the asker."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from bot.commands import ask_texts
from bot.discord.events import PRIVATE, TOKEN
from tests.servers.discord.records import File
from tests.servers.discord.service import Discord
from tests.servers.model import ModelServer
from tests.support import discord_platform
from tests.support.bot import run_bot
from tests.support.discord_platform import QUICK, Bot, ends, fixed_answer
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
        await wait_until(lambda: ask_texts.TAKING not in shown.content, "it is taken")
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
    assert TOKEN not in message.place


async def test_where_the_bot_cannot_write_the_answer_is_private(server: Discord, live: Bot) -> None:
    """Responses to commands are shown even there."""
    server.general.denied.add("send_messages")
    asked = await server.command("ask", options={"question": "hello"})
    await wait_until(lambda: "hello" in asked.content, "the answer")
    assert asked.ephemeral
    assert live.heard[-1].place["kind"] == PRIVATE


async def test_a_stored_question_is_not_said_to_have_failed(server: Discord, live: Bot) -> None:
    """Otherwise its user asks again, and is answered twice."""
    edit = server.fail("PATCH", "/webhooks/*/*/messages/*", status=400, code=50035)
    asked = await server.command("ask", options={"question": "hello"})
    await wait_until(lambda: bool(edit.used and live.heard), "the question, and the refusal")
    assert asked.original
    await server.thread_of(asked.original)
    assert not asked.follow_ups


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
