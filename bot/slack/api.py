"""The calls we make to Slack's Web API, with bounded waiting and errors of our own."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from slack_sdk.http_retry.async_handler import AsyncRetryHandler
from slack_sdk.http_retry.builtin_async_handlers import (
    AsyncConnectionErrorRetryHandler,
    AsyncRateLimitErrorRetryHandler,
    AsyncServerErrorRetryHandler,
)
from slack_sdk.web.async_client import AsyncWebClient

from bot.chat import Json
from bot.slack.errors import translated

SDK_LOG = logging.getLogger("bot.slack.sdk")
"""What slack-sdk and Bolt log to. It needs a level of its own, because they take "not set" for DEBUG and
then print every request. Not WARNING: at each start Bolt warns that it does not use SLACK_BOT_TOKEN."""
SDK_LOG.setLevel(logging.ERROR)

REQUEST_TIMEOUT = 20.0
"""Seconds for one request. slack-sdk ignores its own `timeout` when the session is shared."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are on Slack, as `auth.test` says."""

    team_id: str
    team: str
    user_id: str
    bot_id: str


class SlackApi:
    """Three clients on one session: what may be repeated after any failure, after a 429, and never.

    A 429 means that nothing was done, so most calls are repeated after it. A dropped connection or a 5xx
    leaves open whether a message was posted, so a write is then given up with `Unreachable`.
    """

    def __init__(self, session: aiohttp.ClientSession, bot_token: str, api_url: str) -> None:
        self.session = session
        self._bot_token = bot_token
        self._who: Identity | None = None
        self._once = _client(session, api_url, [])
        self._writer = _client(session, api_url, [AsyncRateLimitErrorRetryHandler(max_retry_count=4)])
        self.reader = _client(
            session,
            api_url,
            [
                AsyncConnectionErrorRetryHandler(max_retry_count=2),
                AsyncRateLimitErrorRetryHandler(max_retry_count=2),
                AsyncServerErrorRetryHandler(max_retry_count=2),
            ],
        )

    async def write(self, method: str, **arguments: Json) -> Mapping[str, Json]:
        """Call a method that changes something. Raises `PlatformError`."""
        return await self._call(self._writer, method, arguments, self._bot_token, "SLACK_BOT_TOKEN")

    async def write_once(self, method: str, **arguments: Json) -> Mapping[str, Json]:
        """As `write`, but raises `RateLimited` at once, for what there is another way to do."""
        return await self._call(self._once, method, arguments, self._bot_token, "SLACK_BOT_TOKEN")

    async def read(self, method: str, **arguments: str | int) -> Mapping[str, Json]:
        """Call a method that changes nothing. Raises `PlatformError`; `RateLimited` after two waits."""
        with translated(method, "SLACK_BOT_TOKEN"):
            # most reading methods take no JSON: https://docs.slack.dev/apis/web-api/#posting-json
            response = await self.reader.api_call(
                method, params=arguments, headers={"Authorization": f"Bearer {self._bot_token}"}
            )
        return response.data if isinstance(response.data, dict) else {}

    async def identify(self) -> Identity:
        """Who the bot token belongs to. Raises `CredentialsRejected` or another `PlatformError`."""
        who = await self._call(self.reader, "auth.test", {}, self._bot_token, "SLACK_BOT_TOKEN")
        return Identity(
            who.get("team_id") or "", who.get("team") or "", who["user_id"], who.get("bot_id") or ""
        )

    async def who(self) -> Identity:
        """The same, asked only once."""
        if self._who is None:
            self._who = await self.identify()
        return self._who

    async def check_app_token(self, app_token: str) -> None:
        """Raise what Slack has against opening a socket; the address it gives is left unused."""
        await self._call(self.reader, "apps.connections.open", {}, app_token, "SLACK_APP_TOKEN")

    async def _call(
        self, client: AsyncWebClient, method: str, arguments: Mapping[str, Json], token: str, variable: str
    ) -> Mapping[str, Json]:
        with translated(method, variable):
            response = await client.api_call(
                method, json=dict(arguments), headers={"Authorization": f"Bearer {token}"}
            )
        return response.data if isinstance(response.data, dict) else {}


def _client(
    session: aiohttp.ClientSession, api_url: str, retry_handlers: list[AsyncRetryHandler]
) -> AsyncWebClient:
    client = AsyncWebClient(base_url=api_url, session=session, retry_handlers=retry_handlers, logger=SDK_LOG)
    # slack-sdk takes a proxy from HTTPS_PROXY and ignores NO_PROXY (slack_sdk/proxy_env_variable_loader.py)
    client.proxy = None
    return client
