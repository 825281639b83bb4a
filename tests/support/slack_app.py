"""The whole bot as an app that users install in workspaces of Slack, with a browser that installs it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from pydantic import SecretStr
from redis.asyncio import Redis

from bot.app import Bot
from bot.config.encryption import parse_keys
from bot.storage.vault import RedisVault
from tests.servers.slack.app import SlackApp, Tenant
from tests.support.bot import http_port, run_bot
from tests.support.platforms import platforms_with

KEY = "0" * 63 + "1"


_PLATFORMS = platforms_with()


def of_app(slack: SlackApp, *, is_socket_mode: bool = False) -> dict[str, Any]:
    """Return the settings of the app."""
    return {
        "slack_client_id": slack.oauth.client_id,
        "slack_client_secret": slack.oauth.client_secret,
        "slack_signing_secret": slack.signing_secret,
        "slack_app_token": slack.app_token if is_socket_mode else None,
        "slack_api_url": slack.api_url,
        "encryption_key": KEY,
    }


@asynccontextmanager
async def run_app(
    slack: SlackApp, platforms: Any = _PLATFORMS, *, is_socket_mode: bool = False, **settings: Any
) -> AsyncIterator[Bot]:
    """Run the bot, and let the server deliver events to it."""
    chosen = of_app(slack, is_socket_mode=is_socket_mode) | settings
    async with run_bot(platforms, **chosen) as bot:
        if is_socket_mode:
            await slack.wait_for_connections(2)
        else:
            slack.request_url = f"{address(bot)}/slack/events"
        yield bot


def address(bot: Bot) -> str:
    """Return the base of the bot's addresses."""
    return f"http://127.0.0.1:{http_port(bot)}"


@asynccontextmanager
async def browser(bot: Bot) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a browser of one user, which keeps cookies and takes the bot's address for a secure one."""
    jar = aiohttp.CookieJar(unsafe=True, treat_as_secure_origin=address(bot))
    async with aiohttp.ClientSession(cookie_jar=jar, trust_env=False) as session:
        yield session


async def install(bot: Bot, slack: SlackApp, *tenants: Tenant, organisation: str | None = None) -> str:
    """Install the app as a user of a workspace; return the page at the end."""
    slack.choose(*tenants, organisation=organisation)
    slack.oauth.redirect_url = f"{address(bot)}/slack/oauth_redirect"
    async with browser(bot) as session, session.get(f"{address(bot)}/slack/install") as page:
        return f"{page.status} {await page.text()}"


def vault(redis: Redis, key: str = KEY) -> RedisVault:
    """Return the vault of the bot under test."""
    return RedisVault(redis, parse_keys(SecretStr(key).get_secret_value()), "slack")
