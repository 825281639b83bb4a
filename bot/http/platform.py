"""HTTP server as a chat platform."""

import asyncio
import errno
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from aiohttp import hdrs, web

from bot.chat import (
    ConversationStore,
    CredentialsRejected,
    Deliver,
    Files,
    Health,
    Hook,
    InboxLookup,
    Json,
    Thread,
    ThreadId,
)
from bot.commands.commands import Commands
from bot.http import hooks, openapi, texts
from bot.http.auth import (
    PROBES,
    add_security_headers,
    check_exposure,
    guard,
)
from bot.http.bodies import MAX_BODY_BYTES, MAX_TYPE_CHARS, receive
from bot.http.chat import Conversation
from bot.http.connections import BOUNDS, Bounds, Connections, keep_connection
from bot.http.credentials import Credentials
from bot.http.detached import DetachedHttp
from bot.http.errors import Handler, Refusal, errors_as_json, not_now
from bot.http.health import Probes
from bot.http.replies import Replies
from bot.http.routes import build_routes, hook_route
from bot.http.schemas import Welcome
from bot.http.thread import HttpThread
from bot.http.threads import ThreadRoutes, keep_forgetting
from bot.http.timing import Timing
from bot.platforms.receiver import Webhook

log = logging.getLogger(__name__)

PAGE = Path(__file__).with_name("page")

_SMALL_BYTES = 64 << 10
_LARGE_AT_ONCE = 32
"""Most large bodies that may arrive concurrently at webhooks."""


class Http(DetachedHttp):
    """HTTP platform with a server; its `ThreadId`s are `http:<caller>:<thread_id>`."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        credentials: Credentials,
        lookup: InboxLookup,
        files: Files,
        conversations: ConversationStore,
        timing: Timing,
        bounds: Bounds | None = None,
        senders: Sequence[Hook] = (),
    ) -> None:
        """Listen on `host` and `port` (0: any free port) in `serve`."""
        super().__init__(files, conversations)
        self._host = host
        self.port = port
        """Port of the server; 0 until it has taken a free one."""
        self._credentials = credentials
        self._timing = timing
        self._bounds = bounds or Bounds()
        self._replies = Replies()
        self._conversation = Conversation(self._replies, lookup, files, conversations, timing)
        self._threads = ThreadRoutes(conversations, lookup, self._conversation)
        self._hooks = hooks.Hooks(senders, timing)

    @property
    def webhooks(self) -> Mapping[str, Webhook]:
        """Return the address of the hooks, if there are any."""
        return {hooks.PATH: Webhook(self._hooks.handle)} if self._hooks else {}

    @asynccontextmanager
    async def serve(
        self, commands: Commands, webhooks: Mapping[str, Webhook], welcome: Welcome | None = None
    ) -> AsyncIterator[str | None]:
        """Serve until the context is left; yield the address of the page on this machine, if it is served.

        On exit, waiting callers get 503. Raises `CredentialsRejected` for settings that cannot work.
        """
        check_exposure(self._host, self._credentials)
        if webhooks and not self._credentials:
            log.warning("api token not set", extra={"served": [*sorted(webhooks), *sorted(PROBES)]})
        runner = web.AppRunner(
            self._build_app(commands, webhooks, welcome or Welcome()),
            shutdown_timeout=self._timing.close_timeout,
        )
        await runner.setup()
        assert runner.server is not None
        connections = Connections(runner.server, self._bounds)
        try:
            async with _listen(connections, self._host, self.port) as self.port:
                address = local_address(self._host, self.port)
                log.info("listening", extra={"page": address})
                serves_page = bool(self._credentials) or not webhooks  # as the guard decides it
                yield address if serves_page else None
        finally:
            await runner.cleanup()

    def _build_app(
        self, commands: Commands, webhooks: Mapping[str, Webhook], welcome: Welcome
    ) -> web.Application:
        app = web.Application(
            middlewares=[keep_connection, errors_as_json, guard(self._credentials, webhooks)],
            client_max_size=MAX_BODY_BYTES,
        )
        app[BOUNDS] = self._bounds
        app.on_response_prepare.append(add_security_headers)
        probes = Probes(
            commands, is_receiving=lambda: self._conversation.is_open, max_age=self._timing.ready_max_age
        )
        routes = build_routes(self._conversation, self._threads, probes, commands, self._files, welcome)
        app.add_routes([*_page_routes(), *(each.definition for each in routes)])
        described = [*routes, hook_route(self._hooks)] if self._hooks else routes
        app.add_routes([web.get(openapi.PATH, openapi.Document(described).send)])
        large = asyncio.Semaphore(_LARGE_AT_ONCE)
        app.add_routes([web.route("*", path, _bounded(each, large)) for path, each in webhooks.items()])
        app.on_shutdown.append(self._release_callers)
        return app

    async def _release_callers(self, _: web.Application) -> None:
        self._replies.abandon()

    async def receive(self, deliver: Deliver, commands: Commands) -> None:
        """Accept chat messages until cancelled; at other times `POST /chat` returns 503."""
        with self._conversation.open(deliver, commands), self._hooks.open(deliver):
            if commands.eraser:
                await keep_forgetting(self._conversations, commands.eraser, self._timing.forget_interval)
            await asyncio.Event().wait()

    def thread(self, id: ThreadId) -> Thread:
        """Return the thread; its callers are found by the messages of a turn, so `id` is not needed."""
        return HttpThread(self._replies, self._conversations)

    async def health(self) -> Health:
        """Report `ok` while messages are accepted; the socket cannot close before the server does."""
        evidence: dict[str, Json] = {"port": self.port, "answers_under_way": len(self._replies)}
        if self._conversation.last_message_at is not None:
            silence = time.monotonic() - self._conversation.last_message_at
            evidence["seconds_since_last_message"] = round(silence, 1)
        state: Literal["ok", "down"] = "ok" if self._conversation.is_open else "down"
        return Health(name=self.name, state=state, evidence=evidence)


def _page_routes() -> list[web.AbstractRouteDef]:
    files = {path.relative_to(PAGE).as_posix(): path for path in PAGE.rglob("*.*") if path.is_file()}

    async def index(request: web.Request) -> web.FileResponse:
        return web.FileResponse(files["index.html"])

    async def page_file(request: web.Request) -> web.FileResponse:
        path = files.get(request.match_info["name"])
        if path is None:
            raise web.HTTPNotFound
        return web.FileResponse(path)

    return [web.get("/", index), web.get("/page/{name:.+}", page_file)]


def _bounded(webhook: Webhook, large: asyncio.Semaphore) -> Handler:
    """Return the handler of a webhook, which reads the body within limits: its sender is not authenticated.

    Only as many bodies as `large` has places for may be large, so that strangers cannot fill the memory on
    all connections.
    """

    async def bounded(request: web.Request) -> web.StreamResponse:
        if request.method != webhook.method:
            raise web.HTTPMethodNotAllowed(request.method, [webhook.method])
        if len(request.headers.get(hdrs.CONTENT_TYPE, "")) > MAX_TYPE_CHARS:
            raise Refusal(415, texts.long_type(MAX_TYPE_CHARS))
        length = request.content_length if request.body_exists else 0
        if length is not None and length <= _SMALL_BYTES:
            await receive(request)
        elif large.locked():
            raise not_now(texts.TOO_MANY_LARGE)
        else:
            async with large:
                await receive(request)
        return await webhook.handle(request)

    return bounded


def local_address(host: str, port: int) -> str:
    """Return the address by which a browser on this machine reaches a server that listens on `host`."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not bound
    return f"http://[{reached}]:{port}/" if ":" in reached else f"http://{reached}:{port}/"


@asynccontextmanager
async def _listen(connections: Connections, host: str, port: int) -> AsyncIterator[int]:
    """Accept connections until the context is left; yield the port."""
    try:
        server = await asyncio.get_running_loop().create_server(connections, host, port)
    except OSError as error:
        raise CredentialsRejected(_listen_error(host, port, error)) from error
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


def _listen_error(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"HTTP_PORT={port} is in use on {host}: stop the program that uses it, or choose another port"
    if error.errno == errno.EACCES:
        return f"HTTP_PORT={port} needs more permissions than this user has: choose a port above 1023"
    reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
    return f"HTTP_HOST={host} is not an address to listen on: {reason}"
