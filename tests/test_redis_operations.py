"""`/agent-redis` and `POST /redis/direct` on the whole bot: Slack on sockets and over HTTP, Discord, HTTP."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from bot.app import Bot
from bot.config import reserved_keys
from bot.platforms.adapter import Adapter
from bot.slack.timing import Timing
from tests.servers.discord.service import (
    Discord,
    Interaction,
    NotOffered,
    User,
)
from tests.servers.slack.service import ALICE, BOB, GENERAL, Modal, Slack
from tests.support.bot import http_port, run_bot
from tests.support.platforms import platforms_with
from tests.support.wait import wait_until


def audit(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str, str]]:
    """The audit lines so far: who, where, what, and what came of it."""
    lines = [each.__dict__ for each in caplog.records if each.message == "redis operation"]
    return [(line["by"], line["where"], line["operation"], line["outcome"]) for line in lines]


# --- Slack


@asynccontextmanager
async def on_slack(
    mode: str, slack: Slack, storage: dict[str, Any], platforms: Sequence[Adapter[Any]] = platforms_with()
) -> AsyncIterator[Bot]:
    """The bot on sockets or over HTTP; alice is an administrator of it, bob is not."""
    settings = storage | {"slack_bot_token": slack.bot_token, "slack_api_url": slack.api_url}
    settings |= {"admin_users": frozenset({f"slack:{ALICE}"})}
    if mode == "socket":
        async with run_bot(platforms, **settings, slack_app_token=slack.app_token) as bot:
            await slack.wait_for_connections()
            yield bot
        return
    async with run_bot(platforms, **settings, slack_signing_secret=slack.signing_secret) as bot:
        slack.request_url = f"http://127.0.0.1:{http_port(bot)}/slack/events"
        await wait_until(lambda: _is_up(bot, "slack"), "slack receiving")
        yield bot


async def _is_up(bot: Bot, part: str) -> bool:
    return any(health.name == part and health.state == "ok" for health in await bot.check_health())


async def run_text(slack: Slack, text: str, user: str = ALICE, channel: str = GENERAL) -> str:
    """Return the text that the person is shown after `/agent-redis text`; nobody else is shown anything."""
    count = len(slack.ephemerals)
    command = await slack.command("/agent-redis", text, user, channel)
    assert command.acked
    await wait_until(lambda: len(slack.ephemerals) > count, f"an answer to {text}")
    assert slack.messages(channel) == []
    shown = slack.ephemerals[-1]
    assert (shown.user, shown.channel) == (user, channel)
    return shown.text


async def form_for(slack: Slack, text: str, user: str = ALICE, channel: str = GENERAL) -> Modal:
    """The form that the command opens."""
    command = await slack.command("/agent-redis", text, user, channel)
    assert command.acked
    await wait_until(lambda: bool(slack.modals) and slack.modals[-1].is_open, "a form is opened")
    return slack.modals[-1]


@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_slack_each_subcommand_answers_its_caller(
    storage: dict[str, Any], slack: Slack, redis: Redis, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    caplog.set_level(logging.INFO, "bot")
    async with on_slack(mode, slack, storage):
        assert await run_text(slack, "set greeting hello <world> & **all** --ttl 60") == (
            "Stored `greeting` for 60 seconds."
        )
        assert await redis.get("kv:greeting") == b"hello <world> & **all**"
        assert "hello &lt;world&gt; &amp; **all**" in await run_text(slack, "get greeting")
        assert await run_text(slack, 'mset {"a": "1", "b": "{\\"x\\": 1}"}') == "Stored 2 values."
        assert '{\n  "x": 1\n}' in await run_text(slack, "get b")
        assert "a\nb\ngreeting" in await run_text(slack, "keys")
        assert "a = 1" in await run_text(slack, "all")
        assert await run_text(slack, "del a") == "Deleted `a`."
        assert "*version*" in await run_text(slack, "info")
        assert "• `get KEY`" in await run_text(slack, "")
        assert "no command `flushall`" in await run_text(slack, "flushall")
    who = (f"slack:{ALICE}", "slack:T0TEAM00001:C0GENERAL")
    names = ("set", "get", "mset", "get", "keys", "all", "delete", "info")
    assert audit(caplog) == [(*who, name, "done") for name in names]


@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_slack_form_stores_several_lines(
    storage: dict[str, Any], slack: Slack, redis: Redis, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    """A wrong time limit is told in the form, with nothing lost; what came of it is told where it began."""
    caplog.set_level(logging.INFO, "bot")
    async with on_slack(mode, slack, storage):
        form = await form_for(slack, 'set "my key" --ttl 60')
        await slack.submit(form, {"value": "line one\nline two", "ttl": "soon"})
        assert form.errors == {"ttl": "The TTL must be a whole number of seconds, for example 60."}
        await slack.submit(form, {"value": "line one\nline two", "ttl": "0"})
        assert form.errors == {"ttl": "A ttl is 1 to 315,360,000 seconds, not 0."}
        await slack.submit(form, {"value": "line one\nline two", "key": "k" * 513})
        assert form.errors == {"key": "A key must have 1 to 512 bytes; this one has 513."}
        assert await redis.keys("kv:*") == []
        await slack.submit(form, {"value": "line one\nline two"})
        assert not form.is_open
        await wait_until(lambda: bool(slack.ephemerals), "told")
    assert await redis.get("kv:my key") == b"line one\nline two"
    assert 50 < await redis.ttl("kv:my key") <= 60
    [shown] = slack.ephemerals
    assert (shown.user, shown.channel, shown.text) == (ALICE, GENERAL, "Stored `my key` for 60 seconds.")
    who = (f"slack:{ALICE}", "slack:T0TEAM00001:C0GENERAL", "set")
    assert audit(caplog) == [(*who, "invalid"), (*who, "invalid"), (*who, "done")]
    assert "line one" not in caplog.text


async def test_slack_others_are_refused(
    storage: dict[str, Any], slack: Slack, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """By command and by form, also by one that was opened while the person was an administrator."""
    caplog.set_level(logging.INFO, "bot")
    async with on_slack("socket", slack, storage):
        for text in ("get greeting", "set greeting x", "set greeting", "", "all"):
            assert "slack:U0BOB to ADMIN_USERS" in await run_text(slack, text, BOB)
        assert slack.modals == []
        form = await form_for(slack, "set greeting")
        form.user = BOB
        await slack.submit(form, {"value": "x"})
        assert form.errors is not None
        assert "ADMIN_USERS" in form.errors["value"]
    assert await redis.keys("kv:*") == []
    who = (f"slack:{BOB}", "slack:T0TEAM00001:C0GENERAL")
    names = ("get", "set", "set", "unknown", "all", "set")
    assert audit(caplog) == [(*who, name, "refused") for name in names]


async def test_slack_a_form_from_where_the_bot_is_not_is_answered_directly(
    storage: dict[str, Any], slack: Slack, redis: Redis
) -> None:
    """A command works in every channel, but the bot can write only where it is a member."""
    slack.add_channel("C0FOREIGN", members=(ALICE,))
    slack.tolerate("not_in_channel")
    async with on_slack("socket", slack, storage):
        form = await form_for(slack, "set greeting", channel="C0FOREIGN")
        await slack.submit(form, {"value": "hello"})
        await wait_until(lambda: bool(slack.messages(slack.dm(ALICE))), "told")
    assert [each.text for each in slack.messages(slack.dm(ALICE))] == ["Stored `greeting`."]
    assert await redis.get("kv:greeting") == b"hello"


async def test_slack_a_form_that_cannot_be_opened_is_told(storage: dict[str, Any], slack: Slack) -> None:
    slack.fail("views.open", error="internal_error")
    async with on_slack("socket", slack, storage):
        assert "could not be opened" in await run_text(slack, "set greeting")


async def test_slack_a_slow_redis_is_answered_after_the_acknowledgement(
    storage: dict[str, Any], slack: Slack, redis: Redis
) -> None:
    """Slack waits 3 s; the answer to the command and to the form comes when Redis has done it."""
    async with on_slack("socket", slack, storage, platforms_with(slack_timing=Timing(ack_timeout=0.05))):
        form = await form_for(slack, "set greeting")
        await redis.client_pause(300, all=False)
        command = await slack.command("/agent-redis", "set other x", ALICE, GENERAL)
        assert (command.acked, command.response) == (True, None)
        await slack.submit(form, {"value": "hello"})
        assert not form.is_open
        await wait_until(lambda: len(slack.ephemerals) == 2, "both are told")
    assert {each.text for each in slack.ephemerals} == {"Stored `other`.", "Stored `greeting`."}


async def test_slack_a_value_can_ping_nobody(storage: dict[str, Any], slack: Slack, redis: Redis) -> None:
    value = "```\n<!channel> <@U0BOB> @here\n```"
    await redis.mset({"kv:k": value, "kv:<!everyone>`": "x"})
    async with on_slack("socket", slack, storage):
        for text in ("get k", "keys", "all", 'get "<!everyone>`"', "del <!here>"):
            shown = await run_text(slack, text)
            assert "<" not in shown
            assert shown.count("```") in (0, 2)


# --- Discord


@asynccontextmanager
async def on_discord(discord: Discord, storage: dict[str, Any], *admins: User) -> AsyncIterator[Bot]:
    """The bot; the users are administrators of it."""
    ids = frozenset(f"discord:{user.id}" for user in admins)
    settings = storage | {"discord_token": discord.token, "discord_api_url": discord.url}
    async with run_bot(**settings, admin_users=ids) as bot:
        await discord.wait_for_connections()
        yield bot


async def run_subcommand(discord: Discord, user: User, name: str, **options: Any) -> Interaction:
    """The outcome of a subcommand, which the person alone is shown."""
    shown = await discord.command(f"agent-redis {name}", user, options=options)
    assert shown.ephemeral
    return shown


async def test_discord_each_subcommand_answers_its_caller(
    storage: dict[str, Any], discord: Discord, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bot")
    admin = discord.add_user("admin", administrator=True)
    async with on_discord(discord, storage, admin):
        assert (
            await run_subcommand(discord, admin, "set", key="greeting", value="hello", ttl=60)
        ).content == ("Stored `greeting` for 60 seconds.")
        assert 50 < await redis.ttl("kv:greeting") <= 60
        assert "```\nhello\n```" in (await run_subcommand(discord, admin, "get", key="greeting")).content
        shown = await run_subcommand(discord, admin, "mset", data='{"a": "1", "b": "2"}', ttl=5)
        assert shown.content == "Stored 2 values for 5 seconds."
        refused = await run_subcommand(discord, admin, "mset", data='{"a": 1}')
        assert refused.content == "The value of `a` is not a text: put it in quotes."
        assert "a\nb\ngreeting" in (await run_subcommand(discord, admin, "keys")).content
        assert "\na\n" in (await run_subcommand(discord, admin, "keys", pattern="[a]")).content
        assert "b = 2" in (await run_subcommand(discord, admin, "all")).content
        assert (await run_subcommand(discord, admin, "del", key="a")).content == "Deleted `a`."
        assert "**version**" in (await run_subcommand(discord, admin, "info")).content
        shown = await discord.command("agent-redis get", admin, discord.dm(admin), {"key": "b"})
        assert "2" in shown.content
    who, guild = f"discord:{admin.id}", f"discord:{discord.guild.id}:{discord.general.id}"
    names = ("set", "get", "mset", "keys", "keys", "all", "delete", "info")
    lines = audit(caplog)
    assert lines[:-1] == [(who, guild, name, "done") for name in names]
    assert lines[-1] == (who, f"discord:dm:{discord.dm(admin).id}", "get", "done")


async def test_discord_form_stores_several_lines(
    storage: dict[str, Any], discord: Discord, redis: Redis
) -> None:
    admin = discord.add_user("admin", administrator=True)
    async with on_discord(discord, storage, admin):
        opened = await discord.command("agent-redis set", admin, options={"key": "greeting", "ttl": 60})
        with pytest.raises(NotOffered):
            await discord.submit(opened, {"value": "x" * 4_001})
        stored = await discord.submit(opened, {"value": "line one\nline two"})
        assert (stored.content, stored.ephemeral) == ("Stored `greeting` for 60 seconds.", True)
    assert await redis.get("kv:greeting") == b"line one\nline two"
    assert 50 < await redis.ttl("kv:greeting") <= 60


async def test_discord_a_long_value_comes_in_closed_blocks(
    storage: dict[str, Any], discord: Discord, redis: Redis
) -> None:
    """It is cut with a word about it, and what it holds can end no block and ping nobody."""
    admin = discord.add_user("admin", administrator=True)
    await redis.set("kv:long", f"```\n@everyone {discord.bob.mention}\n" + "word\n" * 5_000)
    async with on_discord(discord, storage, admin):
        shown = await run_subcommand(discord, admin, "get", key="long")
        await wait_until(lambda: "25,0" in shown.messages[-1].content, "all of it")
    assert all(each.ephemeral for each in shown.messages)
    assert all(each.content.count("```") in (0, 2) for each in shown.messages)
    assert not any(discord.bob in each.mentions or each.mentions_everyone for each in shown.messages)


async def test_discord_others_are_refused(
    storage: dict[str, Any], discord: Discord, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """A person who may not manage the server is not offered the command; one who may is checked again."""
    caplog.set_level(logging.INFO, "bot")
    await redis.set("kv:greeting", "hello")
    manager = discord.add_user("manager", administrator=True)
    async with on_discord(discord, storage):
        with pytest.raises(NotOffered):
            await discord.command("agent-redis get", discord.alice, options={"key": "greeting"})
        tries: list[tuple[str, dict[str, Any]]] = [
            ("get", {"key": "greeting"}),
            ("set", {"key": "greeting"}),
            ("set", {"key": "greeting", "value": "x"}),
            ("del", {"key": "greeting"}),
            ("mset", {"data": "no json"}),
            ("all", {}),
        ]
        for name, options in tries:
            for channel in (discord.general, discord.dm(manager)):
                shown = await discord.command(f"agent-redis {name}", manager, channel, options)
                assert f"discord:{manager.id} to ADMIN_USERS" in shown.content
                assert shown.modal is None
        assert await discord.autocomplete("agent-redis get", "key", "g", manager) == []
    assert await redis.get("kv:greeting") == b"hello"
    assert {line[3] for line in audit(caplog)} == {"refused"}
    assert len(audit(caplog)) == 2 * len(tries)


async def test_discord_suggests_keys_to_administrators(
    storage: dict[str, Any], discord: Discord, redis: Redis
) -> None:
    """At most 25, those that begin with what was typed first; none that Discord could not take."""
    admin = discord.add_user("admin", administrator=True)
    await redis.mset({f"kv:user:{number}": "x" for number in range(40)})
    await redis.mset({"kv:superuser": "x", "kv:" + "u" * 101: "x", "kv:u\nser": "x", "user:outside": "x"})
    async with on_discord(discord, storage, admin):
        for name in ("get", "set", "del"):
            offered = await discord.autocomplete(f"agent-redis {name}", "key", "user:3", admin)
            found = [each["value"] for each in offered]
            assert found == ["user:3", *(f"user:{number}" for number in range(30, 40))]
        assert len(await discord.autocomplete("agent-redis get", "key", "", admin)) == 25
        assert await discord.autocomplete("agent-redis get", "key", "uu", admin) == []


# --- HTTP


async def test_http_operations_are_those_of_the_platforms(
    storage: dict[str, Any], redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever has the token may; without it nothing is run, and nothing is told."""
    caplog.set_level(logging.INFO, "bot")
    async with run_bot(**storage, api_token="secret-token-of-16") as bot, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{http_port(bot)}/redis/direct"
        body = {"operation": "set", "key": "greeting", "value": "hello", "ttl": 60}
        async with session.post(url, json=body) as response:
            assert response.status == 401
        assert await redis.keys("kv:*") == []
        headers = {"Authorization": "Bearer secret-token-of-16"}
        async with session.post(url, json=body, headers=headers) as response:
            told = {"result": True, "message": "Stored `greeting` for 60 seconds."}
            assert await response.json() == {"status": "success", "operation": "set", **told}
        for key in ("{bot}:ready", "../checkpoint", "*", "k" * 512 * 1024):
            async with session.post(url, json={"operation": "get", "key": key}, headers=headers) as response:
                assert (await response.json()).get("result") is None
        async with session.post(url, json={"operation": "keys"}, headers=headers) as response:
            assert (await response.json())["result"] == ["greeting"]
    assert 50 < await redis.ttl("kv:greeting") <= 60
    assert [line[0] for line in audit(caplog)] == ["http:api"] * 6
    assert [line[3] for line in audit(caplog)] == ["done", "done", "done", "done", "invalid", "done"]


# --- the keyspace


@asynccontextmanager
async def all_keys(redis: Redis) -> AsyncIterator[set[bytes]]:
    """The names of the keys that were written meanwhile, however short they lived; filled at the end."""
    await redis.config_set("notify-keyspace-events", "EA")
    try:
        async with redis.pubsub() as events:
            await events.psubscribe("__keyevent@*__:*")
            assert await events.get_message(timeout=5)  # that it listens
            names: set[bytes] = set()
            yield names
            while event := await events.get_message(timeout=0.5):
                names.add(event["data"])
    finally:
        await redis.config_set("notify-keyspace-events", "")


async def test_every_key_of_a_running_bot_is_in_the_list_of_own_keys(
    storage: dict[str, Any], slack: Slack, discord: Discord, redis: Redis
) -> None:
    """All platforms, turns with tools, a chart, a correction, a stop, commands: none writes any other key."""
    storage |= {"discord_token": discord.token, "discord_api_url": discord.url}
    async with all_keys(redis) as written, on_slack("socket", slack, storage) as bot:
        await discord.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} SQL: select 1 as one")
        await slack.answer(GENERAL, ts)
        slack.edit(GENERAL, ts, f"{slack.mention} SEARCH: orders")
        await slack.say(ALICE, GENERAL, "and again", thread_ts=ts)
        await slack.wait_until_settled()
        await slack.command("/agent-stop", "", ALICE, GENERAL)
        question = await discord.say(discord.alice, discord.general, f"{discord.mention} hello")
        await discord.answer(await discord.thread_of(question), lambda messages: bool(messages[-1].content))
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{http_port(bot)}/chat"
            async with session.post(url, json={"message": "hello", "thread_id": "T"}) as response:
                assert response.status == 200
        await slack.command("/agent-redis", "set greeting hello", ALICE, GENERAL)
        await slack.command("/agent-memory", "link", ALICE, GENERAL)
        drawn = await slack.say(ALICE, GENERAL, f"{slack.mention} CHART: select 1 as one, 2 as two")
        await slack.answer(GENERAL, drawn)
    own = tuple(family.encode() for family in reserved_keys.OWN)
    assert {name for name in written if not name.startswith(own)} == {b"kv:greeting"}
    for family in set(own) - {b"write_keys_zset:"}:  # which only earlier versions wrote
        assert any(name.startswith(family) for name in written), f"nothing begins with {family!r}"
