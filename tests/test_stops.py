"""Stops by a person, with the whole bot: nobody ends what somebody else has asked."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.chat import Message, Proposal, Stop, ThreadId, Turn
from bot.chat.texts import NOT_THEIRS
from tests.servers.discord.service import Discord
from tests.servers.model import ModelServer, Script
from tests.servers.slack.service import ALICE, BOB, GENERAL, Slack
from tests.support.bot import run_bot
from tests.support.settings import of_discord, of_model, of_slack
from tests.support.wait import wait_until


@pytest.fixture
def settings(redis: Redis, redis_url: str, database_url: str, model: ModelServer) -> dict[str, Any]:
    """A bot with a model; Redis is empty."""
    return {"redis_url": redis_url, "database_url": database_url, **of_model(model)}


def refused_users(slack: Slack) -> list[str]:
    """Return the users who were told, for their eyes only, that they may not stop what others have asked."""
    return [each.user for each in slack.ephemerals if each.text == NOT_THEIRS]


async def test_somebody_who_did_not_ask_stops_nothing_on_slack(
    settings: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """Fault: a stop that did nothing and said nothing: typed, the stop button, a cross or the command."""
    gate = asyncio.Event()
    model.script(Script(text="Done.", gate=gate))
    async with run_bot(**settings, **of_slack(slack)):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} count")
        await wait_until(lambda: len(model.requests) == 1, "asked")
        await slack.say(BOB, GENERAL, "!stop", thread_ts=ts)
        slack.stop(BOB, GENERAL, ts)
        item = {"type": "message", "channel": GENERAL, "ts": ts}
        slack.send_event({"type": "reaction_added", "user": BOB, "reaction": "x", "item": item})
        answer = await slack.command_text("/agent-stop", "", BOB, GENERAL)
        assert answer == "There is nothing to stop here."
        await wait_until(
            lambda: refused_users(slack) == [BOB] * 3, "told why, each time, for their eyes only"
        )
        await slack.wait_until_settled()
        gate.set()
        assert await slack.answer(GENERAL, ts) == "Done."


async def test_an_administrator_stops_what_others_asked_on_slack(
    settings: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    model.script(Script(text="One two " + "three " * 400, pace=0.05))
    async with run_bot(**settings, **of_slack(slack), admin_users=f"slack:{BOB}"):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} count")
        await wait_until(lambda: bool(slack.bot_replies(GENERAL, ts)), "the answer has begun")
        await slack.say(BOB, GENERAL, "!stop", thread_ts=ts)
        await wait_until(lambda: "Stopped." in slack.transcript(GENERAL, ts), "stopped")


async def test_somebody_who_did_not_ask_stops_nothing_on_discord_and_reads_why(
    settings: dict[str, Any], model: ModelServer, discord: Discord
) -> None:
    """The command's answer is for their eyes only; typed, there is no such place, and nothing is said."""
    gate = asyncio.Event()
    model.script(Script(text="Done.", gate=gate))
    async with run_bot(**settings, **of_discord(discord)):
        await discord.wait_for_connections()
        asked = await discord.say(discord.alice, discord.general, f"{discord.mention} count")
        thread = await discord.thread_of(asked)
        await wait_until(lambda: len(model.requests) == 1, "asked")
        await discord.say(discord.bob, thread, "!stop")
        shown = await discord.command("agent-stop", discord.bob, thread)
        assert shown.ephemeral
        assert "Only the person who asked" in shown.content
        gate.set()
        await discord.answer(thread, lambda shown: shown[-1].content == "Done.")


async def test_who_can_approve_a_request_stops_what_waits_in_its_thread_and_no_other(
    settings: dict[str, Any],
) -> None:
    """As long as the request waits."""
    thread, other = (ThreadId("slack", "T1", "C1", each) for each in ("1.1", "2.2"))
    async with run_bot(**settings, approvers=f"slack:{BOB}", bot_roles="http") as bot:
        stop = Stop(by=f"slack:{BOB}", thread=thread)
        for each in (thread, other):
            await bot.deliver(_question(each))
        assert await bot.inbox.put(stop) == "refused"
        asked = Turn(id="1", thread=thread, messages=(_question(thread),))
        await bot.requests.ask(asked, _proposal("7f3a9c21"))
        assert await bot.inbox.put(Stop(by=f"slack:{BOB}", thread=other)) == "refused"
        assert await bot.inbox.put(Stop(by="slack:U0EVE", thread=thread)) == "refused"
        assert await bot.inbox.put(stop) == "stopped"


def _question(thread: ThreadId) -> Message:
    return Message(
        id=str(thread), thread=thread, author="slack:U1", text="take one", sent_at=1, addressed=True
    )


def _proposal(id: str) -> Proposal:
    return Proposal(
        id=id, tool="sql_execute", arguments={}, title="Change it", action="DELETE", effect="It would."
    )
