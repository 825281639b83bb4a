"""Discord's gateway: messages are kept in order, broken connections are replaced, and health tells it."""

import asyncio
import contextlib
import logging
import sys
from dataclasses import replace

import aiohttp
import pytest
from discord.gateway import DiscordWebSocket
from discord.http import Route
from redis.asyncio import Redis

from bot.chat import CredentialsRejected, Event, Json, Message, PlatformError, Unreachable
from bot.concurrency.tasks import cancel
from bot.discord import handlers as handling
from bot.discord.errors import translate_errors
from tests.servers.discord.gateway import Session
from tests.servers.discord.service import Discord
from tests.support import discord_platform
from tests.support.discord_platform import QUICK, Bot, a_platform, bot_of, direct, ends, texts
from tests.support.discord_shard import sample, samples
from tests.support.wait import wait_until

timing = discord_platform.timing
server = discord_platform.server
bot = discord_platform.bot
live = discord_platform.live


# --- receiving


async def test_replies_work_while_nothing_is_received(server: Discord, bot: Bot) -> None:
    async with bot.listen():
        await server.wait_for_connections()
    assert not any(session.connected for session in server.sessions)
    await bot.reply(await direct(server))
    assert texts(server, server.dm(server.alice)) == ["You said: hello"]
    assert len(server.sessions) == 1


async def test_a_message_that_cannot_be_kept_is_tried_again_before_later_ones(
    server: Discord, live: Bot
) -> None:
    live.failures = 3
    for text in ("trouble", "two", "three"):
        await server.say(server.alice, server.dm(server.alice), text)
    await wait_until(lambda: len(live.heard) == 3, "all are heard")
    assert [each.text for each in live.heard] == ["trouble", "two", "three"]


async def test_a_message_that_cannot_be_kept_holds_no_other_channel_up(server: Discord, live: Bot) -> None:
    live.failures = 10**6
    await server.say(server.alice, server.dm(server.alice), "trouble")
    await server.say(server.bob, server.dm(server.bob), "hello")
    await wait_until(lambda: bool(live.heard), "the other channel is heard")
    live.failures = 0
    await wait_until(lambda: len(live.heard) == 2, "the first is heard in the end")


async def test_a_message_in_hand_is_handed_over_before_receiving_ends(server: Discord, bot: Bot) -> None:
    arrived, kept = asyncio.Event(), asyncio.Event()

    async def deliver(message: Event) -> None:
        arrived.set()
        await asyncio.sleep(0.1)
        kept.set()

    receiving = asyncio.create_task(bot.platform.receive(deliver, bot.commands))
    await server.wait_for_connections()
    await direct(server)
    await arrived.wait()
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)
    assert receiving.cancelled()
    assert kept.is_set()


async def test_a_handler_that_swallows_its_cancellation_ends_all_the_same() -> None:
    """Fault: redis-py does so now and then, and nothing was cancelled again: the end waited for it."""
    handlers = handling.Handlers()

    async def stubborn() -> None:
        handlers.join()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    handler = asyncio.create_task(stubborn())
    finishing = asyncio.create_task(handlers.finish(0))
    await wait_until(finishing.done, "finished")
    assert handler.cancelled()


async def test_nothing_is_left_when_receiving_ends(server: Discord, bot: Bot) -> None:
    await bot.platform.health()  # the client that sends keeps its connection
    before = asyncio.all_tasks()
    async with bot.listen():
        await server.wait_for_connections()
    await wait_until(lambda: not server.gateway.connections, "the gateway is left")
    await wait_until(lambda: asyncio.all_tasks() <= before, "no task is left")


@pytest.mark.parametrize("trouble", ["drop_gateway", "reconnect_gateway", "close_gateway"])
async def test_a_lost_gateway_connection_is_resumed_and_nothing_missed(
    server: Discord, live: Bot, trouble: str
) -> None:
    await wait_until(lambda: len(server.sessions[0].log) > 1, "the guild is told")
    getattr(server, trouble)()
    await server.say(server.alice, server.dm(server.alice), "hello")
    await server.answer(server.dm(server.alice), ends("hello"))
    assert [each.resumes for each in server.sessions] == [1]


@pytest.mark.parametrize("timing", [replace(QUICK, reconnect_backoff=0.05)], ids=["quick"])
async def test_a_refused_first_connection_is_tried_again(server: Discord, bot: Bot) -> None:
    """By a new client: this one cannot be used again."""
    server.refuse_gateway(times=2)
    async with bot.listen():
        await server.wait_for_connections()
        await server.say(server.alice, server.dm(server.alice), "hello")
        await server.answer(server.dm(server.alice), ends("hello"))


async def test_a_dead_rest_api_is_unreachable(server: Discord, bot: Bot) -> None:
    away = server.fail("GET", "/users/@me", times=99, drop=True)
    with pytest.raises(Unreachable):
        await bot.platform.receive(bot.deliver, bot.commands)
    away.times = 0
    server.fail("GET", "/gateway/bot", times=99, status=503)
    with pytest.raises(Unreachable):
        await bot.platform.receive(bot.deliver, bot.commands)


async def test_a_wrong_token_is_rejected_and_the_setting_named(redis: Redis) -> None:
    async with (
        Discord() as server,
        a_platform("wrong", server.url, redis) as platform,
    ):
        bot = Bot(platform)
        with pytest.raises(CredentialsRejected, match="DISCORD_TOKEN"):
            await platform.receive(bot.deliver, bot.commands)
        with pytest.raises(CredentialsRejected, match="DISCORD_TOKEN"):
            await bot.reply(await direct(server))


async def test_a_token_that_is_revoked_later_is_rejected(server: Discord, bot: Bot) -> None:
    receiving = asyncio.create_task(bot.platform.receive(bot.deliver, bot.commands))
    await server.wait_for_connections()
    server.close_gateway(4004)
    with pytest.raises(CredentialsRejected, match="DISCORD_TOKEN"):
        await receiving


async def test_without_the_message_content_intent_the_switch_is_named(redis: Redis) -> None:
    async with Discord() as server, bot_of(server, redis) as bot:
        server.allow_intents()
        with pytest.raises(CredentialsRejected, match=r"DISCORD_TOKEN.*Message Content Intent"):
            await bot.platform.receive(bot.deliver, bot.commands)


async def test_health_tells_whether_the_gateway_is_connected_and_how_that_is_known(
    server: Discord, bot: Bot
) -> None:
    assert not (await bot.platform.health()).evidence["connected"]
    async with bot.listen():
        await server.wait_for_connections()
        await wait_until(lambda: "GUILD_CREATE" in "".join(server.sessions[0].log), "the guild is told")

        async def connected() -> bool:
            health = await bot.platform.health()
            return health.state == "ok" and {"latency_ms", "last_event_s"} <= health.evidence.keys()

        await wait_until(connected, "healthy")
        health = await bot.platform.health()
        assert health.evidence["user"].startswith("agent")
        assert health.evidence["guilds"] == 1
        server.refuse_gateway(times=99)
        server.drop_gateway()

        async def reconnecting() -> bool:
            return (await bot.platform.health()).state == "degraded"

        await wait_until(reconnecting, "the loss is told")
        server.refuse_gateway(times=0)
    assert (await bot.platform.health()).state == "degraded"


@pytest.mark.parametrize("timing", [replace(QUICK, down_after=0.1)], ids=["quick"])
async def test_health_is_down_when_the_gateway_is_gone_for_long_also_between_listeners(
    server: Discord, bot: Bot
) -> None:
    async with bot.listen():
        await server.wait_for_connections()

        async def connected() -> bool:
            return (await bot.platform.health()).state == "ok"

        await wait_until(connected, "connected")

    async def down() -> bool:
        health = await bot.platform.health()
        return health.state == "down" and health.evidence["disconnected_s"] >= 0.1

    await wait_until(down, "down")


async def test_health_asks_rest_and_keeps_the_answer_a_while(server: Discord, bot: Bot, redis: Redis) -> None:
    evidence = (await bot.platform.health()).evidence
    assert evidence["probe_ms"] >= 0
    asked = server.count("GET", "/users/@me")
    await asyncio.gather(*(bot.platform.health() for _ in range(5)))
    assert server.count("GET", "/users/@me") == asked
    forgetful = replace(QUICK, probe_max_age=0)
    async with a_platform(server.token, server.url, redis, timing=forgetful) as platform:
        assert (await platform.health()).evidence["probe_ms"] >= 0
        server.fail("GET", "/users/@me", times=9, status=401)
        health = await platform.health()
    assert health.state == "down"
    assert "DISCORD_TOKEN" in health.evidence["rest"]


@pytest.mark.parametrize("status", [None, 401, 503])
async def test_health_tells_how_old_the_answer_of_rest_is(
    server: Discord, bot: Bot, status: int | None
) -> None:
    await bot.platform.health()  # logs in
    bot.platform._probe._finding = None
    if status:
        server.fail("GET", "/users/@me", status=status)
    first: float = (await bot.platform.health()).evidence["last_probe_s"]

    async def is_older() -> bool:
        seconds: float = (await bot.platform.health()).evidence["last_probe_s"]
        return seconds > first

    await wait_until(is_older, "the answer is older")


@pytest.mark.parametrize("timing", [replace(QUICK, probe_timeout=0.1)], ids=["quick"])
async def test_health_does_not_wait_long_for_rest(server: Discord, bot: Bot) -> None:
    server.fail("GET", "/users/@me", delay=30)
    health = await bot.platform.health()
    assert health.state == "degraded"
    assert "TimeoutError" in health.evidence["rest"]


async def test_a_reconnection_is_logged_as_a_warning_without_a_trace(
    server: Discord, live: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    def reconnections() -> list[logging.LogRecord]:
        return [each for each in caplog.records if str(each.msg).startswith("Attempting a reconnect")]

    server.refuse_gateway()
    server.drop_gateway()
    await wait_until(lambda: bool(reconnections()), "it is logged")
    assert {(each.levelname, each.exc_info) for each in reconnections()} == {("WARNING", None)}


# --- what cannot be read


async def test_details_of_the_application_that_cannot_be_read_stop_nothing(server: Discord, bot: Bot) -> None:
    """Login asks for them, to listen and to send, and needs the id alone."""
    server.rest.application_details = {"owner": None, "icon": 7}
    async with bot.listen():
        await server.wait_for_connections()
        await bot.reply(await direct(server))
    assert texts(server, server.dm(server.alice)) == ["You said: hello"]


async def test_an_event_that_cannot_be_read_costs_neither_the_connection_nor_the_next_message(
    server: Discord, bot: Bot
) -> None:
    """All the samples, over the socket; no interactions, since they would be answered."""
    heard: list[Event] = []

    async def deliver(event: Event) -> None:
        heard.append(event)

    receiving = asyncio.create_task(bot.platform.receive(deliver, bot.commands))
    await server.wait_for_connections()
    for name in samples():
        data = sample(name)
        if data["event"] != "INTERACTION_CREATE":
            server.tell(data["event"], data["payload"])
    await server.say(server.alice, server.dm(server.alice), "the next")
    await wait_until(
        lambda: any(isinstance(each, Message) and each.text == "the next" for each in heard), "heard"
    )
    assert [each.resumes for each in server.sessions] == [0]
    await cancel(receiving)


@pytest.mark.parametrize("timing", [replace(QUICK, reconnect_backoff=0.05)], ids=["quick"])
async def test_a_session_whose_begin_cannot_be_read_is_begun_again(
    server: Discord, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is the one event which cannot be skipped."""
    ready = server.gateway._ready

    def broken_at_first(session: Session) -> Json:
        return ready(session) | ({"user": None} if len(server.sessions) == 1 else {})

    monkeypatch.setattr(server.gateway, "_ready", broken_at_first)
    async with bot.listen():
        await server.say(server.alice, server.dm(server.alice), "hello")
        await wait_until(lambda: len(server.sessions) == 2, "another session")
        await server.wait_for_connections(1)
        await server.say(server.alice, server.dm(server.alice), "hello again")
        await server.answer(server.dm(server.alice), ends("hello again"))


async def test_no_warning_says_that_voice_is_missing() -> None:
    """In a process of its own: discord.py warns once, when its first client is made."""
    code = "import discord; from bot.discord.client import Client; Client(discord.Intents.none())"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")


# --- the edges


async def test_discord_pys_addresses_are_put_back(redis: Redis) -> None:
    before = (Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY)
    async with a_platform("t", "http://127.0.0.1:9/api/v10/", redis):
        assert Route.BASE == "http://127.0.0.1:9/api/v10"
    assert before == (Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY)


@pytest.mark.parametrize(
    "error", [aiohttp.ServerDisconnectedError(), ConnectionResetError(), TimeoutError()], ids=repr
)
def test_every_loss_of_connection_is_unreachable(error: Exception) -> None:
    with pytest.raises(Unreachable) as raised, translate_errors():
        raise error
    assert raised.value.__cause__ is error
    assert isinstance(raised.value, PlatformError)
