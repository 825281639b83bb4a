"""Clients of discord.py, and a raw one, for the Discord server for tests."""

import asyncio
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

from tests.servers.discord.service import Discord
from tests.support.wait import wait_until

Json = Any

CONTENT = discord.Intents.default() | discord.Intents(message_content=True)


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Discord]:
    """Yield a Discord server, and lead discord.py to it."""
    async with Discord() as server:
        server.starts.seconds = 0  # the clients of these tests come and go quickly
        monkeypatch.setattr(Route, "BASE", server.url)
        monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(server.gateway_url))
        yield server


class Watcher:
    """Record of what comes in; mixed into both kinds of client."""

    def watch(self) -> None:
        """Begin the record."""
        self.seen: list[discord.Message] = []
        self.happened: list[str] = []

    async def on_message(self, message: discord.Message) -> None:
        """Record a message."""
        self.seen.append(message)

    async def on_socket_event_type(self, name: str) -> None:
        """Record the name of an event."""
        self.happened.append(name)

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Do not wait the 5 s that discord.py leaves between two IDENTIFYs."""

    def texts(self) -> list[str]:
        """Return the texts of all messages."""
        return [message.content for message in self.seen]


class Bot(Watcher, discord.Client):
    """Client with one session; it registers the commands it has."""

    def __init__(self, intents: discord.Intents = CONTENT, heartbeat_timeout: float = 60) -> None:
        super().__init__(intents=intents, guild_ready_timeout=0.05, heartbeat_timeout=heartbeat_timeout)
        self.watch()
        self.tree = app_commands.CommandTree(self)

    async def setup_hook(self) -> None:
        """Register the commands."""
        if self.tree.get_commands():
            await self.tree.sync()


class ShardedBot(Watcher, discord.AutoShardedClient):
    """Client with several shards."""

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
    """Yield a bot that is online."""
    async with online(server, Bot()) as bot:
        yield bot


@pytest.fixture
async def rest(server: Discord) -> AsyncIterator[Bot]:
    """Yield a bot that has only logged in: enough for REST."""
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
    """Yield a caller without a library."""
    async with aiohttp.ClientSession() as session:
        yield Raw(session, server)


def general(server: Discord, bot: discord.Client) -> discord.PartialMessageable:
    """Return the channel `general` as the bot sees it."""
    return bot.get_partial_messageable(server.general.id, guild_id=server.guild.id)


async def hears(server: Discord, bot: Bot | ShardedBot, text: str) -> None:
    """Say a text in the channel, and wait until the bot has it."""
    await server.say(server.alice, server.general, text)
    await wait_until(lambda: text in bot.texts(), f"the bot hears {text!r}")
