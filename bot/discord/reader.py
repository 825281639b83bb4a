"""Reader of Discord's REST API: earlier messages, channels, servers and their members."""

import logging
from typing import Any, NamedTuple

import discord

from bot.discord.api import DiscordApi
from bot.discord.payloads import Payload, read_message

log = logging.getLogger(__name__)


_LONGEST_ID = 20


def _number(id: object) -> int:
    """Return an id as a number; 0 if Discord sent something else."""
    return int(id) if isinstance(id, str) and id.isdecimal() and len(id) <= _LONGEST_ID else 0


class PastPayload(NamedTuple):
    """Message as Discord sends it; discord.py reads it on demand, which takes a hundred calls."""

    id: int
    data: Payload
    client: discord.Client
    place: object

    @property
    def author_id(self) -> int:
        """Return the id of its author; 0 if it is not known."""
        author = self.data.get("author")
        return _number(author.get("id")) if isinstance(author, dict) else 0

    @property
    def replied_to(self) -> int | None:
        """Return the id of the message that it replies to."""
        reference = self.data.get("message_reference")
        return _number(reference.get("message_id")) or None if isinstance(reference, dict) else None

    def message(self) -> discord.Message | None:
        """Return what discord.py reads; None if it cannot."""
        try:
            return read_message(self.client, self.data, lambda message, _: message, self.place)
        except Exception as error:  # discord.py indexes raw JSON; the other messages can still be read
            log.warning("history message not read", exc_info=error)
            return None


class Reader:
    """Reader that works without the gateway. Every method raises `PlatformError`."""

    def __init__(self, api: DiscordApi) -> None:
        self._api = api

    async def user_id(self) -> int:
        """Return the bot's own user id."""

        async def ask(client: discord.Client) -> int:
            assert client.user is not None  # set by login
            return client.user.id

        return await self._api.request(ask)

    async def channel(self, channel: int) -> Payload:
        """Return a channel."""
        found: Payload = await self._get(
            discord.http.Route("GET", "/channels/{channel_id}", channel_id=channel)
        )
        return found

    async def guild(self, guild: int) -> Payload:
        """Return a guild with its roles."""
        found: Payload = await self._get(discord.http.Route("GET", "/guilds/{guild_id}", guild_id=guild))
        return found

    async def member(self, guild: int, user: int) -> Payload:
        """Return a member of a guild."""
        path = "/guilds/{guild_id}/members/{user_id}"
        found: Payload = await self._get(discord.http.Route("GET", path, guild_id=guild, user_id=user))
        return found

    async def user(self, user: int) -> Payload:
        """Return a user."""
        found: Payload = await self._get(discord.http.Route("GET", "/users/{user_id}", user_id=user))
        return found

    async def find_members(self, guild: int, name: str, limit: int) -> list[Payload]:
        """Return the members of a guild whose names begin with a text."""
        route = discord.http.Route("GET", "/guilds/{guild_id}/members/search", guild_id=guild)
        found: list[Payload] = await self._get(route, query=name[:100], limit=limit)
        return found

    async def _get(self, route: discord.http.Route, **query: str | int) -> Any:
        async def ask(client: discord.Client) -> Any:
            return await client.http.request(route, params=query)

        return await self._api.request(ask)

    async def history(self, channel: int, before: int | None, limit: int) -> list[PastPayload]:
        """Return the newest messages of a channel (before an id), the oldest first."""

        async def read(client: discord.Client) -> list[PastPayload]:
            page: list[Payload] = list(await client.http.logs_from(channel, limit, before=before))
            place = client.get_partial_messageable(channel)
            listed = [(_number(data.get("id")), data) for data in reversed(page)]
            return [PastPayload(id, data, client, place) for id, data in listed if id]

        return await self._api.request(read)
