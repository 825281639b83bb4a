"""One shard of the gateway, for as long as this process holds it."""

import asyncio
from dataclasses import dataclass

import discord

from bot.chat import PlatformError
from bot.discord.connection import Connection
from bot.discord.events import PLATFORM
from bot.platforms.catch_up import CatchUp, Division, Read


@dataclass(slots=True)
class Shard:
    """The guilds whose `(id >> 22) % count` is `number`; direct messages, which have none, belong to shard 0.

    `opened` is set once a session has begun; `listener` is the client of now, if there is one; `failure` is
    why the last one ended, until the next one is connected.
    """

    number: int
    count: int
    connection: Connection
    catch_up: CatchUp
    opened: asyncio.Event
    listener: discord.Client | None = None
    failure: PlatformError | None = None

    def open(self, read: Read) -> None:
        """A session has begun; `read` reads what was written before it."""
        self.failure = None
        self.catch_up.mark_connected(self.source, read)
        self.opened.set()

    @property
    def source(self) -> str:
        """Its name in `Shared`."""
        return source_of(self.number, self.count)


def source_of(number: int, count: int) -> str:
    """The name of a shard in `Shared`."""
    return f"{PLATFORM}:{number}/{count}"


def division(count: int) -> Division:
    """Discord, divided into so many shards."""
    return Division(PLATFORM, [source_of(number, count) for number in range(count)])
