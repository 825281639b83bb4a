"""Forms on Discord: a rejection with its reason, an answer in words; also after a restart."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.chat import Inquiry, Request, WaitingCall
from bot.commands import approval_texts, ask_texts, question_texts
from bot.discord.forms import is_form
from bot.discord.texts import BUTTON_LOST, FORM_LOST
from tests.servers.discord.records import Draft
from tests.servers.discord.service import Discord
from tests.support import discord_platform
from tests.support.approval_requests import PROPOSAL, TURN, approvals, decisions
from tests.support.discord_platform import Bot, a_platform, direct, fixed_answer

timing = discord_platform.timing
server = discord_platform.server
bot = discord_platform.bot
live = discord_platform.live

INQUIRY = Inquiry(
    id="8f3a9c21", tool="ask_user", arguments={}, text="Which **fruit**?", options=("Apples", "Pears")
)


@pytest.fixture
async def asking(bot: Bot, server: Discord, redis: Redis) -> AsyncIterator[Bot]:
    """Yield a bot that listens, whose approver is Alice; she can answer questions, too."""
    requests = approvals(redis, approvers={f"discord:{server.alice.id}"})
    bot.commands = replace(bot.commands, requests=requests)
    async with bot.listen():
        await server.wait_for_connections()
        yield bot


async def show(bot: Bot, server: Discord, call: WaitingCall) -> tuple[Request, Any]:
    """Ask for a decision; return the request, and the message that shows it to Alice."""
    requests: Any = bot.commands.requests
    request = await requests.ask(TURN, call)
    assert request
    await bot.reply(await direct(server), answer=fixed_answer(request))
    return request, server.messages(server.dm(server.alice))[-1]


async def test_a_rejection_has_a_reason_or_none(asking: Bot, server: Discord, redis: Redis) -> None:
    for reason in ("Too many rows.\nOne is enough.", ""):
        await redis.flushall()
        _, card = await show(asking, server, PROPOSAL)
        opened = await server.click(server.alice, card, approval_texts.REJECT_WITH_REASON)
        assert opened.modal["title"] == approval_texts.REJECT_WITH_REASON
        done = await server.submit(opened, {"why": reason})
        assert done.ephemeral
        assert done.content.startswith("Rejected.")
        assert [(each.verdict, each.reason) for each in await decisions(redis)] == [("rejected", reason)]


@pytest.mark.parametrize(
    ("options", "values", "answer"),
    [
        (("Apples", "Pears"), {"option": "1"}, "Pears"),
        (("Apples", "Pears"), {"option": "1", "words": " Both,\nplease. "}, "Both,\nplease."),
        (tuple(f"fruit {number}" for number in range(25)), {"option": ["24"]}, "fruit 24"),
        (("Apples",), {"option": ["0"]}, "Apples"),
        ((), {"words": "Plums"}, "Plums"),
        (("Apples", "Pears"), {}, None),
    ],
)
async def test_a_question_is_answered_in_a_form(
    asking: Bot,
    server: Discord,
    redis: Redis,
    options: tuple[str, ...],
    values: dict[str, Any],
    answer: str | None,
) -> None:
    """By one of its options or in words, which count if there are both."""
    by_alice = replace(TURN.messages[0], author=f"discord:{server.alice.id}")
    requests: Any = asking.commands.requests
    turn = replace(TURN, messages=(by_alice,))
    request = await requests.ask(turn, replace(INQUIRY, options=options))
    await asking.reply(await direct(server), answer=fixed_answer(request))
    card = server.messages(server.dm(server.alice))[-1]
    opened = await server.click(server.alice, card, question_texts.IN_WORDS)
    assert "Which **fruit**?" in str(opened.modal)
    done = await server.submit(opened, values)
    assert done.ephemeral
    if answer is None:
        assert done.content == question_texts.EMPTY
        assert not await decisions(redis)
        return
    (decision,) = await decisions(redis)
    assert (decision.verdict, decision.reason) == ("answered", answer)
    again = await server.click(server.alice, card, question_texts.IN_WORDS)
    assert again.modal is None
    assert "already answered" in again.content


async def test_a_question_to_another_user_takes_no_words(asking: Bot, server: Discord, redis: Redis) -> None:
    _, card = await show(asking, server, INQUIRY)
    opened = await server.click(server.bob, card, question_texts.IN_WORDS)
    refused = await server.submit(opened, {"words": "mine"})
    assert "This question is for" in refused.content
    assert not await decisions(redis)


async def test_where_a_card_cannot_be_changed_a_press_says_what_was_decided(
    asking: Bot, server: Discord, redis: Redis
) -> None:
    """In a locked thread it keeps its buttons."""
    requests: Any = asking.commands.requests
    request = await requests.ask(TURN, PROPOSAL)
    thread = server.start_thread(server.alice, server.general)
    shown = await server.say(server.alice, thread, "hello")
    await asking.reply(discord_platform.message_of(server, shown), answer=fixed_answer(request))
    card = server.messages(thread)[-1]
    await requests.decide(request.id, f"discord:{server.alice.id}", approve=True, name="Alice")
    server.archive(thread, locked=True)
    for button in ("Approve", approval_texts.REJECT_WITH_REASON):
        pressed = await server.click(server.alice, card, button)
        assert pressed.modal is None
        assert pressed.content.startswith("This request was already approved by Alice.")
    assert card in server.messages(thread)


async def test_a_form_about_a_request_is_taken_after_a_restart_and_others_say_that_they_are_lost(
    bot: Bot, server: Discord, redis: Redis
) -> None:
    """Nor is a button of another version left without a sentence."""
    requests = approvals(redis, approvers={f"discord:{server.alice.id}"})
    bot.commands = replace(bot.commands, requests=requests)
    async with bot.listen():
        await server.wait_for_connections()
        _, card = await show(bot, server, PROPOSAL)
        opened = await server.click(server.alice, card, approval_texts.REJECT_WITH_REASON)
        kept_by_the_process = await server.message_command(ask_texts.ASK_ABOUT, card)
    async with a_platform(server.token, server.url, redis) as platform:
        again = Bot(platform, commands=bot.commands)
        async with again.listen():
            await server.wait_for_connections()
            lost = await server.submit(kept_by_the_process, {})
            assert (lost.ephemeral, lost.content) == (True, FORM_LOST)
            done = await server.submit(opened, {"why": "no"})
            assert done.content.startswith("Rejected.")
            button = {"type": 2, "style": 1, "label": "New", "custom_id": "newer:1"}
            row = {"type": 1, "components": [button]}
            newer = server.world.post(server.general, server.bot, Draft("x", components=[row]))
            pressed = await server.click(server.alice, newer, "New")
            assert (pressed.ephemeral, pressed.content) == (True, BUTTON_LOST)


@pytest.mark.parametrize(
    ("custom_id", "is_known"),
    [
        ("reason:1a", True),
        ("reject:1a:why", True),
        ("answer:1a:words", True),
        ("reason:{bot}:x", False),
        ("reject:1a:words", False),
        ("answer:" + "1" * 65 + ":words", False),
        ("reason:", False),
        ("reason:1a\n", False),
    ],
)
def test_only_the_ids_of_the_bot_are_those_of_its_forms(custom_id: str, is_known: bool) -> None:
    assert is_form(custom_id) == is_known
