"""People of other organisations and guests, with the whole bot: what ALLOW_EXTERNAL lets them do."""

import asyncio
import math
import re
from functools import partial
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.agent import prompts
from bot.chat.texts import NOT_THEIRS
from bot.commands.approval_texts import NOT_FOR_EXTERNAL
from bot.commands.texts import NOT_ADMINISTERED
from bot.slack.timing import Timing
from bot.tools.toolset import OPEN_TOOLS
from tests.servers.discord.service import Discord
from tests.servers.model import ModelServer, Script
from tests.servers.slack.service import ALICE, BOB, GENERAL, TEAM, Slack
from tests.support import bot as support
from tests.support.approvals import ASK
from tests.support.obedient_model import obey, order
from tests.support.platforms import platforms_with
from tests.support.settings import of_discord, of_model, of_slack
from tests.support.table import Shelf
from tests.support.wait import wait_until

PARTNER = {"team_id": "T0OTHER0001", "real_name": "Bob of Othercorp"}
GUEST = {"is_restricted": True}
running = partial(support.run_bot, platforms_with(slack_timing=Timing(author_timeout=30)))
"""The bot, which waits for `users.info` as long as a busy machine takes."""

COUNT = order("sql_query", query="select count(*) as n from customers")


@pytest.fixture
def settings(
    redis: Redis,
    redis_url: str,
    database_url: str,
    model: ModelServer,
    slack: Slack,
) -> dict[str, Any]:
    """A bot whose model does whatever it is told, tools or not; Redis is empty."""
    model.respond = obey
    storage = {"redis_url": redis_url, "database_url": database_url}
    return {**storage, **of_model(model), **of_slack(slack)}


async def ask(slack: Slack, user: str, text: str, channel: str = GENERAL) -> str:
    """The answer to a mention in a thread of its own."""
    ts = await slack.say(user, channel, f"{slack.mention} {text}")
    return await slack.answer(channel, ts)


def offered_tools(model: ModelServer) -> set[str]:
    """The tools of the newest request."""
    return {each["function"]["name"] for each in model.requests[-1].get("tools", ())}


@pytest.mark.parametrize("who", [PARTNER, GUEST])
@pytest.mark.parametrize("more", [{}, {"allow_external": "chat", "allowed_spaces": "slack:T0ELSE"}])
async def test_external_people_are_refused_by_default_and_learn_nothing_of_themselves(
    settings: dict[str, Any], slack: Slack, model: ModelServer, who: dict[str, Any], more: dict[str, str]
) -> None:
    """No model is asked, and others who read the thread do not learn whom the person works for."""
    slack.describe(BOB, **who)
    async with running(**settings, **more):
        await slack.wait_for_connections()
        refusal = await ask(slack, BOB, "hello")
    assert "Ask the bot's operator" in refusal
    assert not model.requests
    for name in ("T0OTHER0001", "Othercorp", BOB):
        assert name not in refusal


async def test_what_external_people_say_to_others_in_a_thread_is_passed_over(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    slack.describe(BOB, **PARTNER)
    async with running(**settings, follow_up="always"):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        await slack.answer(GENERAL, ts)
        await slack.say(BOB, GENERAL, "and us?", thread_ts=ts)
        await slack.wait_until_settled()
        await slack.say(ALICE, GENERAL, "and now?", thread_ts=ts)
        assert "and now?" in await slack.answer(GENERAL, ts)
        assert "ALLOW_EXTERNAL" not in slack.transcript(GENERAL, ts)
        assert len(model.requests) == 2


async def test_the_own_team_of_people_in_a_shared_channel_has_to_be_allowed_too(
    settings: dict[str, Any], slack: Slack
) -> None:
    """ALLOWED_SPACES of our workspace alone lets nobody else in."""
    slack.describe(BOB, **PARTNER)
    more = {"allow_external": "all", "allowed_spaces": f"slack:{TEAM}"}
    async with running(**settings, **more):
        await slack.wait_for_connections()
        assert "ALLOWED_SPACES" in await ask(slack, BOB, "hello")
        assert "ALLOWED_SPACES" not in await ask(slack, ALICE, "hello")


@pytest.mark.parametrize("who", [PARTNER, GUEST])
async def test_external_people_who_may_chat_have_no_tool_that_reads_the_database(
    settings: dict[str, Any], slack: Slack, model: ModelServer, who: dict[str, Any]
) -> None:
    """None is offered, the model is told so in a line, and one that calls it all the same gets nothing."""
    slack.describe(BOB, **who)
    async with running(**settings, allow_external="chat"):
        await slack.wait_for_connections()
        assert "not available" in await ask(slack, BOB, COUNT)
        assert offered_tools(model) == OPEN_TOOLS
        assert prompts.RESTRICTED in model.requests[-1]["messages"][0]["content"]
        assert "| n |" in await ask(slack, ALICE, COUNT)
        assert offered_tools(model) > OPEN_TOOLS
        assert prompts.RESTRICTED not in model.requests[-1]["messages"][0]["content"]


async def test_external_people_who_are_treated_like_members_have_all_tools(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    slack.describe(BOB, **PARTNER)
    async with running(**settings, allow_external="all"):
        await slack.wait_for_connections()
        assert "| n |" in await ask(slack, BOB, COUNT)


async def test_the_memory_of_the_workspace_is_not_for_external_people(
    settings: dict[str, Any], slack: Slack
) -> None:
    """Not in any of the settings: neither what members saved for all, nor what they said in public."""
    slack.describe(BOB, **PARTNER)
    save = order("memory_save", text="zeppelins are green", scope="workspace")
    search = order("memory_search", query="zeppelins")
    other, third = slack.add_channel("C0OTHER"), slack.add_channel("C0THIRD")
    async with running(**settings, allow_external="all"):
        await slack.wait_for_connections()
        assert "Saved for the whole workspace" in await ask(slack, ALICE, f"zeppelins are green {save}")
        assert "green" in await ask(slack, ALICE, search, other)
        assert "Nothing is remembered that the users of this conversation can read" in await ask(
            slack, BOB, search, third
        )
        assert "Not everybody" in await ask(slack, BOB, f"zeppelins are green {save}", third)


@pytest.mark.parametrize("who", [PARTNER, GUEST])
async def test_external_people_administer_nothing_though_they_are_listed(
    settings: dict[str, Any], slack: Slack, model: ModelServer, who: dict[str, Any]
) -> None:
    """Fault: ADMIN_USERS named somebody of another organisation, and only messages asked whether they are."""
    slack.describe(BOB, **who)
    gate = asyncio.Event()
    admins = f"slack:{BOB},slack:{ALICE}"
    async with running(**settings, allow_external="all", admin_users=admins):
        await slack.wait_for_connections()
        for text in ("info", "keys", "set a 1", "set a", "nonsense"):
            refusal = await slack.command_text("/agent-redis", text, BOB, GENERAL)
            assert "never guests or users from other organisations" in refusal, text
        assert "never guests" not in await slack.command_text("/agent-redis", "info", ALICE, GENERAL)
        assert "redis" not in await slack.command_text("/agent-health", "", BOB, GENERAL)
        assert await slack.command_text("/agent-usage", "all", BOB, GENERAL) == NOT_ADMINISTERED
        model.script(Script(text="Done.", gate=gate))
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} count")
        await wait_until(lambda: len(model.requests) == 1, "asked")
        await slack.say(BOB, GENERAL, "!stop", thread_ts=ts)
        slack.stop(BOB, GENERAL, ts)
        item = {"type": "message", "channel": GENERAL, "ts": ts}
        slack.send_event({"type": "reaction_added", "user": BOB, "reaction": "x", "item": item})
        await wait_until(lambda: str(slack.ephemerals).count(NOT_THEIRS) == 3, "each is refused")
        gate.set()
        assert await slack.answer(GENERAL, ts) == "Done."


@pytest.mark.parametrize("is_known", [True, False])
async def test_external_people_approve_nothing(
    settings: dict[str, Any], slack: Slack, shelf: Shelf, is_known: bool
) -> None:
    """Even one who is in APPROVERS, by a button or in words; and they cannot ask for a change.

    Fault: they could, as long as Slack did not answer `users.info`, though a press names their team.
    """
    slack.describe(BOB, **PARTNER)
    if not is_known:
        slack.fail("users.info", error="user_not_found", times=math.inf)
    change = order("sql_execute", statement="UPDATE shelf SET stock = 0 WHERE id = 1")
    writes = {"sql_writes": "approval", "database_write_url": shelf.dsn, "approvers": f"slack:{BOB}"}
    async with running(**settings, **writes, allow_external="chat"):
        await slack.wait_for_connections()
        before = await shelf.stock()
        if is_known:
            assert "not available" in await ask(slack, BOB, change)
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} {change}")
        await slack.answer(GENERAL, ts)
        (asked,) = [each for each in slack.bot_replies(GENERAL, ts) if "approve " in str(each)]
        await slack.press(BOB, GENERAL, asked.ts, "approve")
        assert "cannot approve" in str(slack.ephemerals)
        if is_known:
            [id] = set(re.findall(r"approve ([0-9a-f]{8})", str(asked)))
            await slack.say(BOB, GENERAL, f"approve {id}", thread_ts=ts)
            await wait_until(lambda: NOT_FOR_EXTERNAL in str(slack.bot_replies(GENERAL, ts)), "refused")
        assert await shelf.stock() == before


async def test_guests_of_a_voice_channel_on_discord_administer_and_approve_nothing(
    redis: Redis, redis_url: str, database_url: str, model: ModelServer, discord: Discord, shelf: Shelf
) -> None:
    """Fault: only messages asked who is a guest; commands, reactions and buttons did not."""
    bob, gate = discord.bob, asyncio.Event()
    bob.is_guest = bob.administrator = True
    storage = {"redis_url": redis_url, "database_url": database_url}
    writes = {"sql_writes": "approval", "database_write_url": shelf.dsn, "approvers": f"discord:{bob.id}"}
    admin = {"admin_users": f"discord:{bob.id}"}
    async with running(**storage, **of_model(model), **of_discord(discord), **writes, **admin):
        await discord.wait_for_connections()
        before = await shelf.stock()
        told = [
            await discord.command("agent-redis info", bob, discord.general),
            await discord.command("agent-health", bob, discord.general),
            await discord.command("agent-usage", bob, discord.general, {"all": True}),
        ]
        assert "never guests or users from other organisations" in told[0].content
        assert "redis" not in told[1].content
        assert told[2].content == NOT_ADMINISTERED
        model.script(ASK, Script(text="Done.", gate=gate))
        asked = await discord.say(discord.alice, discord.general, f"{discord.mention} take one of each")
        thread = await discord.thread_of(asked)
        card = (await discord.answer(thread, lambda shown: bool(shown[-1].buttons)))[-1]
        assert (await discord.click(bob, card, "Approve")).content == NOT_FOR_EXTERNAL
        assert await shelf.stock() == before
        await discord.say(discord.alice, thread, "count")
        await wait_until(lambda: len(model.requests) == 2, "asked")
        stop = await discord.command("agent-stop", bob, thread)
        assert stop.content == NOT_THEIRS
        gate.set()
        await discord.answer(thread, lambda shown: shown[-1].content == "Done.")
