"""Reader of Discord's REST API: earlier messages, channels, servers and their members."""

import logging
from typing import Any

import discord

from bot.discord.api import DiscordApi
from bot.discord.payloads import Payload, read_message

log = logging.getLogger(__name__)


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

    async def history(self, channel: int, before: int | None, limit: int) -> list[discord.Message]:
        """Return the newest messages (before an id), the oldest first; unreadable ones are left out."""

        async def read(client: discord.Client) -> list[discord.Message]:
            page: list[Payload] = list(await client.http.logs_from(channel, limit, before=before))
            place = client.get_partial_messageable(channel)
            return [each for data in reversed(page) if (each := _past_message(client, data, place))]

        return await self._api.request(read)


def _past_message(client: discord.Client, data: Payload, place: object) -> discord.Message | None:
    try:
        return read_message(client, data, lambda message, _: message, place)
    except Exception as error:  # discord.py indexes raw JSON; the other messages can still be read
        log.warning("history message not read", exc_info=error)
        return None
