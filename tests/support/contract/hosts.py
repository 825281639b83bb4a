"""Hosts of a story: the servers and the bot of each platform, once for all stories."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from redis.asyncio import Redis

from bot.slack.rate_limits import PER_MINUTE
from tests.servers.discord.service import Discord
from tests.servers.model import ModelServer
from tests.servers.slack.service import BOB, Slack
from tests.support.contract.discord_place import DiscordPlace
from tests.support.contract.feature import Kind
from tests.support.contract.place import Place
from tests.support.contract.running_bot import RunningBot
from tests.support.contract.slack_place import SlackPlace
from tests.support.platforms import QUICK_DISCORD, platforms_with
from tests.support.settings import of_discord, of_model, of_slack
from tests.support.table import Shelf

PLATFORMS = platforms_with(
    replace(QUICK_DISCORD, presence_interval=0.2),
    slack_per_minute={name: 100 * number for name, number in PER_MINUTE.items()},
)
"""Platforms whose stories follow one another faster than those of users."""


@asynccontextmanager
async def open_place(
    kind: Kind, storage: Mapping[str, Any], model: ModelServer, redis: Redis, shelf: Shelf
) -> AsyncIterator[Place]:
    """Yield a place with a bot; it fails if a server had to refuse a request."""
    common = {
        **storage,
        **of_model(model),
        "database_write_url": shelf.dsn,
        "sql_writes": "approval",
        "shutdown_grace": 0,
    }
    opened = _discord if kind == "Discord" else _slack
    async with opened(kind, common, model, redis, shelf) as place:
        await place.bot.start()
        try:
            await place.connect()
            yield place
        finally:
            await place.bot.stop()
    assert not model.violations


@asynccontextmanager
async def _slack(
    kind: Kind, settings: dict[str, Any], model: ModelServer, redis: Redis, shelf: Shelf
) -> AsyncIterator[Place]:
    async with Slack(ack_timeout=3, redelivery_delays=(0.2, 0.5, 1)) as slack:
        settings |= of_slack(slack, is_http=kind == "Slack, HTTP") | _roles(f"slack:{BOB}")
        yield SlackPlace(slack, model, redis, shelf, RunningBot(PLATFORMS, settings))
        assert not slack.violations, slack.violations


@asynccontextmanager
async def _discord(
    kind: Kind, settings: dict[str, Any], model: ModelServer, redis: Redis, shelf: Shelf
) -> AsyncIterator[Place]:
    async with Discord() as discord:
        discord.starts.seconds = 0.1
        discord.limit("send", 50, 1)
        discord.bob.administrator = True
        settings |= of_discord(discord) | _roles(f"discord:{discord.bob.id}")
        yield DiscordPlace(discord, model, redis, shelf, RunningBot(PLATFORMS, settings))
        assert not discord.violations, discord.violations


def _roles(user: str) -> dict[str, Any]:
    return {"admin_users": user, "approvers": user}
