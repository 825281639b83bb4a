"""Names of users, roles, channels and servers, read over REST.

A channel that not everybody on its server can see has none, and its id stays in a text.
"""

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from itertools import islice

from bot.chat import NameKind, PlatformError, RateLimited, Unreachable
from bot.discord.events import DIRECT
from bot.discord.payloads import Payload
from bot.discord.permissions import everyone_can_read
from bot.discord.reader import Reader
from bot.discord.timing import Timing
from bot.platforms.names import KnownNames, name_in_text
from bot.platforms.texts import DIRECT_MESSAGES

log = logging.getLogger(__name__)

_ID = re.compile(r"<(@&|#)(\d{1,20})>")

_MOST_LOOKUPS = 10
"""Most ids of one passage that are looked up: a channel takes a request, a thread two."""

_OPEN_THREADS = frozenset({10, 11})
_PRIVATE_THREAD = 12
"""Types of channels: threads of announcements and of text channels."""

_SILENCE = (RateLimited, Unreachable, TimeoutError)
"""Errors that say nothing of a name, which therefore stays."""

_UNREADABLE = (PlatformError, AttributeError, LookupError, TypeError, ValueError)
"""Errors of Discord, and of what it sends if that is not what it documents."""


class Names:
    """Names of the roles and channels of servers."""

    def __init__(self, reader: Reader, timing: Timing) -> None:
        self._reader = reader
        self._timing = timing
        self._known = KnownNames()

    async def readable(self, guild: str, texts: Sequence[str]) -> list[str]:
        """Return the texts of a server, or of direct messages (`dm`), with names in place of ids."""
        found = dict.fromkeys(match[0] for match in _ID.finditer("\n".join(texts)))
        if not found or guild == DIRECT:
            return list(texts)
        # by server: the names of another one are not told here
        keys = {each: f"{guild}:{each}" for each in found}
        names = {each: self._known.get(key) for each, key in keys.items()}
        unknown = islice((each for each, name in names.items() if name is None), _MOST_LOOKUPS)
        if wanted := {each: keys[each] for each in unknown}:
            names |= await self._look_up(int(guild), wanted)
        return [_ID.sub(lambda match: names[match[0]] or match[0], text) for text in texts]

    async def _look_up(self, guild: int, wanted: Mapping[str, str]) -> Mapping[str, str]:
        """Return the names of mentions of a server, given with their keys, and keep them."""
        told: dict[str, str] = {}
        try:
            async with asyncio.timeout(self._timing.names_timeout):
                server = await self._reader.guild(guild)
                await asyncio.gather(*(self._learn(server, each, told) for each in wanted))
        except _SILENCE as error:
            log.info("names not looked up", extra={"guild": guild, "error": repr(error)})
        except PlatformError as error:
            log.info("names not told", extra={"guild": guild, "error": repr(error)})
            told = dict.fromkeys(wanted, "")
        short = self._timing.unknown_name_max_age
        for mention, key in wanted.items():
            if mention in told:
                self._known.put(key, told[mention], self._timing.name_max_age if told[mention] else short)
            else:
                told[mention] = self._known.keep(key, short)
        return told

    async def _learn(self, server: Payload, mention: str, told: dict[str, str]) -> None:
        try:
            told[mention] = await self._name(server, mention)
        except _SILENCE as error:
            log.info("name not looked up", extra={"id": mention, "error": repr(error)})
        except _UNREADABLE as error:  # perhaps not all may see the channel any more
            log.info("name not told", extra={"id": mention, "error": repr(error)})
            told[mention] = ""

    async def _name(self, server: Payload, mention: str) -> str:
        """Return what stands for a mention of a role or a channel; nothing if it stays as it is."""
        kind, id = _ID.findall(mention)[0]
        if kind == "@&":
            names = [each["name"] for each in server["roles"] if each["id"] == id]
            return "".join(f"@{name_in_text(each.lstrip('@'))}" for each in names)
        channel = place = await self._reader.channel(int(id))
        if channel["type"] in _OPEN_THREADS:
            place = await self._reader.channel(int(channel["parent_id"]))
        is_open = place.get("guild_id") == server["id"] and place["type"] != _PRIVATE_THREAD
        return f"#{name_in_text(channel['name'])}" if is_open and everyone_can_read(server, place) else ""

    async def name_of(self, kind: NameKind, id: str) -> str:
        """Return the name of a user, a public channel or a server; empty for others.

        Raises `PlatformError`.
        """
        if id == DIRECT:
            return DIRECT_MESSAGES
        if not (id.isascii() and id.isdecimal()):
            return ""
        match kind:
            case "user":
                user = await self._reader.user(int(id))
                return str(user.get("global_name") or user.get("username") or "")
            case "channel":
                return await self._channel_name(int(id))
            case "space":
                return str((await self._reader.guild(int(id))).get("name") or "")

    async def _channel_name(self, id: int) -> str:
        channel = await self._reader.channel(id)
        if not channel.get("guild_id"):
            return DIRECT_MESSAGES
        if channel.get("type") in (*_OPEN_THREADS, _PRIVATE_THREAD):  # their permissions are not their own
            return ""
        guild = await self._reader.guild(int(channel["guild_id"]))
        return f"#{channel['name']}" if everyone_can_read(guild, channel) else ""
