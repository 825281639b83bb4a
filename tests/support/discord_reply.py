"""Unanswered question on Discord, and the messages that the bot has shown."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

from redis.asyncio import Redis

from bot.chat import Json, ThreadId
from bot.discord.platform import connect
from bot.discord.timing import Timing
from bot.inbox import Lookup
from bot.storage.coordination import RedisCoordination
from bot.storage.files import FileStore
from tests.servers.discord.service import Discord
from tests.support.files import QuestionRun
from tests.support.platforms import QUICK_DISCORD

QUICK = replace(QUICK_DISCORD, request_backoff=0.01)
"""Durations with which what fails is soon tried again."""


@contextlib.asynccontextmanager
async def ask_question(
    discord: Discord,
    redis: Redis,
    kind: str = "channel",
    timing: Timing = QUICK,
    more: Mapping[str, Json] | None = None,
) -> AsyncIterator[QuestionRun]:
    """Ask in a channel, a thread or a direct message while no bot listens; `more` is as in `Discord.say`."""
    channel = discord.world.dm(discord.alice) if kind == "dm" else discord.general
    if kind == "thread":
        channel = discord.start_thread(discord.alice, discord.general)
    message = await discord.say(discord.alice, channel, "draw it", more=more)
    guild = "dm" if kind == "dm" else str(discord.guild.id)
    place = {
        "guild": guild,
        "message": str(message.id),
        "kind": kind,
        "author": str(discord.alice.id),
    }
    thread = ThreadId("discord", guild, str(message.id if kind == "channel" else channel.id))
    async with connect(
        token=discord.token,
        api_url=discord.url,
        coordination=RedisCoordination(redis, "one"),
        lookup=Lookup(redis),
        files=FileStore(redis),
        catch_up_hours=24,
        shards=None,
        timing=timing,
    ) as platform:
        parent = str(channel.parent.id) if channel.parent else ""
        yield QuestionRun(platform, thread, str(channel.id), place, parent)


def messages_of(discord: Discord) -> list[tuple[str, list[str]]]:
    """Return the bot's messages: texts, and names of files."""
    everything = [each for channel in discord.world.channels.values() for each in discord.messages(channel)]
    own = [each for each in everything if each.author is discord.bot]
    return [(each.content, [file.name for file in each.attachments]) for each in own]
