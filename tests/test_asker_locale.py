"""Locale of the asker: the model is told it in each turn about their question, however that turn begins."""

import json
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.chat import Locale, Message
from bot.inbox.intake import as_message
from tests.servers.model import ModelServer
from tests.servers.slack.service import ALICE, BOB
from tests.support.answers import DiscordPlace, Place, SlackPlace, answered
from tests.support.approval_requests import BOB as DECIDER
from tests.support.approval_requests import PROPOSAL, QUESTION, TURN, approvals, decisions
from tests.support.bot import run_bot
from tests.support.questions import DiscordRoom, Room, SlackRoom, asked, asking, told
from tests.support.settings import of_model

ASKER, OTHER = "pt-BR", "ja"


@pytest.fixture(params=["slack", "discord"])
def platform(request: pytest.FixtureRequest) -> Any:
    """Server of either platform, on which Alice and Bob have different locales."""
    server = request.getfixturevalue(request.param)
    if request.param == "slack":
        server.describe(ALICE, locale=ASKER, tz="America/Sao_Paulo", tz_offset=-10_800)
        server.describe(BOB, locale=OTHER, tz="Asia/Tokyo", tz_offset=32_400)
    else:
        server.alice.locale, server.bob.locale = ASKER, OTHER
    return server


@pytest.fixture
def place(platform: Any) -> Place:
    """Thread in which Alice gets answers."""
    return DiscordPlace(platform) if hasattr(platform, "guild") else SlackPlace(platform)


@pytest.fixture
def room(platform: Any) -> Room:
    """Thread in which the bot asks Alice."""
    return DiscordRoom(platform) if hasattr(platform, "guild") else SlackRoom(platform)


async def introduce(platform: Any) -> None:
    """Let Discord tell the locale of Alice's app, which comes with her interactions only."""
    if hasattr(platform, "guild"):
        await platform.command("agent-usage", platform.alice)


def told_of_the_asker(model: ModelServer) -> str:
    """Return the last line of the newest system message."""
    return str(model.requests[-1]["messages"][0]["content"].splitlines()[-1])


def is_about_alice(model: ModelServer) -> bool:
    line = told_of_the_asker(model)
    return f"is {ASKER}." in line and "Tokyo" not in line and ("Sao_Paulo" in line or "server" in line)


async def test_another_answer_is_for_the_user_who_asked_and_not_for_the_one_who_presses(
    platform: Any, place: Place, storage: dict[str, Any], model: ModelServer
) -> None:
    """Fault: on Slack it had the locale and the time zone of the other user, on Discord none.

    So does one in place of that.
    """
    model.script("First.", "Second.", "Third.")
    async with run_bot(**storage, **of_model(model), **place.settings):
        await place.connect()
        await introduce(platform)
        await place.ask("tell me a story")
        await answered(place, "First.")
        assert is_about_alice(model)
        for number, text in ((2, "Second."), (3, "Third.")):
            await place.press("bob", "regenerate")
            await answered(place, text, number)
            assert is_about_alice(model), told_of_the_asker(model)


async def test_the_answer_to_an_edit_is_for_the_user_who_asked(
    platform: Any, room: Room, storage: dict[str, Any], model: ModelServer
) -> None:
    """Fault: an edit on Discord had no locale."""
    model.script("First.", "Second.")
    async with run_bot(**storage, **of_model(model), **room.settings):
        await room.connect()
        await introduce(platform)
        await room.ask("tell me a story")
        await told(room, "First.")
        room.edit("tell me a short story")
        await told(room, "Second.")
    assert is_about_alice(model), told_of_the_asker(model)


async def test_an_answer_that_goes_on_after_a_decision_is_for_the_user_who_asked(
    platform: Any, room: Room, storage: dict[str, Any], model: ModelServer
) -> None:
    """Fault: it had no locale, whoever decided."""
    model.script(asking(anyone=True), "There you are.")
    async with run_bot(**storage, **of_model(model), **room.settings):
        await room.connect()
        await introduce(platform)
        await room.ask("bring me some fruit")
        await asked(room)
        await room.press("bob", 0)
        await told(room, "There you are.")
    assert is_about_alice(model), told_of_the_asker(model)


@pytest.mark.parametrize("is_old", [False, True])
async def test_a_request_keeps_the_locale_of_its_asker(redis: Redis, is_old: bool) -> None:
    """One that an earlier version has stored has none, and can still be decided."""
    locale = Locale("America/Sao_Paulo", -10_800, ASKER)
    kept, key = approvals(redis), f"{{bot}}:approval:{PROPOSAL.id}"
    await kept.ask(replace(TURN, messages=(replace(QUESTION, locale=locale),)), PROPOSAL)
    if is_old:
        stored = json.loads(await redis.hget(key, "request") or "")
        del stored["locale"]
        await redis.hset(key, "request", json.dumps(stored))
    await kept.decide(PROPOSAL.id, DECIDER, approve=True)
    (decision,) = await decisions(redis)
    assert decision.locale == (None if is_old else locale)
    message = as_message(decision)
    assert message.locale == decision.locale
    assert Message.from_json(json.loads(json.dumps(message.to_json()))) == message
