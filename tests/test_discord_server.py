"""The Discord server for tests refuses, delivers and fails as Discord does: seen with the real discord.py."""

import asyncio
import contextlib
import io
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import discord
import pytest
import yarl
from discord import app_commands
from discord.gateway import DiscordWebSocket
from discord.http import Route

from tests.servers.discord.service import (
    Discord,
    File,
    InteractionFailed,
    Message,
    NotOffered,
)
from tests.support.wait import wait_until

Json = Any

CONTENT = discord.Intents.default() | discord.Intents(message_content=True)


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Discord]:
    async with Discord() as server:
        server.starts.seconds = 0  # the clients of these tests come and go quickly
        monkeypatch.setattr(Route, "BASE", server.url)
        monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(server.gateway_url))
        yield server


class Watcher:
    """Notes what comes in; mixed into both kinds of client."""

    def watch(self) -> None:
        self.seen: list[discord.Message] = []
        self.happened: list[str] = []

    async def on_message(self, message: discord.Message) -> None:
        self.seen.append(message)

    async def on_socket_event_type(self, name: str) -> None:
        self.happened.append(name)

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Do not wait the 5 s that discord.py leaves between two IDENTIFYs."""

    def said(self) -> list[str]:
        return [message.content for message in self.seen]


class Bot(Watcher, discord.Client):
    def __init__(self, intents: discord.Intents = CONTENT, heartbeat_timeout: float = 60) -> None:
        super().__init__(intents=intents, guild_ready_timeout=0.05, heartbeat_timeout=heartbeat_timeout)
        self.watch()
        self.tree = app_commands.CommandTree(self)

    async def setup_hook(self) -> None:
        if self.tree.get_commands():
            await self.tree.sync()


class ShardedBot(Watcher, discord.AutoShardedClient):
    def __init__(self, shard_count: int) -> None:
        super().__init__(intents=CONTENT, guild_ready_timeout=0.05, shard_count=shard_count)
        self.watch()


AnyBot = TypeVar("AnyBot", Bot, ShardedBot)


@asynccontextmanager
async def online(server: Discord, bot: AnyBot, sessions: int = 1) -> AsyncIterator[AnyBot]:
    """Run a bot until the block ends."""
    async with asyncio.TaskGroup() as tasks, bot:
        tasks.create_task(bot.start(server.token))
        await wait_until(lambda: bot.happened.count("READY") == sessions, "the bot is connected")
        yield bot
        await bot.close()


@pytest.fixture
async def bot(server: Discord) -> AsyncIterator[Bot]:
    async with online(server, Bot()) as bot:
        yield bot


@pytest.fixture
async def rest(server: Discord) -> AsyncIterator[Bot]:
    """A bot that has only logged in: enough for REST."""
    async with Bot() as bot:
        await bot.login(server.token)
        yield bot


@dataclass
class Raw:
    """Requests without a library in between."""

    session: aiohttp.ClientSession
    server: Discord

    async def __call__(self, method: str, path: str, body: Json = None, token: str = "") -> tuple[int, Json]:
        headers = {"Authorization": f"Bot {token or self.server.token}"}
        async with self.session.request(method, self.server.url + path, json=body, headers=headers) as reply:
            self.headers = reply.headers
            return reply.status, await reply.json() if reply.status != 204 else None


@pytest.fixture
async def raw(server: Discord) -> AsyncIterator[Raw]:
    async with aiohttp.ClientSession() as session:
        yield Raw(session, server)


def general(server: Discord, bot: discord.Client) -> discord.PartialMessageable:
    return bot.get_partial_messageable(server.general.id, guild_id=server.guild.id)


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
    await server.connected(timeout=30)
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


async def hears(server: Discord, bot: Bot | ShardedBot, text: str) -> None:
    await server.say(server.alice, server.general, text)
    await wait_until(lambda: text in bot.said(), f"the bot hears {text!r}")


async def test_what_happens_while_the_socket_is_lost_is_replayed(server: Discord, bot: Bot) -> None:
    await hears(server, bot, "before")
    server.drop_gateway()
    await hears(server, bot, "meanwhile")
    assert [session.resumes for session in server.sessions] == [1]
    assert bot.said() == ["before", "meanwhile"]
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
        await wait_until(lambda: "direct" in bot.said(), "the direct message")
        of_guild = (server.guild.id >> 22) % 2
        heard = [
            [text for text in bot.said() if any(text in frame for frame in each.log)]
            for each in server.sessions
        ]
        assert heard[of_guild].count("in the guild") == 1
        assert "in the guild" not in heard[1 - of_guild]
        assert "direct" in heard[0]
        assert "direct" not in heard[1]
        assert bot.said().count("direct") == 1
    assert not server.violations


# --- messages


async def test_a_message_comes_with_mention_reference_and_file(server: Discord, bot: Bot) -> None:
    first = await server.say(
        server.alice, server.general, f"{server.mention} look", files=[File("a.txt", b"data")]
    )
    await server.say(server.bob, server.general, "indeed", reply_to=first)
    await wait_until(lambda: len(bot.seen) == 2, "both messages")
    look, reply = bot.seen
    assert bot.user in look.mentions
    assert await look.attachments[0].read() == b"data"
    assert look.attachments[0].content_type == "text/plain"
    assert isinstance(look.author, discord.Member)
    assert isinstance(reply.reference and reply.reference.resolved, discord.Message)
    assert [user.id for user in reply.mentions] == [server.alice.id]
    assert not server.violations


async def test_a_file_url_needs_its_signature_and_must_not_see_the_token(server: Discord, raw: Raw) -> None:
    message = await server.say(server.alice, server.general, "", files=[File("a.txt", b"data")])
    url = message.attachments[0].url
    async with raw.session.get(url.split("?")[0]) as reply:
        assert reply.status == 404
    async with raw.session.get(url, headers={"Authorization": f"Bot {server.token}"}) as reply:
        assert await reply.read() == b"data"
    assert ["the token was sent" in each for each in server.violations] == [True]


async def test_without_the_content_intent_only_what_concerns_the_bot_has_content(server: Discord) -> None:
    server.allow_intents()
    async with online(server, Bot(discord.Intents.default())) as bot:
        await server.say(server.alice, server.general, "overheard")
        await server.say(server.alice, server.general, f"{server.mention} addressed")
        await server.say(server.alice, server.dm(server.alice), "direct")
        await general(server, bot).send("my own")
        await wait_until(lambda: len(bot.seen) == 4, "four messages")
        assert bot.said() == ["", f"{server.mention} addressed", "direct", "my own"]
        history = [message.content async for message in general(server, bot).history()]
        assert "overheard" not in history


async def test_only_subscribed_events_come(server: Discord) -> None:
    async with online(server, Bot(discord.Intents(guilds=True, dm_messages=True))) as bot:
        await server.say(server.alice, server.general, "guild")
        await server.say(server.alice, server.dm(server.alice), "direct")
        await wait_until(lambda: bool(bot.seen), "the direct message")
        assert bot.said() == ["direct"]


async def test_a_channel_that_the_bot_cannot_see_is_silent(server: Discord, bot: Bot) -> None:
    server.general.denied.add("view_channel")
    await server.say(server.alice, server.general, "secret")
    server.general.denied.clear()
    await hears(server, bot, "open")
    assert bot.said() == ["open"]


async def test_the_same_nonce_twice_is_one_message(server: Discord, bot: Bot) -> None:
    channel = general(server, bot)
    first, second = await channel.send("once", nonce="key"), await channel.send("once", nonce="key")
    assert first.id == second.id
    assert [each.content for each in server.messages(server.general)] == ["once"]
    server.forget_nonces()
    assert (await channel.send("once", nonce="key")).id != first.id
    assert not server.violations


async def test_own_posts_edits_and_deletions_come_back_as_events(server: Discord, bot: Bot) -> None:
    message = await general(server, bot).send("one ")
    await message.edit(content="one two")
    await message.delete()
    await wait_until(lambda: "MESSAGE_DELETE" in bot.happened, "three events")
    events = [name for name in bot.happened if name.startswith("MESSAGE")]
    assert events == ["MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_DELETE"]
    assert not server.messages(server.general)


async def test_history_tells_what_a_person_saw_and_when(server: Discord, rest: Bot) -> None:
    message = await general(server, rest).send("one ")
    for text in ("one two", "one two three"):
        await message.edit(content=text)
    (seen,) = server.messages(server.general)
    assert [edit.content for edit in seen.history] == ["one", "one two", "one two three"]
    assert server.edit_times(server.general) == [edit.at for edit in seen.history[1:]]


async def test_pages_of_history_are_right(server: Discord, rest: Bot) -> None:
    said = [await server.say(server.alice, server.general, f"{number}") for number in range(105)]
    channel = general(server, rest)
    after = [each.content async for each in channel.history(limit=None, after=discord.Object(said[1].id))]
    assert after == [f"{number}" for number in range(2, 105)]
    before = [each.content async for each in channel.history(limit=3, before=discord.Object(said[10].id))]
    assert before == ["9", "8", "7"]
    around = [each.content async for each in channel.history(limit=3, around=discord.Object(said[5].id))]
    assert sorted(around) == ["4", "5", "6"]


async def test_allowed_mentions_decide_whom_a_text_pings(server: Discord, rest: Bot) -> None:
    question = await server.say(server.alice, server.general, "?")
    text = f"@everyone {server.bob.mention}"
    nobody = discord.AllowedMentions(everyone=False, users=False, roles=False, replied_user=True)
    partial = discord.PartialMessage(channel=general(server, rest), id=question.id)
    await partial.reply(text, allowed_mentions=nobody)
    await partial.reply(text)
    quiet, loud = server.messages(server.general)[1:]
    assert [user.name for user in quiet.mentions] == ["alice"]
    assert [user.name for user in loud.mentions] == ["bob", "alice"]


async def test_files_are_stored_and_listed(server: Discord, rest: Bot) -> None:
    sent = await general(server, rest).send("see", file=discord.File(io.BytesIO(b"\x89PNG"), "chart.png"))
    assert sent.attachments[0].content_type == "image/png"
    assert [(each.name, each.data) for each in server.messages(server.general)[0].attachments] == [
        ("chart.png", b"\x89PNG")
    ]


async def test_a_file_above_10_mib_is_refused(server: Discord, rest: Bot) -> None:
    big = discord.File(io.BytesIO(b"0" * (10 * 2**20 + 1)), "big.bin")
    with pytest.raises(discord.HTTPException) as refused:
        await general(server, rest).send(file=big)
    assert (refused.value.status, refused.value.code) == (413, 40005)
    assert len(server.violations) == 1


async def test_typing_and_reactions_are_seen(server: Discord, bot: Bot) -> None:
    message = await server.say(server.alice, server.general, "hi")
    async with general(server, bot).typing():
        assert len(server.typing(server.general)) == 1
    await general(server, bot).get_partial_message(message.id).add_reaction("👀")
    assert list(message.reactions) == ["👀"]
    await wait_until(lambda: "MESSAGE_REACTION_ADD" in bot.happened, "the reaction comes back")
    assert not server.violations


BUTTONS = {"type": 1, "components": [{"type": 2, "style": 1, "label": "x", "custom_id": "x"}]}


@pytest.mark.parametrize(
    ("body", "code", "where"),
    [
        ({"content": "x" * 2001}, 50035, "content"),
        ({"content": " \n"}, 50006, None),
        ({}, 50006, None),
        ({"content": "x", "nonce": "n" * 26}, 50035, "nonce"),
        ({"content": "x", "message_reference": {"message_id": "1"}}, 50035, "message_reference"),
        ({"content": "x", "allowed_mentions": {"parse": ["all"]}}, 50035, "allowed_mentions"),
        (
            {"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}},
            50035,
            "allowed_mentions",
        ),
        ({"embeds": [{"description": "x" * 4097}]}, 50035, "embeds"),
        ({"embeds": [{"description": "x" * 4000}] * 2}, 50035, "embeds"),
        ({"embeds": [{"title": "x"}] * 11}, 50035, "embeds"),
        ({"content": "x", "components": [BUTTONS] * 6}, 50035, "components"),
        ({"content": "x", "components": [BUTTONS] * 2}, 50035, "components"),
        ({"content": "x", "components": [BUTTONS], "flags": 1 << 15}, 50035, "content"),
    ],
)
async def test_a_message_that_discord_refuses_is_refused_and_recorded(
    server: Discord, raw: Raw, body: Json, code: int, where: str | None
) -> None:
    status, answer = await raw("POST", f"/channels/{server.general.id}/messages", body)
    assert (status, answer["code"]) == (400, code)
    assert list(answer.get("errors", {None: None})) == [where]
    assert len(server.violations) == 1
    assert not server.messages(server.general)


async def test_json_answers_have_exactly_the_content_type_that_discord_py_wants(
    server: Discord, raw: Raw
) -> None:
    await raw("GET", "/users/@me")
    assert raw.headers["Content-Type"] == "application/json"
    await raw("GET", "/nowhere")
    assert raw.headers["Content-Type"] == "application/json"
    assert server.violations == ["GET /nowhere: 404 0 404: Not Found"]


async def test_only_own_messages_can_be_edited(server: Discord, rest: Bot) -> None:
    message = await server.say(server.alice, server.general, "mine")
    with pytest.raises(discord.Forbidden) as refused:
        await general(server, rest).get_partial_message(message.id).edit(content="yours")
    assert refused.value.code == 50005
    assert len(server.violations) == 1


async def test_an_edit_to_nothing_or_too_much_is_refused(server: Discord, rest: Bot) -> None:
    message = await general(server, rest).send("text")
    for text, code in (("", 50006), ("x" * 2001, 50035)):
        with pytest.raises(discord.HTTPException) as refused:
            await message.edit(content=text)
        assert refused.value.code == code
    assert len(server.violations) == 2


async def test_missing_permissions_and_closed_dms_refuse_without_blame(server: Discord, rest: Bot) -> None:
    async def code_of_send(channel: int) -> int:
        with pytest.raises(discord.Forbidden) as refused:
            await rest.get_partial_messageable(channel).send("x")
        return refused.value.code

    server.general.denied = {"send_messages"}
    assert await code_of_send(server.general.id) == 50013
    server.general.denied = {"view_channel"}
    assert await code_of_send(server.general.id) == 50001
    server.alice.accepts_dms = False
    dm = await rest.create_dm(discord.Object(server.alice.id))
    assert await code_of_send(dm.id) == 50007
    assert len(server.refusals) == 3
    assert not server.violations


async def test_what_is_gone_is_unknown_without_blame(server: Discord, rest: Bot) -> None:
    message = await server.say(server.alice, server.general, "x")
    server.remove(message)
    with pytest.raises(discord.NotFound) as refused:
        await general(server, rest).fetch_message(message.id)
    assert refused.value.code == 10008
    with pytest.raises(discord.HTTPException):
        await discord.PartialMessage(channel=general(server, rest), id=message.id).reply("late")
    server.remove_channel(server.general)
    with pytest.raises(discord.NotFound) as refused:
        await general(server, rest).send("x")
    assert refused.value.code == 10003
    assert not server.violations


# --- threads


async def test_a_thread_made_from_a_message_has_its_id(server: Discord, bot: Bot) -> None:
    message = await server.say(server.alice, server.general, f"{server.mention} hi")
    await wait_until(lambda: bool(bot.seen), "the question")
    thread = await bot.seen[0].create_thread(name="topic", auto_archive_duration=60)
    await thread.send("answer")
    assert thread.id == message.id
    opened = await server.thread_of(message)
    assert [each.content for each in server.messages(opened)] == ["answer"]
    await wait_until(lambda: "answer" in bot.said(), "the answer comes back")
    assert "THREAD_CREATE" in bot.happened
    types = [each.type for each in bot.seen[1:]]
    assert types == [discord.MessageType.thread_starter_message, discord.MessageType.default]
    assert opened.auto_archive_duration == 60
    assert [each.id for each in await bot.guilds[0].active_threads()] == [thread.id]
    assert not server.violations


async def test_a_second_thread_from_the_same_message_is_refused_without_blame(
    server: Discord, rest: Bot
) -> None:
    message = await server.say(server.alice, server.general, "hi")
    thread = server.start_thread(server.alice, message)
    with pytest.raises(discord.HTTPException) as refused:
        await rest.http.start_thread_with_message(
            server.general.id, message.id, name="again", auto_archive_duration=60
        )
    assert refused.value.code == 160004
    fetched = await rest.fetch_channel(thread.id)
    assert isinstance(fetched, discord.Thread)
    assert fetched.parent_id == server.general.id
    assert not server.violations


@pytest.mark.parametrize(
    "body", [{}, {"name": ""}, {"name": "x" * 101}, {"name": "x", "auto_archive_duration": 5}]
)
async def test_a_faulty_thread_is_refused(server: Discord, raw: Raw, body: Json) -> None:
    message = await server.say(server.alice, server.general, "hi")
    path = f"/channels/{server.general.id}/messages/{message.id}/threads"
    status, answer = await raw("POST", path, body)
    assert (status, answer["code"]) == (400, 50035)
    assert message.thread is None
    assert len(server.violations) == 1


async def test_threads_may_be_forbidden_and_do_not_exist_in_dms_and_threads(
    server: Discord, raw: Raw
) -> None:
    async def code_in(message: Message) -> int:
        path = f"/channels/{message.channel.id}/messages/{message.id}/threads"
        return int((await raw("POST", path, {"name": "x"}))[1]["code"])

    question = await server.say(server.alice, server.general, "hi")
    server.general.denied.add("create_public_threads")
    assert await code_in(question) == 50013
    assert not server.violations
    assert await code_in(await server.say(server.alice, server.dm(server.alice), "hi")) == 50024
    server.general.denied.clear()
    thread = server.start_thread(server.alice, question)
    assert await code_in(await server.say(server.alice, thread, "deeper")) == 50024
    assert len(server.violations) == 2


async def test_writing_reopens_an_archived_thread_unless_it_is_locked(server: Discord, bot: Bot) -> None:
    thread = server.start_thread(server.alice, server.general)
    server.archive(thread)
    await bot.get_partial_messageable(thread.id).send("back")
    assert not thread.archived
    server.archive(thread, locked=True)
    with pytest.raises(discord.HTTPException) as refused:
        await bot.get_partial_messageable(thread.id).send("again")
    assert refused.value.code == 50083
    assert bot.happened.count("THREAD_UPDATE") == 3
    assert not server.violations


async def test_a_mention_in_a_thread_makes_the_bot_a_member(server: Discord, bot: Bot) -> None:
    thread = server.start_thread(server.alice, await server.say(server.alice, server.general, "hi"))
    assert server.bot.id not in thread.members
    await server.say(server.alice, thread, f"{server.mention} join us")
    assert server.bot.id in thread.members
    await wait_until(lambda: bot.said()[-1:] == [f"{server.mention} join us"], "the message")
    assert isinstance(bot.seen[-1].channel, discord.Thread)


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


# --- commands and interactions


class CommandBot(Bot):
    """A bot with one of each kind of answer."""

    def __init__(self) -> None:
        super().__init__()
        self.tree.command(name="quick", description="answers at once")(quick)
        self.tree.command(name="slow", description="defers")(slow)
        self.tree.command(name="twice", description="answers twice")(twice)
        self.tree.command(name="silent", description="never answers")(silent)
        self.tree.command(name="form", description="opens a form")(form)
        self.tree.command(name="buttons", description="shows a button")(buttons)
        store = app_commands.Group(name="store", description="a group", default_permissions=ADMINISTRATORS)
        store.command(name="get", description="a subcommand")(store_get)
        self.tree.add_command(store)


Asked = discord.Interaction[discord.Client]
ADMINISTRATORS = discord.Permissions(administrator=True)


async def quick(interaction: Asked) -> None:
    await interaction.response.send_message("here", ephemeral=True)


async def slow(interaction: Asked) -> None:
    await interaction.response.defer(ephemeral=True, thinking=True)
    await interaction.followup.send("first")
    await interaction.followup.send("second", ephemeral=True)
    await interaction.edit_original_response(content="first, edited")


async def twice(interaction: Asked) -> None:
    await interaction.response.send_message("public")
    again = interaction.client.http, interaction.id, interaction.token
    with contextlib.suppress(discord.HTTPException):
        await again[0].request(
            Route("POST", f"/interactions/{again[1]}/{again[2]}/callback"),
            json={"type": 4, "data": {"content": "x"}},
        )


async def silent(interaction: Asked) -> None:
    pass


async def store_get(interaction: Asked, key: str, ttl: int = 0) -> None:
    await interaction.response.send_message(f"{key} {ttl}")


class Form(discord.ui.Modal, title="Form"):
    name = discord.ui.TextInput[discord.ui.Modal](label="Name", custom_id="name")

    async def on_submit(self, interaction: Asked) -> None:
        await interaction.response.send_message(f"hello {self.name.value}")


async def form(interaction: Asked) -> None:
    await interaction.response.send_modal(Form())


class Buttons(discord.ui.View):
    @discord.ui.button(label="Press", custom_id="press")
    async def press(self, interaction: Asked, button: discord.ui.Button["Buttons"]) -> None:
        await interaction.response.edit_message(content=f"pressed by {interaction.user.name}", view=None)


async def buttons(interaction: Asked) -> None:
    await interaction.response.send_message("press", view=Buttons())


@pytest.fixture
async def commands(server: Discord) -> AsyncIterator[CommandBot]:
    bot = CommandBot()
    async with online(server, bot):
        yield bot


@pytest.mark.usefixtures("commands")
async def test_a_command_is_answered_for_the_callers_eyes_in_guild_and_dm(server: Discord) -> None:
    for channel in (server.general, server.dm(server.alice)):
        shown = await server.command("quick", server.alice, channel)
        assert (shown.content, shown.ephemeral) == ("here", True)
        assert not server.messages(channel)
    assert not server.violations


@pytest.mark.usefixtures("commands")
async def test_the_first_follow_up_fills_the_deferred_answer(server: Discord) -> None:
    shown = await server.command("slow")
    await wait_until(lambda: shown.content == "first, edited", "edited")
    assert [each.content for each in shown.messages] == ["first, edited", "second"]
    assert [each.ephemeral for each in shown.messages] == [True, True]
    assert not server.violations


@pytest.mark.usefixtures("commands")
async def test_a_second_response_is_refused(server: Discord) -> None:
    shown = await server.command("twice")
    await wait_until(lambda: bool(server.violations), "refused")
    assert "40060" in server.violations[0]
    assert [each.content for each in server.messages(server.general)] == [shown.content] == ["public"]


@pytest.mark.usefixtures("commands")
async def test_no_answer_within_the_deadline_is_a_violation(server: Discord) -> None:
    server.interactions.deadline = 0.2
    with pytest.raises(InteractionFailed):
        await server.command("silent")
    assert server.violations == ["silent was not answered within 0.2 s"]


async def test_a_late_answer_finds_no_interaction(server: Discord, commands: CommandBot) -> None:
    server.interactions.deadline = 0.0
    errors: list[discord.app_commands.AppCommandError] = []

    async def note(interaction: Asked, error: discord.app_commands.AppCommandError) -> None:
        errors.append(error)

    commands.tree.error(note)
    with pytest.raises(InteractionFailed):
        await server.command("quick")
    await wait_until(lambda: bool(errors), "the answer is refused")
    assert any("10062" in each for each in server.violations)


async def test_follow_ups_need_an_answer_before_and_fifteen_minutes_at_most(
    server: Discord, raw: Raw, commands: CommandBot
) -> None:
    server.interactions.deadline = 0.2
    tokens: list[str] = []

    @commands.event
    async def on_interaction(interaction: Asked) -> None:
        tokens.append(interaction.token)

    with pytest.raises(InteractionFailed):
        await server.command("silent")
    await server.command("quick")
    server.interactions.lifetime = 0.0
    path = f"/webhooks/{server.bot.id}"
    answers = [await raw("POST", f"{path}/{token}", {"content": "x"}) for token in tokens]
    assert [(status, answer["code"]) for status, answer in answers] == [(404, 10015), (401, 50027)]
    assert len(server.violations) == 3


@pytest.mark.usefixtures("commands")
async def test_subcommands_take_the_options_they_declare_from_those_to_whom_they_are_offered(
    server: Discord,
) -> None:
    admin = server.add_user("admin", administrator=True)
    shown = await server.command("store get", admin, options={"key": "greeting", "ttl": 5})
    assert (shown.content, shown.ephemeral) == ("greeting 5", False)
    for name, options in (
        ("store get", {}),
        ("store get", {"key": 1}),
        ("store get", {"key": "x", "colour": "red"}),
        ("store", {}),
        ("store set", {}),
    ):
        with pytest.raises(NotOffered):
            await server.command(name, admin, options=options)
    with pytest.raises(NotOffered):
        await server.command("store get", server.alice, options={"key": "x"})
    assert not server.violations


@pytest.mark.usefixtures("commands")
async def test_a_button_updates_its_message(server: Discord) -> None:
    await server.command("buttons")
    (message,) = server.messages(server.general)
    await server.click(server.bob, message, "Press")
    assert message.content == "pressed by bob"
    with pytest.raises(NotOffered):
        await server.click(server.bob, message, "Press")
    assert not server.violations


@pytest.mark.usefixtures("commands")
async def test_a_form_is_opened_and_sent_off(server: Discord) -> None:
    opened = await server.command("form")
    for wrong in ({}, {"name": ""}, {"name": "x" * 4_001}):
        with pytest.raises(NotOffered):
            await server.submit(opened, wrong)
    assert (await server.submit(opened, {"name": "alice"})).content == "hello alice"
    assert not server.violations


async def test_autocomplete_offers_choices(server: Discord) -> None:
    bot = Bot()

    @bot.tree.command(name="pick", description="pick one")
    async def pick(interaction: Asked, fruit: str) -> None: ...

    @pick.autocomplete("fruit")
    async def fruits(interaction: Asked, current: str) -> list[app_commands.Choice[str]]:
        return [app_commands.Choice(name=each, value=each) for each in ("fig", "pear") if current in each]

    async with online(server, bot):
        assert await server.autocomplete("pick", "fruit", "f") == [{"name": "fig", "value": "fig"}]
    assert not server.violations


async def test_with_no_bot_online_a_command_fails_without_blame(server: Discord) -> None:
    async with online(server, CommandBot()):
        pass
    server.interactions.deadline = 0.05
    with pytest.raises(InteractionFailed):
        await server.command("quick")
    assert not server.violations


OPTION = {"name": "o", "description": "o", "type": 3}


@pytest.mark.parametrize(
    "command",
    [
        {"name": "Upper", "description": "x"},
        {"name": "two words", "description": "x"},
        {"name": "x" * 33, "description": "x"},
        {"name": "x", "description": ""},
        {"name": "x", "description": "x" * 101},
        {"name": "x", "description": "x", "options": [OPTION] * 26},
        {"name": "x", "description": "x", "options": [OPTION, OPTION]},
        {"name": "x", "description": "x", "options": [OPTION, OPTION | {"name": "p", "required": True}]},
        {"name": "x", "description": "x", "options": [OPTION | {"type": 99}]},
    ],
)
async def test_a_faulty_command_is_refused(server: Discord, raw: Raw, command: Json) -> None:
    status, answer = await raw("PUT", f"/applications/{server.bot.id}/commands", [command])
    assert (status, answer["code"]) == (400, 50035)
    assert len(server.violations) == 1
    assert (await raw("GET", f"/applications/{server.bot.id}/commands"))[1] == []


async def test_a_guilds_commands_are_offered_there_only(server: Discord, raw: Raw) -> None:
    await raw(
        "PUT",
        f"/applications/{server.bot.id}/guilds/{server.guild.id}/commands",
        [{"name": "local", "description": "here"}],
    )
    assert server.commands.find("local", server.guild.id)
    assert server.commands.find("local", None) is None
    assert server.commands.find("local", server.add_guild("other").id) is None
