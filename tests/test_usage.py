"""Reports of `/agent-usage`, by itself and from everywhere that it can be asked."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import aiohttp
from redis.asyncio import Redis

from bot.access.allow_list import AllowList
from bot.access.budget import Budget
from bot.access.spending import SpendingStore
from bot.access.texts import NOT_ADMIN
from bot.access.usage_report import UsageReport
from bot.chat import NameKind, Tokens
from bot.config.amounts import amount, prices
from bot.platforms.registry import Platforms
from tests.servers.discord.service import Discord
from tests.servers.model import ModelServer, Script
from tests.servers.slack.service import ALICE, BOB, GENERAL, TEAM, Slack
from tests.support.bot import http_port, run_bot
from tests.support.http_caller import chat
from tests.support.settings import of_discord, of_model, of_slack
from tests.support.spending import NOON, turn_of

ADMIN = "slack:U9"
PRICES = prices('{"big": [2.5, 10]}')


async def spend(redis: Redis, *authors: str, model: str = "big", tokens: Tokens, channel: str = "C1") -> None:
    budget = Budget(SpendingStore(redis, 60), {}, PRICES, lambda: NOON)
    async with budget.measure(turn_of(*authors, channel=channel), model, tokens) as spending:
        spending.tokens = tokens


class Directory:
    """Implements `bot.chat.Names`."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    async def name_of(self, kind: NameKind, id: str) -> str:
        return self._names.get(f"{kind} {id}", "")


NOBODY = Directory({})


def report(redis: Redis, **limits: str) -> UsageReport:
    amounts = {f"BUDGET_{name.upper()}": amount(text) for name, text in limits.items()}
    return UsageReport(SpendingStore(redis, 60), amounts, "USD", True, AllowList({ADMIN}), lambda: NOON)


async def test_one_sees_what_one_has_used_and_what_is_left(redis: Redis) -> None:
    """Tokens, money, the budget and when it begins anew; nothing of others."""
    await spend(redis, "U1", tokens=Tokens(1_000, 200))
    await spend(redis, "U2", tokens=Tokens(50_000))
    assert (await report(redis, user="1 USD")("slack:U1", False, names=NOBODY)).splitlines() == [
        "**Your usage today** (resets at 00:00 UTC, in 11 h 30 min)",
        "- 1,000 tokens read, 200 tokens written, 0.0045 USD, in 1 model call",
        "- budget 1.00 USD: 0.9955 USD left",
        "- this month: 1,000 tokens read, 200 tokens written, 0.0045 USD, in 1 model call",
    ]
    assert "100 tokens left" in await report(redis, user="1300 tokens")("slack:U1", False, names=NOBODY)


async def test_a_cost_is_never_a_number_of_no_currency(redis: Redis) -> None:
    """Without a budget in money nothing names the currency: it is that of MODEL_PRICES."""
    await spend(redis, "U1", tokens=Tokens(1_000, 200))
    told = await replace(report(redis), currency="")("slack:U1", False, names=NOBODY)
    assert "0.0045 in the currency of MODEL_PRICES, in 1 model call" in told


async def test_a_budget_that_is_overdrawn_has_nothing_left(redis: Redis) -> None:
    await spend(redis, "U1", tokens=Tokens(1_000))
    assert "budget 500 tokens: 0 tokens left" in await report(redis, user="500 tokens")(
        "slack:U1", False, names=NOBODY
    )


async def test_all_is_for_administrators(redis: Redis) -> None:
    """The refusal says whom to ask."""
    assert await report(redis)("slack:U1", True, names=NOBODY) == NOT_ADMIN
    assert "ask the bot's operator to add you to ADMIN_USERS" in NOT_ADMIN


async def test_administrators_see_who_where_and_what_used_most(redis: Redis) -> None:
    """The first five of each kind, and the whole."""
    for number in range(1, 8):
        await spend(redis, f"U{number}", tokens=Tokens(100 * number), channel=f"C{number}")
    await spend(redis, "U1", model="small", tokens=Tokens(10_000), channel="C1")
    users = {f"user slack:U{number}": f"Person {number}" for number in range(1, 8) if number != 5}
    known = Directory(users | {"channel slack:C1": "#general", "space slack:T1": "The `Company`"})
    shown = await report(redis, total="20000 tokens")(ADMIN, True, names=known)
    assert "- 12,800 tokens read, 0 tokens written, 0.0070 USD, in 8 model calls" in shown
    assert "- budget 20,000 tokens: 7,200 tokens left" in shown
    people = shown.partition("**Top users**\n")[2].partition("\n\n")[0].splitlines()
    assert [line.partition(":")[0] for line in people] == [
        "- `Person 1` on Slack",
        "- `Person 7` on Slack",
        "- `Person 6` on Slack",
        "- somebody on Slack",
        "- `Person 4` on Slack",
    ]
    assert "- `#general` on Slack:" in shown
    assert shown.count("- a private or unknown channel on Slack:") == 4
    assert "- `The 'Company'` on Slack:" in shown
    assert not re.search(r"\b(slack:|[UCT]\d)", shown)
    assert "- `small`: 10,000 tokens read, 0 tokens written, 0.00 USD, in 1 model call" in shown


async def test_a_platform_that_fails_or_hangs_costs_no_more_than_a_name() -> None:
    class Broken:
        name = "slack"

        async def name_of(self, kind: NameKind, id: str) -> str:
            if kind == "user":
                await asyncio.Event().wait()
            raise KeyError(id)

    platforms = Platforms(cast(Any, [Broken()]), [], {}, name_seconds=0.01)
    ids = {"user": "slack:U1", "channel": "slack:C1", "space": "discord:1"}
    assert [await platforms.name_of(cast(Any, kind), id) for kind, id in ids.items()] == ["", "", ""]


async def test_whoever_has_used_nothing_is_told_so(redis: Redis) -> None:
    assert "0 tokens read" in await report(redis)("slack:U1", False, names=NOBODY)
    assert "0 tokens read" in await report(redis)(ADMIN, True, names=NOBODY)


async def test_usage_can_be_asked_for_on_slack(
    storage: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """By the command, for the caller's eyes only, and in a thread, where there are no commands."""
    model.script(Script(text="Hello.", usage=(700, 30)))
    async with run_bot(**storage, **of_model(model), **of_slack(slack), admin_users="slack:U0BOB"):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        await slack.answer(GENERAL, ts)
        await slack.say(ALICE, GENERAL, "!usage", thread_ts=ts)
        assert "700 tokens read, 30 tokens written" in await slack.answer(
            GENERAL, ts, until=lambda text: "700" in text
        )
        await slack.command("/agent-usage", "", ALICE, GENERAL)
        await slack.command("/agent-usage", "all", ALICE, GENERAL)
        await slack.command("/agent-usage", " All ", BOB, GENERAL)
    mine, refused, everybody = (each.visible_text for each in slack.ephemerals)
    assert "700 tokens read, 30 tokens written, in 1 model call" in mine
    assert "ADMIN_USERS" in refused
    assert "`alice` on Slack:" in everybody
    assert "`#general` on Slack:" in everybody
    assert "`Test` on Slack:" in everybody
    assert "main-model" in everybody
    assert not re.search(f"{ALICE}|{GENERAL}|{TEAM}", mine + everybody)
    assert len(model.requests) == 1


async def test_usage_can_be_asked_for_on_discord(
    storage: dict[str, Any], model: ModelServer, discord: Discord
) -> None:
    """With an option for all."""
    model.script(Script(text="Hello.", usage=(700, 30)))
    admin = f"discord:{discord.bob.id}"
    async with run_bot(**storage, **of_model(model), **of_discord(discord), admin_users=admin):
        await discord.wait_for_connections()
        dm = discord.dm(discord.alice)
        await discord.say(discord.alice, dm, "hello")
        await discord.answer(dm, lambda messages: "Hello." in messages[-1].content)
        mine = await discord.command("agent-usage", discord.alice)
        refused = await discord.command("agent-usage", discord.alice, options={"all": True})
        everybody = await discord.command("agent-usage", discord.bob, options={"all": True})
    assert "700 tokens read, 30 tokens written" in mine.messages[-1].content
    assert mine.messages[-1].ephemeral
    assert "ADMIN_USERS" in refused.messages[-1].content
    everything = everybody.messages[-1].content
    assert everything.count("- `Alice` on Discord:") == 1
    assert everything.count("- `direct messages` on Discord:") == 2  # as a channel and as a space
    assert not re.search(r"\d{9}", everything)


async def test_a_report_names_the_users_of_other_platforms_or_nobody(
    storage: dict[str, Any], model: ModelServer, slack: Slack, discord: Discord
) -> None:
    """A private channel is not named, and a failed look-up costs the name only."""
    model.respond = lambda request: Script(text="Hello.", usage=(700, 30))
    secret = discord.add_channel("secret", only_for=[discord.alice, discord.bot])
    settings = {**storage, **of_model(model), **of_slack(slack), **of_discord(discord)}
    async with run_bot(**settings, admin_users=f"slack:{BOB}"):
        await slack.wait_for_connections()
        await discord.wait_for_connections()
        for place in (discord.general, secret):
            asked = await discord.say(discord.alice, place, f"{discord.mention} hello")
            await discord.answer(await discord.thread_of(asked), lambda shown: "Hello." in shown[-1].content)
        shown = await slack.command_text("/agent-usage", "all", BOB, GENERAL)
        assert "`Alice` on Discord:" in shown
        assert "`#general` on Discord:" in shown
        assert "secret" not in shown
        assert "a private or unknown channel on Discord:" in shown
        discord.fail("GET", "/users/*", status=404, code=10013)
        again = await slack.command_text("/agent-usage", "all", BOB, GENERAL)
        assert "somebody on Discord:" in again
        assert not re.search(r"\d{9}", shown + again)


async def test_usage_can_be_asked_for_over_http(storage: dict[str, Any], model: ModelServer) -> None:
    """A holder of the token is one caller, and an administrator only if listed."""
    model.script(Script(text="Hello.", usage=(700, 30)))
    async with run_bot(**storage, **of_model(model)) as bot, aiohttp.ClientSession() as session:
        await chat(bot, "hello")
        base = f"http://127.0.0.1:{http_port(bot)}/usage"
        async with session.get(base) as response:
            mine = await response.json()
        async with session.get(f"{base}?of=all") as response:
            refused = await response.json()
    assert mine["status"] == "success"
    assert "700 tokens read, 30 tokens written" in mine["response"]
    assert "ADMIN_USERS" in refused["response"]


async def test_without_a_model_nothing_is_used(storage: dict[str, Any]) -> None:
    """The offline model is told from one that costs something."""
    async with run_bot(**storage) as bot:
        assert "there is no usage to show" in await chat(bot, "!usage")


async def test_a_budget_is_told_in_the_thread_and_begins_to_bind_there(
    storage: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """The warning stands under the answer that came so far; the next question is refused with a sentence."""
    model.script(Script(text="Hello.", usage=(900, 200)))
    settings = {**storage, **of_model(model), **of_slack(slack), "budget_user": "1000 tokens"}
    async with run_bot(**settings):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        answer = await slack.answer(GENERAL, ts)
        assert answer.startswith("Hello.")
        assert "Your budget for today is 110 % used: 1,100 tokens of 1,000 tokens." in answer
        await slack.say(ALICE, GENERAL, "and now?", thread_ts=ts)
        assert "ask the bot's operator to raise BUDGET_USER" in await slack.answer(GENERAL, ts)
        model.script("Hello, Bob.")
        other = await slack.say(BOB, GENERAL, f"{slack.mention} hello")
        assert "Hello, Bob." in await slack.answer(GENERAL, other)
    assert len(model.requests) == 2
