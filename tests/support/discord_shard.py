"""One Discord shard without sockets: takes gateway frames, collects the bot's events."""

import asyncio
import json
from collections.abc import AsyncIterator, Set
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import discord
from discord.gateway import DiscordWebSocket
from redis.asyncio import Redis

from bot.chat import Event, Health, Json, Stop
from bot.commands.commands import Commands
from bot.discord.api import DiscordApi
from bot.discord.connection import Connection
from bot.discord.gateway import Listener
from bot.discord.identify import IdentifyQueue
from bot.discord.shard import Shard
from bot.discord.timing import Timing
from bot.inbox import Lookup
from bot.platforms.catch_up import CatchUp
from bot.storage.coordination import RedisCoordination

SAMPLES = Path(__file__).parents[1] / "samples" / "discord"
ME = 900


def samples() -> list[str]:
    """Return the names of all payloads in `tests/samples/discord`."""
    return sorted(path.stem for path in SAMPLES.glob("*.json"))


def sample(name: str) -> dict[str, Json]:
    """Return a sample: `about`, `event`, `payload`, `expected`, and `bots` if some are listed."""
    content: dict[str, Json] = json.loads((SAMPLES / f"{name}.json").read_text())
    return content


class Ear:
    """discord.py's own path from a frame to a handler; `heard` are the events that the bot has taken."""

    def __init__(self, listener: Listener, heard: list[Event], interactions: list[Any]) -> None:
        self._listener = listener
        self.heard = heard
        self.interactions = interactions
        socket: Any = None
        self._socket: Any = DiscordWebSocket(socket, loop=listener.loop)
        # as DiscordWebSocket.from_client does
        self._socket._connection = listener._connection
        self._socket._discord_parsers = listener._connection.parsers
        self._socket._dispatch = listener.dispatch
        self._socket.shard_id = listener.shard_id

    @classmethod
    @asynccontextmanager
    async def open(cls, bots: Set[str] = frozenset()) -> AsyncIterator[Self]:
        """Open a shard that is connected and knows its guild."""
        heard: list[Event] = []
        interactions: list[Any] = []

        async def deliver(event: Event) -> None:
            heard.append(event)

        async def well() -> list[Health]:
            return []

        async def stop(stop: Stop) -> int:
            return 0

        coordination = RedisCoordination(Redis(), "one")  # nobody asks it anything
        timing = Timing()
        shard = Shard(0, 1, Connection(timing.down_after), CatchUp(coordination, 24), asyncio.Event())
        starts = IdentifyQueue(DiscordApi("token", timing), coordination, timing)
        lookup = Lookup(Redis())
        async with Listener(shard, deliver, Commands(well, stop), lookup, starts, bots, timing) as listener:
            state: Any = listener._connection
            state._command_tree = None  # commands are answered over REST, which is not here
            listener.event(_noting(interactions))
            listener.event(on_forgotten_interaction)
            ear = cls(listener, heard, interactions)
            me = {"id": str(ME), "username": "agent", "discriminator": "0", "avatar": None, "bot": True}
            await ear.hear(
                "READY", {"user": me, "guilds": [], "session_id": "s", "resume_gateway_url": "ws:"}
            )
            await ear.hear("GUILD_CREATE", sample("guild")["payload"])
            yield ear

    async def hear(self, event: str, payload: Json) -> None:
        """Feed a frame, and wait for its handlers."""
        frame = {"op": 0, "t": event, "s": 1, "d": payload}
        await self._socket.received_message(json.dumps(frame))
        await self._listener.handlers.finish(5)


async def on_forgotten_interaction(interaction: discord.Interaction) -> None:
    """Answer nothing: that would be over REST, too."""


def _noting(interactions: list[Any]) -> Any:
    async def on_interaction(interaction: discord.Interaction) -> None:
        interactions.append(interaction)

    return on_interaction
