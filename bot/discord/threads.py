"""Threads: started from a message, and reopened.

https://discord.com/developers/docs/topics/threads
"""

import discord
from discord.http import Route

from bot.chat import Json
from bot.discord.api import DiscordApi
from bot.discord.errors import ThreadLocked
from bot.platforms.request_guard import Hold

_THREAD_EXISTS = 160004


async def start_thread(api: DiscordApi, channel: int, message: int, name: str, *, hold: Hold) -> int:
    """Start a thread from a message, or find the existing one; it has the message's id.

    It is archived after the time that the channel sets. discord.py would name a time of its own.
    """
    path = "/channels/{channel_id}/messages/{message_id}/threads"
    route = Route("POST", path, channel_id=channel, message_id=message)

    async def start(client: discord.Client) -> int:
        try:
            await client.http.request(route, json={"name": name})
        except discord.HTTPException as error:
            if error.code != _THREAD_EXISTS:
                raise
        return message

    return await api.request(start, hold)


async def reopen_thread(api: DiscordApi, thread: int, *, hold: Hold) -> None:
    """Reopen an archived thread. Raises `ThreadLocked` if a moderator has locked it, and `PlatformError`."""

    async def reopen(client: discord.Client) -> None:
        found: Json = await client.http.get_channel(thread)
        state = found.get("thread_metadata") or {}
        if state.get("locked"):
            raise ThreadLocked("the thread is archived and locked")
        if state.get("archived"):
            await client.http.edit_channel(thread, archived=False)

    await api.request(reopen, hold)
