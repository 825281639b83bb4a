"""Server behind `tests.servers.slack.service.Slack`: routes, life cycle and delivery."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler

from tests.servers.closing import take_up_connections
from tests.servers.slack.api import WebApi, drop
from tests.servers.slack.delivery import (
    Courier,
    Delivery,
    Kind,
    Transport,
)
from tests.servers.slack.payloads import event_callback, message_events, subscription
from tests.servers.slack.requests import RequestUrl, ResponseUrls
from tests.servers.slack.socket_mode import SocketMode
from tests.servers.slack.workspace import (
    ALICE,
    BOB,
    BOT_USER,
    CAROL,
    GENERAL,
    Change,
    Channel,
    ChannelKind,
    Message,
    Workspace,
)
from tests.servers.steps import Steps
from tests.support.wait import wait_until

Json = Any

PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
"""Proxy variables that slack_sdk obeys, ignoring NO_PROXY: clear them so that the SDK reaches this server."""


class SlackServer:
    """Everything except the actions of tests."""

    def __init__(
        self,
        *,
        bot_token: str = "xoxb-test-bot",
        app_token: str = "xapp-test-app",
        signing_secret: str = "test-signing-secret",
        ack_timeout: float = 3.0,
        redelivery_delays: Sequence[float] = (0.0, 60.0, 300.0),
    ) -> None:
        self.bot_token = bot_token
        self.app_token = app_token
        self.signing_secret = signing_secret
        self.request_url: str | None = None
        self.workspace = Workspace("")
        self.web_api = WebApi(self.workspace, {bot_token: "bot", app_token: "app"})
        self.violations = self.web_api.violations
        self.socket_mode = SocketMode(self.violations.append)
        self.response_urls = ResponseUrls(self.violations.append)
        self.courier = Courier(ack_timeout, redelivery_delays)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stack = AsyncExitStack()
        self._settle_in()

    def _settle_in(self) -> None:
        """Connect the workspace with the server, and let people and a channel come into being."""
        self.workspace.on_change = self._announce
        self.workspace.violate = self.violations.append
        self.workspace.issue_socket_url = lambda: self.socket_mode.issue_url(self.url)
        for user in (ALICE, BOB, CAROL):
            self.workspace.users[user] = user.removeprefix("U0").lower()
        self.add_channel(GENERAL)

    # --- life cycle

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 2**20, middlewares=[self._break_off])
        app.router.add_route("*", "/api/{method}", self.web_api.handle)
        app.router.add_get("/oauth/v2/authorize", self.web_api.oauth.authorize)
        app.router.add_get("/link/", self.socket_mode.handle)
        app.router.add_post("/response/{secret}", self.response_urls.handle)
        app.router.add_post("/upload/v1/{file}", self._upload)
        app.router.add_get("/files-pri/{file}/download/{name}", self._download)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        self._stack.push_async_callback(take_up_connections)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.workspace.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        # trust_env is off: a proxy in the environment must not see loopback requests
        self._session = await self._stack.enter_async_context(aiohttp.ClientSession(trust_env=False))
        return self

    async def __aexit__(
        self, type_: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.socket_mode.close()
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            self._tasks.discard(task)  # one that failed stays, and is raised at the end

    # --- for the app

    @property
    def url(self) -> str:
        return self.workspace.base

    @property
    def api_url(self) -> str:
        """Return the base of the Web API with a final slash, as the SDK needs it."""
        return f"{self.url}/api/"

    @property
    def bot_user(self) -> str:
        return BOT_USER

    @property
    def mention(self) -> str:
        """Return the text that mentions the bot."""
        return f"<@{BOT_USER}>"

    @property
    def environ(self) -> dict[str, str]:
        """Return the variables for a bot in a child process; HTTP mode if `request_url` is set."""
        common = {"SLACK_BOT_TOKEN": self.bot_token, "SLACK_API_URL": self.api_url}
        if self.request_url:
            common["SLACK_SIGNING_SECRET"] = self.signing_secret
        else:
            common["SLACK_APP_TOKEN"] = self.app_token
        return common | dict.fromkeys(PROXY_VARIABLES, "")

    def add_channel(
        self,
        id: str,
        kind: ChannelKind = "channel",
        members: Iterable[str] = (ALICE, BOB, CAROL, BOT_USER),
    ) -> str:
        """Create a channel; the bot is in it only if `BOT_USER` is among the members."""
        name = id.removeprefix("C0").lower()
        self.workspace.add_channel(Channel(id, name, kind, set(members)))
        return id

    def add_bot(self, user: str, bot_id: str) -> str:
        """Turn `user` into another app's bot: its messages carry `bot_id` from now on."""
        self._know(user)
        self.workspace.bots[user] = bot_id
        return user

    def dm(self, user: str) -> str:
        """Return the id of the direct channel of `user` and the bot."""
        self._know(user)
        return self.workspace.im(user).id

    def _know(self, user: str) -> None:
        self.workspace.users.setdefault(user, user.removeprefix("U0").lower())

    def observe(self, steps: Steps) -> None:
        """Report each call of the Web API (by its method) and each acknowledgement on a socket."""
        self.web_api.steps = self.socket_mode.steps = steps

    # --- routes

    @web.middleware
    async def _break_off(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        return drop(request) if self.web_api.outage == "unreachable" else await handler(request)

    async def _upload(self, request: web.Request) -> web.Response:
        """Handle the second step of an upload: the raw bytes."""
        files = (each.files.get(request.match_info["file"]) for each in self._all_workspaces())
        file = next(filter(None, files), None)
        data = await request.read()
        if file is None or len(data) != file.length:
            self.violations.append(f"upload: {len(data)} bytes do not fit what was announced")
            return web.Response(status=400)
        file.data = data
        return web.Response(text=f"OK - {len(data)}")

    async def _download(self, request: web.Request) -> web.Response:
        """Return a file; without the bot's token Slack shows its sign-in page with status 200."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        workspace = self.web_api.workspaces.get(token, self.workspace)
        file = workspace.files.get(request.match_info["file"].partition("-")[2])
        if self.web_api.tokens.get(token) != "bot" or token in self.web_api.revoked:
            self.violations.append("download: without the bot's token")
            return web.Response(text="<html>Sign in to Slack</html>", content_type="text/html")
        if file is None or file.data is None:
            return web.Response(status=404)
        return web.Response(body=file.data, content_type=file.mimetype)

    def _all_workspaces(self) -> list[Workspace]:
        return [self.workspace, *self.web_api.workspaces.values()]

    # --- delivery

    def _announce(
        self, change: Change, message: Message, before: str, *, copies: int = 1, mention_last: bool = False
    ) -> None:
        events = message_events(self.workspace, change, message, before)
        events = [each for each in events if subscription(each) in self.web_api.subscriptions]
        for event in reversed(events) if mention_last else events:
            channel = self.workspace.channels[message.channel]
            payload = event_callback(self.workspace, event, is_shared=channel.is_shared)
            payload["team_id"] = (channel.teams or [self.workspace.team])[0]  # of the host
            for _ in range(copies):
                self._deliver("events_api", payload)

    def _deliver(self, kind: Kind, payload: dict[str, Json]) -> Delivery:
        delivery = Delivery(kind, payload)
        self.courier.deliveries.append(delivery)
        transport: Transport = self._request_url() if self.request_url else self.socket_mode
        self._spawn(self.courier.deliver(delivery, transport))
        return delivery

    def _request_url(self) -> RequestUrl:
        assert self.request_url is not None
        return RequestUrl(self._session, self.request_url, self.signing_secret)

    @property
    def deliveries(self) -> list[Delivery]:
        """Return every payload so far, with its attempts."""
        return self.courier.deliveries

    async def wait_until_settled(self, timeout: float = 30) -> None:
        """Wait until every payload is acknowledged or given up."""
        await wait_until(lambda: not self.courier.open(), "every delivery has ended", timeout)
