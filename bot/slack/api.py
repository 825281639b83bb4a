"""Client of Slack's Web API for one workspace, with time limits and the errors of bot.chat."""

import contextlib
import io
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import aiohttp
from slack_sdk.http_retry.async_handler import AsyncRetryHandler
from slack_sdk.http_retry.builtin_async_handlers import (
    AsyncConnectionErrorRetryHandler,
    AsyncServerErrorRetryHandler,
)
from slack_sdk.web.async_client import AsyncWebClient

from bot.chat import Json, Unreachable, well_formed_json
from bot.platforms.download import Hosts, download
from bot.platforms.request_guard import trace_config
from bot.slack.block_text import word
from bot.slack.errors import translate_errors
from bot.slack.ids import Ids
from bot.slack.timing import Timing

SDK_LOG = logging.getLogger("bot.slack.sdk")
"""Logger of slack-sdk and Bolt. It needs its own level, because they treat "not set" as DEBUG and then print
every request. Not WARNING: at each start Bolt warns that it does not use SLACK_BOT_TOKEN."""
SDK_LOG.setLevel(logging.ERROR)

_PAGE = 200
_OF_ONE_WORKSPACE = frozenset({"usergroups.list", "users.conversations", "users.list"})
"""Methods that need a `team_id` with the token of a whole organisation."""

Call = Callable[..., Awaitable[Mapping[str, Json]]]
"""Function that calls a method of Slack's Web API with its arguments."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Identity of the bot on Slack, as `auth.test` returns it."""

    team_id: str
    team: str
    user_id: str
    bot_id: str
    url: str = ""
    """Address of the workspace, with a final slash."""
    user: str = ""
    """Name of the bot."""

    @property
    def names(self) -> frozenset[str]:
        """Return the bot's own names, as in ALLOWED_BOTS: it never answers itself."""
        return frozenset({f"slack:{self.user_id}", f"slack:{self.bot_id}"})


_UNNAMED = Ids()


class Account(Protocol):
    """Bot user of one workspace."""

    @property
    def name(self) -> str:
        """Return the name of its token for an operator, as in `bot.slack.errors`."""

    @property
    def ids(self) -> Ids:
        """Return the names of ids in its workspace."""

    async def token(self) -> str:
        """Return the token. Raises `PlatformError`, `Refused` if there is none."""

    async def identity(self) -> Identity | None:
        """Return the owner of the token, or None if only Slack knows. Raises as `token` does."""

    async def workspace_arguments(self) -> Mapping[str, str]:
        """Return the arguments that name the workspace, if the token does not. Raises as `token` does."""


@dataclass(frozen=True, slots=True)
class FixedAccount:
    """Account of the token in SLACK_BOT_TOKEN."""

    bot_token: str
    name: str = "SLACK_BOT_TOKEN"
    ids: Ids = _UNNAMED

    async def token(self) -> str:
        """Return the token."""
        return self.bot_token

    async def identity(self) -> Identity | None:
        """Return None: only Slack knows."""
        return None

    async def workspace_arguments(self) -> Mapping[str, str]:
        """Return nothing: the token is of one workspace."""
        return {}


@contextlib.asynccontextmanager
async def open_api(bot_token: str, api_url: str, timing: Timing) -> AsyncIterator["SlackApi"]:
    """Open the Web API with one token, on its own HTTP session; makes no request."""
    async with open_clients(api_url, timing) as clients:
        yield SlackApi(clients, FixedAccount(bot_token))


@contextlib.asynccontextmanager
async def open_clients(api_url: str, timing: Timing) -> AsyncIterator["Clients"]:
    """Open the clients that all workspaces share, on their own HTTP session; makes no request."""
    timeout = aiohttp.ClientTimeout(total=timing.request_timeout)
    async with aiohttp.ClientSession(timeout=timeout, trace_configs=[trace_config()]) as session:
        yield Clients(session, api_url)


class Clients:
    """Clients without a token: `reader` repeats failed requests, `writer` never does."""

    def __init__(self, session: aiohttp.ClientSession, api_url: str) -> None:
        self.session = session
        self.url = api_url
        self.file_hosts = Hosts(frozenset({"slack.com"}), origin=api_url)
        self.writer = _client(session, api_url, [])
        self.reader = _client(
            session,
            api_url,
            [
                AsyncConnectionErrorRetryHandler(max_retry_count=2),
                AsyncServerErrorRetryHandler(max_retry_count=2),
            ],
        )

    async def request_socket(self, app_token: str) -> str:
        """Return the address of a new socket. Raises `PlatformError`, also if the token may not open one.

        https://docs.slack.dev/reference/methods/apps.connections.open
        """
        answer = await call(self.reader, "apps.connections.open", {}, app_token, "SLACK_APP_TOKEN")
        address = word(answer.get("url"))
        if not address:
            raise Unreachable("Slack's answer to apps.connections.open names no address")
        return address


class SlackApi:
    """Web API as one account.

    After a dropped connection or a 5xx a message may have been posted, so a write then raises `Unreachable`.
    A 429 raises `RateLimited` at once: the caller decides what to do in the meantime.
    """

    def __init__(self, clients: Clients, account: Account) -> None:
        self.session = clients.session
        self.ids = account.ids
        self._clients = clients
        self._account = account
        self._who: Identity | None = None

    async def write(self, method: str, **arguments: Json) -> Mapping[str, Json]:
        """Call a method that changes something. Raises `PlatformError`."""
        token = await self._account.token()
        return await call(self._clients.writer, method, arguments, token, self._account.name)

    async def repeat(self, method: str, **arguments: Json) -> Mapping[str, Json]:
        """Call a method that is safe to call twice. Raises `PlatformError`."""
        token = await self._account.token()
        return await call(self._clients.reader, method, arguments, token, self._account.name)

    async def upload(self, url: str, content: bytes) -> None:
        """Send the content of a file to the address that Slack gave for it; safe to repeat.

        The request has no token: the address is the secret. Raises `Unreachable`.
        """
        with translate_errors("the upload of a file", self._account.name):
            async with self.session.post(url, data=io.BytesIO(content), allow_redirects=False) as response:
                if response.status != 200:
                    raise Unreachable(f"Slack did not accept the upload of a file: status {response.status}")

    async def download(self, url: str, most_bytes: int) -> bytes:
        """Return the content of a user's file. Raises `FileRefused`."""
        headers = {"Authorization": f"Bearer {await self._account.token()}"}
        return await download(url, self._clients.file_hosts, most_bytes, headers)

    async def read(self, method: str, **arguments: str | int) -> Mapping[str, Json]:
        """Call a method that changes nothing. Raises `PlatformError`."""
        token = await self._account.token()
        if method in _OF_ONE_WORKSPACE:
            arguments |= await self._account.workspace_arguments()
        with translate_errors(method, self._account.name):
            # most reading methods take no JSON: https://docs.slack.dev/apis/web-api/#posting-json
            response = await self._clients.reader.api_call(
                method, params=arguments, headers={"Authorization": f"Bearer {token}"}
            )
        return response.data if isinstance(response.data, dict) else {}

    async def identify(self) -> Identity:
        """Return the owner of the token, as Slack says. Raises `PlatformError`."""
        self._who = identity_of(await self.repeat("auth.test"))
        return self._who

    async def who(self) -> Identity:
        """Return the owner of the token, which Slack is asked for at most once."""
        return await self._account.identity() or self._who or await self.identify()


def identity_of(answer: Mapping[str, Json]) -> Identity:
    """Return the identity in an answer to `auth.test`. Raises `Unreachable`."""
    names = [word(answer.get(name)) for name in ("team_id", "team", "user_id", "bot_id", "url", "user")]
    if not names[2]:
        raise Unreachable("Slack's answer to auth.test names no user")
    return Identity(*names)


async def call(
    client: AsyncWebClient, method: str, arguments: Mapping[str, Json], token: str, name: str
) -> Mapping[str, Json]:
    """Call a method with a token that errors call `name`. Raises `PlatformError`."""
    content = well_formed_json(dict(arguments))
    with translate_errors(method, name):
        response = await client.api_call(method, json=content, headers={"Authorization": f"Bearer {token}"})
    return response.data if isinstance(response.data, dict) else {}


async def pages(call: Call, method: str, items: str, **arguments: str) -> AsyncIterator[Mapping[str, Json]]:
    """Yield all `items` that a method lists, page by page.

    https://docs.slack.dev/apis/web-api/pagination
    """
    cursor = ""
    while True:
        page = await call(method, limit=_PAGE, **arguments, **({"cursor": cursor} if cursor else {}))
        for item in page.get(items) or ():
            if isinstance(item, dict):
                yield item
        cursor = (page.get("response_metadata") or {}).get("next_cursor") or ""
        if not cursor:
            return


def _client(
    session: aiohttp.ClientSession, api_url: str, retry_handlers: list[AsyncRetryHandler]
) -> AsyncWebClient:
    client = AsyncWebClient(base_url=api_url, session=session, retry_handlers=retry_handlers, logger=SDK_LOG)
    # slack-sdk takes a proxy from HTTPS_PROXY and ignores NO_PROXY (slack_sdk/proxy_env_variable_loader.py)
    client.proxy = None
    return client
