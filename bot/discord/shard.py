"""One shard of the gateway, while this process holds it."""

import asyncio
from dataclasses import dataclass, field

import discord

from bot.chat import PlatformError
from bot.discord.connection import Connection
from bot.discord.events import PLATFORM
from bot.platforms.catch_up import CatchUp, Division, Read

_MOST_LANGUAGES = 1_000
"""Most users of a shard whose languages are remembered."""


@dataclass(slots=True)
class Shard:
    """Shard of all guilds whose `(id >> 22) % count` is `number`; shard 0 also has the direct messages.

    `opened` is set once a session has begun; `listener` is the current client, if there is one; `failure` is
    the error that ended the last one, until the next one is connected. `presence` is the text that its
    session shows, None if that is not known. `languages` are those of users' apps,
    by user id, as far as interactions have told them; the latest is the last.
    """

    number: int
    count: int
    connection: Connection
    catch_up: CatchUp
    opened: asyncio.Event
    listener: discord.Client | None = None
    failure: PlatformError | None = None
    presence: str | None = ""
    languages: dict[int, str] = field(default_factory=dict)

    def open(self, read: Read) -> None:
        """Mark a new session as begun; `read` reads earlier messages."""
        self.failure = None
        self.catch_up.mark_connected(self.source, read)
        self.opened.set()

    def note_language(self, user: int, language: str) -> None:
        """Remember the language of a user's app: messages do not have it."""
        self.languages.pop(user, None)
        self.languages[user] = language
        if len(self.languages) > _MOST_LANGUAGES:
            self.languages.pop(next(iter(self.languages)))

    @property
    def source(self) -> str:
        """Return the name of the shard in `Coordination`."""
        return source_of(self.number, self.count)


def source_of(number: int, count: int) -> str:
    """Return the name of a shard in `Coordination`."""
    return f"{PLATFORM}:{number}/{count}"


def division(count: int) -> Division:
    """Return the division of Discord into `count` shards."""
    return Division(PLATFORM, [source_of(number, count) for number in range(count)])
