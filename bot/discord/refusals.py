"""Channels that take no messages, because the bot lacks permissions there."""

import logging
import time
from collections.abc import Mapping, Sequence

from bot.chat import PlatformError, Undeliverable
from bot.discord.permissions import VIEW_CHANNEL, missing_to_write
from bot.discord.reader import Reader

log = logging.getLogger(__name__)

_MOST_KEPT = 1_000
_UNEXPECTED = (AttributeError, LookupError, TypeError, ValueError)
"""Errors raised while a payload of an unexpected form is read."""


class Refusals:
    """Channels in which the bot lacks permissions: each is told once per `seconds` in the same place."""

    def __init__(self, reader: Reader, seconds: float) -> None:
        self._reader = reader
        self._seconds = seconds
        self._told: dict[tuple[str, str], float] = {}
        self._missing: dict[str, tuple[float, Sequence[str]]] = {}

    @property
    def missing(self) -> Mapping[str, Sequence[str]]:
        """Return the titles of the permissions that were missing lately, by channel."""
        since = time.monotonic() - self._seconds
        return {channel: titles for channel, (at, titles) in self._missing.items() if at > since}

    def is_told(self, channel: str, places: Sequence[str]) -> bool:
        """Return whether the refusal of a channel was told in one of these places lately."""
        since = time.monotonic() - self._seconds
        return any(self._told.get((channel, each), since) > since for each in places)

    def note_told(self, channel: str, place: str) -> None:
        """Note that the refusal of a channel was told."""
        if len(self._told) >= _MOST_KEPT:
            self._told.pop(next(iter(self._told)))
        self._told.pop((channel, place), None)
        self._told[channel, place] = time.monotonic()

    async def find_missing(self, channel: str, place: str) -> Sequence[str]:
        """Return the titles of the permissions that the bot lacks to write in a channel or thread.

        Nothing if that cannot be found out. `place` is the channel, or the parent of the thread.
        """
        try:
            titles = await self._look_up(int(channel))
        except Undeliverable:
            titles = [VIEW_CHANNEL]
        except (PlatformError, *_UNEXPECTED) as error:
            log.info("missing permissions not looked up", extra={"channel": channel, "error": repr(error)})
            return []
        if titles:
            log.warning("permissions missing", extra={"channel": place, "permissions": titles})
            if len(self._missing) >= _MOST_KEPT:
                self._missing.pop(next(iter(self._missing)))
            self._missing.pop(place, None)
            self._missing[place] = time.monotonic(), titles
        return titles

    async def _look_up(self, channel: int) -> Sequence[str]:
        place = await self._reader.channel(channel)
        in_thread = "thread_metadata" in place
        if in_thread:  # its permissions are those of its parent
            place = await self._reader.channel(int(place["parent_id"]))
        guild = int(place["guild_id"])
        member = await self._reader.member(guild, await self._reader.user_id())
        return missing_to_write(await self._reader.guild(guild), member, place, in_thread=in_thread)
