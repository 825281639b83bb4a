"""Slack's features for agents with the whole bot: sessions, suggested prompts, and what a user has open."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.slack.timing import Timing as SlackTiming
from tests.servers.model import ModelServer
from tests.servers.slack.service import ALICE, BOB, GENERAL, TEAM, Slack
from tests.support.answers import turns_ended
from tests.support.approvals import ASK, request_message
from tests.support.bot import run_bot
from tests.support.memory import wait_until_filed
from tests.support.platforms import platforms_with
from tests.support.settings import of_model, of_slack
from tests.support.table import Shelf
from tests.support.wait import wait_until

PRIVATE = "C0PRIVATE"

STATUS_FIRST = platforms_with(slack_timing=SlackTiming(status_delay=0))
"""Platforms on which each answer begins with a status."""


@pytest.fixture
def settings(storage: dict[str, Any], model: ModelServer, slack: Slack) -> dict[str, Any]:
    """Settings of the bot; the model answers each request with one word."""
    model.respond = lambda _: "Understood."
    return {**storage, **of_model(model), **of_slack(slack)}


def status_of(slack: Slack, ts: str) -> str:
    return slack.workspace.session_status(GENERAL, ts)


async def test_a_session_has_the_words_of_its_question_and_waits_as_long_as_its_thread_does(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, slack: Slack
) -> None:
    """A typed command and another question do not end the wait for an approval; its decision does."""
    writes = {"database_write_url": shelf.dsn, "sql_writes": "approval", "approvers": f"slack:{BOB}"}
    async with run_bot(STATUS_FIRST, **settings, **writes):
        await slack.wait_for_connections()
        model.script(ASK)
        ts = await slack.say(
            ALICE, GENERAL, f"{slack.mention} *take* one of `each`,\nplease <https://x.y|now>"
        )
        asked = await request_message(slack, ts)
        await wait_until(lambda: status_of(slack, ts) == "suspended", "the session waits")
        assert slack.workspace.titles[GENERAL, ts] == "take one of each, please now"
        assert slack.workspace.initiators[GENERAL, ts] == ALICE
        changes = len(slack.workspace.session_statuses)
        await slack.say(ALICE, GENERAL, "!health", thread_ts=ts)
        await wait_until(lambda: bool(slack.bot_replies(GENERAL, ts)), "the command is answered")
        await slack.wait_until_settled()
        await turns_ended()
        assert len(slack.workspace.session_statuses) == changes
        await slack.say(ALICE, GENERAL, "why does it take so long?", thread_ts=ts)
        await wait_until(lambda: "Understood." in slack.transcript(GENERAL, ts), "answered")
        await turns_ended()
        assert status_of(slack, ts) == "suspended"
        await slack.press(BOB, GENERAL, asked.ts, "approve")
        await wait_until(lambda: status_of(slack, ts) == "active", "the session goes on")
    assert slack.workspace.titles[GENERAL, ts] == "take one of each, please now"
    assert not slack.violations


async def test_a_forgotten_thread_has_a_closed_session_and_a_title_of_a_user_stays(
    settings: dict[str, Any], redis: Redis, slack: Slack
) -> None:
    async with run_bot(STATUS_FIRST, **settings):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        await slack.answer(GENERAL, ts)
        slack.rename_session(BOB, GENERAL, ts, "Bora Bora")
        await slack.say(ALICE, GENERAL, f"{slack.mention} again", thread_ts=ts)
        await slack.answer(GENERAL, ts)
        await slack.wait_until_settled()
        assert slack.workspace.titles[GENERAL, ts] == "Bora Bora"
        sent = [each.args.get("title") for each in slack.calls if each.method == "agents.sessions.setStatus"]
        assert sent == ["hello", "Bora Bora"]
        await wait_until_filed(redis, 2)
        await slack.command("/agent-memory", "forget everything", ALICE, slack.dm(ALICE))
        await wait_until(lambda: status_of(slack, ts) == "closed", "the session is closed")


async def test_prompts_are_of_the_users_own_topics_and_not_set_again_soon(
    settings: dict[str, Any], redis: Redis, slack: Slack
) -> None:
    async with run_bot(**settings):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} which *tea* is there?")
        await slack.answer(GENERAL, ts)
        await wait_until_filed(redis, 1)
        assert [each["title"] for each in await prompts_of(slack, ALICE)][:2] == [
            "which tea is there?",
            "What can you do?",
        ]
        assert "which *tea* is there?" in (await prompts_of(slack, ALICE))[0]["message"]
        assert "tea" not in str(await prompts_of(slack, BOB))
        assert len(await prompts_of(slack, BOB)) == 4
        assert slack.count("assistant.threads.setSuggestedPrompts") == 2
    assert not slack.violations


async def prompts_of(slack: Slack, user: str) -> list[Any]:
    """Open the direct messages of a user; return the prompts there."""
    place = slack.dm(user), None
    await slack.open_home(user).ended.wait()
    await wait_until(lambda: place in slack.workspace.prompts, "prompts are shown")
    return slack.workspace.prompts[place]


async def test_prompts_that_slack_takes_long_for_do_not_outlive_the_bot(
    settings: dict[str, Any], slack: Slack
) -> None:
    async with run_bot(**settings):
        await slack.wait_for_connections()
        slack.slow("assistant.threads.setSuggestedPrompts", 60)
        slack.open_home(ALICE)
        await wait_until(lambda: slack.count("assistant.threads.setSuggestedPrompts") == 1, "being shown")
    assert not any("SuggestedPrompts" in str(each.get_coro()) for each in asyncio.all_tasks())


async def test_an_operator_chooses_the_prompts(settings: dict[str, Any], slack: Slack) -> None:
    async with run_bot(**settings, suggested_prompts="Sales | How did we sell <!here>?; Stock"):
        await slack.wait_for_connections()
        sales, stock = await prompts_of(slack, ALICE)
    assert sales["title"] == "Sales"
    assert "<!here>" not in sales["message"]
    assert stock == {"title": "Stock", "message": "Stock"}


def told(model: ModelServer) -> str:
    """Return the newest message of a user in the newest request."""
    return str([each["content"] for each in model.requests[-1]["messages"] if each["role"] == "user"][-1])


async def test_the_agent_learns_once_what_the_user_has_open_if_they_can_read_it(
    settings: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """As data, which is marked; of a private channel that the user is not in, nothing."""
    slack.add_channel(PRIVATE, "group", [BOB])
    direct = slack.dm(ALICE)
    async with run_bot(**settings):
        await slack.wait_for_connections()

        async def ask(text: str) -> str:
            await slack.answer(direct, await slack.say(ALICE, direct, text))
            await slack.wait_until_settled()
            return told(model)

        await slack.look_at(ALICE, GENERAL).ended.wait()
        first = await ask("what is this about?")
        assert "[data from what the user has open" in first
        assert "#general open" in first
        assert "open" not in await ask("and now?")
        await slack.look_at(ALICE, PRIVATE).ended.wait()
        assert "open" not in await ask("and here?")
        await slack.look_at(BOB, GENERAL).ended.wait()
        assert "open" not in await ask("is it me?")
        slack.workspace.app_contexts[ALICE] = {"entities": [channel_entity(GENERAL)]}
        assert "#general open" in await ask("with the message itself?")
    assert slack.count("users.conversations") == 1, "each message may have a hint, and few lists are allowed"
    assert not slack.violations


def channel_entity(channel: str) -> dict[str, str]:
    return {"type": "slack#/types/channel_id", "value": channel, "team_id": TEAM}
