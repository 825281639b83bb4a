"""Cards of requests on Discord: whole, bounded, shown once, and decided also where they cannot be changed."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.chat import Approval, Json, Message, Question, Receipt, Request, Turn
from bot.discord.cards import fits, private_card, request_card, text_card
from bot.discord.request_forms import render_request
from bot.inbox import keys
from tests.servers.discord import layouts
from tests.servers.discord.records import MessageFlag
from tests.servers.discord.rules import V2_COMPONENTS, V2_TEXT, walk
from tests.servers.discord.service import Discord
from tests.support import discord_platform
from tests.support.discord_platform import MESSAGE, Bot, direct, fixed_answer, message_of

timing = discord_platform.timing
server = discord_platform.server
bot = discord_platform.bot

ASKED = Approval(
    id="7f3a9c21",
    title="Change the database",
    action="DELETE FROM shelf WHERE name = 'x'",
    effect="It would delete 1 row of shelf.",
    expires_at=1e12,
    approvers=("discord:400", "slack:UBOB"),
    asked_in="discord:1",
    language="sql",
    askers=("discord:399",),
)
QUESTION = Question(
    id="a1",
    text="Which **fruit**?",
    options=("Apples", "Pears"),
    respondents=("discord:399",),
    asked_at=0.0,
    expires_at=1e12,
    asked_in="discord:1",
)
OVER: list[tuple[Request, str]] = [
    (replace(ASKED, state="approved", by="discord:400"), "Approved by <@400>"),
    (replace(ASKED, state="rejected", by="discord:400", reason="no"), "Rejected by <@400>: no"),
    (replace(ASKED, state="expired"), "Nobody decided this in time"),
    (replace(QUESTION, state="answered", by="discord:399", answer="Pears"), "<@399> answered: Pears"),
    (replace(QUESTION, state="withdrawn", by="discord:399"), "Stopped by <@399>"),
    (replace(QUESTION, state="expired"), "Nobody answered this in time"),
]


def components_of(request: Request) -> list[Any]:
    """Return all components of a card, which Discord accepts."""
    view: Any = request_card(request)
    card = view.to_components()
    layouts.check_message(card)
    everything = list(walk(card))
    texts = [each["content"] for each in everything if each["type"] == layouts.Kind.TEXT_DISPLAY]
    assert len(everything) <= V2_COMPONENTS
    assert sum(map(len, texts)) <= V2_TEXT
    return everything


def test_the_statement_is_whole_and_alone_in_its_block() -> None:
    """Whatever is in it: nothing ends the block, and no other text of the card is in it."""
    for action in (ASKED.action, "a" * 1_500, "`" * 1_500, "x\n```\n# Harmless @everyone"):
        texts = [
            each["content"] for each in components_of(replace(ASKED, action=action)) if "content" in each
        ]
        (code,) = [each for each in texts if each.startswith("```")]
        assert code.count("```") == 2
        assert code.replace("\u200b", "") == f"```sql\n{action}\n```"


@pytest.mark.parametrize(("request_", "shown"), OVER)
def test_a_card_that_is_over_says_so_and_has_no_buttons(request_: Request, shown: str) -> None:
    everything = components_of(request_)
    assert shown in layouts.shown_text(everything)
    assert not [each for each in everything if "custom_id" in each]
    waiting = components_of(replace(request_, state="asked"))
    assert waiting[0]["accent_color"] != everything[0]["accent_color"]


def test_markup_that_the_question_leaves_open_ends_with_it() -> None:
    """A text that is open to its end would take in what the card says below it."""
    for text in ("```\nopen", "**bold", "> quote", "||spoiler"):
        everything = components_of(replace(QUESTION, text=text))
        status = [each["content"] for each in everything if "content" in each][-1]
        assert status == "Press a button, or write your answer here."


def test_the_longest_requests_fit_and_their_ids_too() -> None:
    people = tuple(f"discord:{10**18 + each}" for each in range(9))
    longest = replace(
        ASKED,
        id="f" * 64,
        title="t" * 100,
        effect="e" * 200,
        action="`a" * 750,
        approvers=people,
        askers=people,
    )
    many = tuple(f"{number} " + "x" * 70 for number in range(25))
    for request in (
        longest,
        replace(longest, state="rejected", by=people[0], reason="r" * 500),
        replace(QUESTION, id="f" * 64, text="*_`~" * 250, options=many, respondents=people),
        replace(QUESTION, text="| a | b |\n|-|-|\n" + "| 1 | 2 |\n" * 90, options=many[:5]),
    ):
        for each in components_of(request):
            assert len(each.get("custom_id", "")) <= 100
            assert len(each.get("label", "")) <= 80


def test_what_does_not_fit_into_one_message_is_known_before() -> None:
    many = [private_card(replace(QUESTION, id=f"a{number}")) for number in range(5)]
    assert fits(many[:4]), "40 components"
    assert not fits(many)
    assert fits([*text_card("x" * 3_999 + "\ny").children])
    assert not fits([*text_card("😀" * 2_000 + "\ny").children])


async def ask(server: Discord, bot: Bot, request: Request = ASKED) -> tuple[Message, Any]:
    """Ask in a direct message; return the question and the message of the request."""
    question = await direct(server)
    await bot.reply(question, answer=fixed_answer("I need this.", request))
    return question, server.messages(server.dm(server.alice))[-1]


async def test_a_request_is_sent_as_a_text_and_becomes_a_card(server: Discord, bot: Bot) -> None:
    """A notification shows what the message was sent with: all of the request, and nothing of a layout."""
    alice = server.alice
    request = replace(ASKED, approvers=(f"discord:{alice.id}",))
    _, message = await ask(server, bot, request)
    assert MessageFlag.COMPONENTS_V2 in message.flags
    assert message.history[0].content == render_request(request)
    assert len(message.history) == 2
    assert [each["custom_id"] for each in message.buttons] == [
        "approve:7f3a9c21",
        "reject:7f3a9c21",
        "reject:7f3a9c21:why",
    ]
    assert message.mentions == [alice]


@pytest.mark.parametrize("known", ["nothing", "the message", "everything"])
async def test_after_a_kill_a_request_is_one_card(server: Discord, bot: Bot, known: str) -> None:
    """Between sending it and storing that, before it is a card, and before the end is stored."""
    question = await direct(server)
    answer = fixed_answer("I need this.", ASKED)
    await bot.reply(question, answer=answer)
    server.world.forget_nonces()
    receipt = dict(bot.receipts[question.id])
    del receipt["finished"]
    if known != "everything":
        del receipt["cards"]
    if known == "nothing":
        sent = server.messages(server.dm(server.alice))[-1]
        sent.flags, sent.content = MessageFlag.SUPPRESS_EMBEDS, sent.history[0].content
        receipt["asking"] = {"text": sent.content, "at": sent.sent_at}
        del receipt["extras"]
    bot.receipts[question.id] = receipt
    await bot.reply(question, answer=answer)
    shown = server.messages(server.dm(server.alice))
    assert sum("DELETE FROM" in each.content for each in shown) == 1
    assert MessageFlag.COMPONENTS_V2 in shown[-1].flags
    assert bot.receipts[question.id]["cards"] == [ASKED.id]


async def test_where_discord_takes_no_layout_the_text_stays(server: Discord, bot: Bot) -> None:
    server.fail("PATCH", MESSAGE, status=400, times=99)
    _, message = await ask(server, bot)
    assert message.content == render_request(ASKED)
    assert len(message.buttons) == 3


def decision_turn(question: Message) -> Turn:
    """Return a turn that shows the decision of a request."""
    return Turn(id="discord:9", thread=question.thread, messages=(question,))


async def show_decision(bot: Bot, question: Message, request: Approval) -> None:
    """Show a decision in the copy of a request."""

    async def keep(state: Mapping[str, Json]) -> None:
        raise AssertionError(state)

    state = {"extras": bot.receipts[question.id]["extras"]}
    await bot.platform.settle_request(request, Receipt(decision_turn(question), keep, state))


@pytest.mark.parametrize("version", ["now", "earlier"])
async def test_a_decided_card_loses_its_buttons_also_one_of_an_earlier_version(
    server: Discord, bot: Bot, version: str
) -> None:
    """Earlier ones are texts, which become a card with the decision, or else a text with it."""
    question, message = await ask(server, bot)
    if version == "earlier":
        message.flags, message.content = MessageFlag.SUPPRESS_EMBEDS, render_request(ASKED)
    await show_decision(bot, question, replace(ASKED, state="approved", by="discord:400"))
    assert "Approved by <@400>" in message.content
    assert not message.buttons
    assert "DELETE FROM" in message.content


async def test_a_text_takes_the_decision_where_discord_takes_no_layout(server: Discord, bot: Bot) -> None:
    fault = server.fail("PATCH", MESSAGE, status=400, times=2)
    question, message = await ask(server, bot)
    await show_decision(bot, question, replace(ASKED, state="approved", by="discord:400"))
    assert fault.used == 2
    assert MessageFlag.COMPONENTS_V2 not in message.flags
    assert "Approved by <@400>" in message.content
    assert not message.buttons


async def test_a_card_in_an_archived_thread_is_settled_once_the_answer_has_reopened_it(
    server: Discord, bot: Bot, redis: Redis
) -> None:
    """Fault: it kept its buttons for ever. It is not reopened for the card alone."""
    thread = server.start_thread(server.alice, server.general)
    asked = message_of(server, await server.say(server.alice, thread, "hello"))
    request = replace(ASKED, asked_in=asked.id)
    await bot.reply(asked, answer=fixed_answer("I need this.", request))
    await redis.hset(keys.seen(asked.id), "turn", asked.id)
    await redis.hset(keys.turn(asked.id), "receipt", json.dumps(bot.receipts[asked.id]))
    card = server.messages(thread)[-1]
    decided = replace(request, state="approved", by="discord:400")
    for number, text in ((1, ""), (2, "Done.")):
        server.archive(thread)
        order = replace(asked, id=f"decision:{number}")
        await bot.reply(order, answer=fixed_answer(decided, *([text] if text else [])))
        assert thread.archived == (not text)
        assert ("Approved by" in card.content, len(card.buttons)) == ((True, 0) if text else (False, 3))


async def test_a_question_in_direct_messages_after_a_move_asks_for_no_words_there(
    server: Discord, bot: Bot
) -> None:
    """They would be another conversation: only its buttons and its form answer it."""
    thread = server.start_thread(server.alice, server.general)
    thread.locked = True
    asked = message_of(server, await server.say(server.alice, thread, "hello"))
    await bot.reply(asked, answer=fixed_answer("Hm.", QUESTION))
    *_, text, card = server.messages(server.dm(server.alice))
    assert text.content == "Hm."
    assert "here" not in card.history[0].content + card.content
    assert [each["custom_id"] for each in card.buttons][-1] == "answer:a1:words"
