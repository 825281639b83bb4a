"""The Discord server for tests opens, loses and limits connections as Discord does."""

import asyncio
import sys

import aiohttp
import discord
import pytest

from tests.servers.discord.service import Discord
from tests.support import discord_client
from tests.support.discord_client import Bot, Json, Raw, ShardedBot, general, hears, online
from tests.support.wait import wait_until

server = discord_client.server
bot = discord_client.bot
rest = discord_client.rest
raw = discord_client.raw


# --- login and gateway


async def test_a_wrong_token_fails_the_login_and_is_recorded(server: Discord) -> None:
    async with Bot() as bot:
        with pytest.raises(discord.LoginFailure):
            await bot.login("wrong")
    assert server.violations == ["GET /users/@me: 401 0 401: Unauthorized"]


async def test_a_privileged_intent_that_is_switched_off_closes_the_gateway(server: Discord) -> None:
    server.allow_intents()
    async with Bot() as bot:
        with pytest.raises(discord.PrivilegedIntentsRequired):
            await bot.start(server.token)
    assert server.violations == ["gateway: closed with 4014 Disallowed intent(s)."]


async def test_the_client_becomes_ready_and_knows_guild_channel_and_itself(server: Discord, bot: Bot) -> None:
    async with asyncio.timeout(10):
        await bot.wait_until_ready()
    assert bot.user
    assert bot.user.id == server.bot.id
    channel = bot.get_channel(server.general.id)
    assert isinstance(channel, discord.TextChannel)
    assert channel.permissions_for(channel.guild.me).send_messages
    assert not channel.permissions_for(channel.guild.me).manage_threads
    assert server.gateway.connections[0].compression == "zstd-stream"
    assert not server.violations


ZLIB_BOT = """
import asyncio, sys
sys.modules["zstandard"] = None  # then discord.py asks for zlib
import discord, yarl
from discord.gateway import DiscordWebSocket
token, discord.http.Route.BASE, gateway = sys.argv[1:]
DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(gateway)
client = discord.Client(intents=discord.Intents.default())
@client.event
async def on_message(message):
    print(message.content)
    await client.close()
asyncio.run(client.start(token))
"""


async def test_a_child_process_is_served_with_zlib_compression(server: Discord) -> None:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ZLIB_BOT, server.token, server.url, server.gateway_url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await server.wait_for_connections(timeout=30)
    assert server.gateway.connections[0].compression == "zlib-stream"
    await server.say(server.alice, server.dm(server.alice), "grüße " * 300)
    output, _ = await child.communicate()
    assert output.decode().strip() == ("grüße " * 300).strip()


async def test_without_compression_frames_are_text_and_each_opcode_is_checked(
    server: Discord, raw: Raw
) -> None:
    async with raw.session.ws_connect(server.gateway_url + "?v=10&encoding=json") as socket:
        assert (await socket.receive_json())["op"] == 10
        await socket.send_json({"op": 1, "d": None})
        assert (await socket.receive_json())["op"] == 11
        await socket.send_json({"op": 3, "d": {}})
        assert (await socket.receive()).data == 4003
    assert server.violations == ["gateway: closed with 4003 Not authenticated."]


@pytest.mark.parametrize(
    ("identify", "code"),
    [
        ({"token": "wrong"}, 4004),
        ({"intents": "all"}, 4013),
        ({"intents": 1 << 40}, 4013),
        ({"intents": 1 << 1}, 4014),
        ({"shard": [1, 1]}, 4010),
        ({"shard": 1}, 4010),
        ({"shard": [0, "1"]}, 4010),
        ({"properties": None}, 4002),
    ],
)
async def test_a_faulty_identify_is_refused(server: Discord, raw: Raw, identify: Json, code: int) -> None:
    data = {"token": server.token, "intents": 1, "properties": {}} | identify
    async with raw.session.ws_connect(server.gateway_url + "?v=10&encoding=json") as socket:
        await socket.receive_json()
        await socket.send_json({"op": 2, "d": data})
        assert (await socket.receive()).data == code
    assert len(server.violations) == 1


async def test_shards_of_the_same_key_identify_one_after_the_other(server: Discord, raw: Raw) -> None:
    """Discord answers with op 9 what comes within five seconds; other keys are apart."""
    server.starts.seconds = 5
    server.starts.max_concurrency = 2
    identify = {"token": server.token, "intents": 1, "properties": {}}
    outcomes = []
    for shard in (0, 1, 2):
        async with raw.session.ws_connect(server.gateway_url + "?v=10&encoding=json") as socket:
            await socket.receive_json()
            await socket.send_json({"op": 2, "d": identify | {"shard": [shard, 4]}})
            outcome = await socket.receive_json()
            outcomes.append((outcome["op"], outcome["d"] and outcome["d"]["shard"]))
    assert outcomes == [(0, [0, 4]), (0, [1, 4]), (9, False)]
    assert server.violations == ["gateway: IDENTIFY of shard 2 of 4: too soon after another one"]


async def test_session_starts_are_counted_and_the_token_does_not_survive_the_last(
    server: Discord, raw: Raw
) -> None:
    """`GET /gateway/bot` tells how many remain; one more closes everything with 4004."""
    server.starts.remaining, server.starts.shards = 1, 3
    identify = {"token": server.token, "intents": 1, "properties": {}}
    url = server.gateway_url + "?v=10&encoding=json"
    async with raw.session.ws_connect(url) as first, raw.session.ws_connect(url) as second:
        await first.receive_json()
        await first.send_json({"op": 2, "d": identify})
        assert (await first.receive_json())["t"] == "READY"
        _, told = await raw("GET", "/gateway/bot")
        assert (told["shards"], told["session_start_limit"]["remaining"]) == (3, 0)
        await second.receive_json()
        await second.send_json({"op": 2, "d": identify})
        assert (await second.receive()).data == 4004
        while (closed := await first.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
        assert closed.data == 4004
    assert server.violations == ["gateway: IDENTIFY of shard 0 of 1: no session starts remain"]


async def test_a_bot_in_too_many_guilds_needs_more_shards(server: Discord, raw: Raw) -> None:
    """Close code 4011, for which nobody is to blame."""
    server.starts.least_shards = 2
    async with raw.session.ws_connect(server.gateway_url + "?v=10&encoding=json") as socket:
        await socket.receive_json()
        await socket.send_json({"op": 2, "d": {"token": server.token, "intents": 1, "properties": {}}})
        assert (await socket.receive()).data == 4011
    assert not server.violations


async def test_the_first_connection_can_be_refused(server: Discord, raw: Raw) -> None:
    server.refuse_gateway()
    url = server.gateway_url + "?v=10&encoding=json"
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await raw.session.ws_connect(url)
    async with raw.session.ws_connect(url) as socket:
        assert (await socket.receive_json())["op"] == 10


async def test_what_happens_while_the_socket_is_lost_is_replayed(server: Discord, bot: Bot) -> None:
    await hears(server, bot, "before")
    server.drop_gateway()
    await hears(server, bot, "meanwhile")
    assert [session.resumes for session in server.sessions] == [1]
    assert bot.texts() == ["before", "meanwhile"]
    assert not server.violations


async def test_op_7_makes_the_client_resume(server: Discord, bot: Bot) -> None:
    server.reconnect_gateway()
    await wait_until(lambda: "RESUMED" in bot.happened, "resumed")
    await hears(server, bot, "after")
    assert [session.resumes for session in server.sessions] == [1]
    assert not server.violations


async def test_an_invalid_session_is_identified_anew(server: Discord, bot: Bot) -> None:
    server.invalidate_sessions()
    await wait_until(lambda: len(server.sessions) == 2, "identified anew", timeout=20)
    await hears(server, bot, "after")
    assert [session.resumes for session in server.sessions] == [0, 0]
    assert not server.violations


async def test_a_client_that_gets_no_acks_resumes(server: Discord) -> None:
    server.gateway.heartbeat_interval = 0.1
    async with online(server, Bot(heartbeat_timeout=0.3)) as bot:
        await wait_until(lambda: len(server.sessions[0].heartbeats) >= 2, "heartbeats are acked")
        assert server.sessions[0].resumes == 0
        server.stop_acks()
        await wait_until(lambda: server.sessions[0].resumes > 0, "resumed")
        server.stop_acks(False)
        await hears(server, bot, "after")
    assert not server.violations


async def test_a_dead_connection_is_replaced(server: Discord) -> None:
    async with online(server, Bot(heartbeat_timeout=0.3)) as bot:
        server.gateway.heartbeat_interval = 0.1
        server.deafen_gateway()
        await hears(server, bot, "into the void")
    assert server.sessions[0].resumes > 0
    assert not server.violations


async def test_shards_hear_their_own_guilds_and_the_first_the_direct_messages(server: Discord) -> None:
    async with online(server, ShardedBot(2), sessions=2) as bot:
        await hears(server, bot, "in the guild")
        await server.say(server.alice, server.dm(server.alice), "direct")
        await wait_until(lambda: "direct" in bot.texts(), "the direct message")
        of_guild = (server.guild.id >> 22) % 2
        heard = [
            [text for text in bot.texts() if any(text in frame for frame in each.log)]
            for each in server.sessions
        ]
        assert heard[of_guild].count("in the guild") == 1
        assert "in the guild" not in heard[1 - of_guild]
        assert "direct" in heard[0]
        assert "direct" not in heard[1]
        assert bot.texts().count("direct") == 1
    assert not server.violations


# --- rate limits and faults


async def test_one_request_too_many_is_a_429_that_discord_py_waits_out(server: Discord, rest: Bot) -> None:
    server.limit("edit", 2, 0.2)
    message = await general(server, rest).send("0")
    async with Bot() as other:
        await other.login(server.token)
        # neither knows what the other has used up
        edits = [general(server, each).get_partial_message(message.id) for each in (rest, other) * 2]
        await asyncio.gather(*(each.edit(content=f"{n}") for n, each in enumerate(edits)))
    assert server.rate_limited > 0
    times = server.edit_times(server.general)
    assert len(times) == 4
    assert times[2] - times[0] >= 0.2
    assert not server.violations


async def test_a_client_alone_keeps_to_the_bucket_that_the_headers_announce(
    server: Discord, rest: Bot
) -> None:
    server.limit("send", 2, 0.1)
    await asyncio.gather(*(general(server, rest).send(f"{number}") for number in range(6)))
    assert len(server.messages(server.general)) == 6
    assert server.rate_limited == 0


async def test_the_global_limit_spares_interactions(server: Discord, raw: Raw) -> None:
    server.limit("global", 1, 60)
    assert (await raw("GET", "/users/@me"))[0] == 200
    status, answer = await raw("GET", "/users/@me")
    assert (status, answer["global"]) == (429, True)
    assert raw.headers["Via"]
    assert (await raw("POST", "/interactions/1/x/callback", {"type": 4}))[0] == 404
    assert server.rate_limited == 1


async def test_a_send_whose_answer_was_lost_is_repeated_without_a_second_message(
    server: Discord, rest: Bot
) -> None:
    fault = server.fail("POST", "/channels/*/messages", after_applying=True, drop=True)
    channel = general(server, rest)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await channel.send("once", nonce="key")
    await channel.send("once", nonce="key")
    assert len(server.messages(server.general)) == 1
    assert fault.used == 1
    assert server.count("POST", "/channels/*/messages") == 2
    assert not server.violations


async def test_deliberate_faults_come_as_ordered_and_are_no_violations(server: Discord, raw: Raw) -> None:
    path = f"/channels/{server.general.id}/messages"
    server.fail("POST", "/channels/*/messages", status=503)
    server.fail("POST", "/channels/*/messages", status=429, retry_after=1.5)
    server.fail("POST", "/channels/*/messages", status=403, code=50013, message="Missing Permissions")
    server.fail("POST", "/channels/*/messages", delay=0.05)
    answers = [await raw("POST", path, {"content": f"{number}"}) for number in range(4)]
    assert [status for status, _ in answers] == [503, 429, 403, 200]
    assert answers[1][1]["retry_after"] == 1.5
    assert answers[2][1]["code"] == 50013
    assert [each.content for each in server.messages(server.general)] == ["3"]
    assert not server.refusals
    assert server.rate_limited == 0
