"""Connection limits of the server: number of connections, and time for a request to arrive."""

import asyncio
import logging
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import hdrs, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError

from bot.http import texts
from bot.http.errors import Handler, Refusal, not_now

log = logging.getLogger(__name__)

SERVER = "bot"
"""Value of the `Server` header; aiohttp's default would name versions."""

_LINGER_SECONDS = 2.0
"""Seconds of reading on after a refusal that left a body unread: else the client could not read it."""


def _connection_limit() -> int:
    """Return half of the files that this process may open, at most 1,000: Redis and Postgres need some."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1_000 if soft == resource.RLIM_INFINITY else min(1_000, soft // 2)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of connections: their number, and seconds for each phase.

    `head` is for the first line and the headers; `body` for a body, plus its size at `bytes_per_second`;
    `idle` between two requests, longer than a proxy keeps a connection (nginx 60, Caddy 120, cloud load
    balancers up to 600), or its next request would meet a closed one.
    """

    connections: int = field(default_factory=_connection_limit)
    head: float = 10
    body: float = 10
    bytes_per_second: float = 512 << 10
    idle: float = 630


BOUNDS = web.AppKey("bounds", Bounds)


class Connection(web.RequestHandler):
    """Connection that is closed if the head of a request is late, or if its place is needed."""

    def __init__(self, connections: "Connections") -> None:
        bounds = connections.bounds
        super().__init__(
            connections.server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # none, as `web.AppRunner` takes it, too
            auto_decompress=False,  # a small body could become a huge one before authentication
            keepalive_timeout=bounds.idle,
            lingering_time=min(_LINGER_SECONDS, bounds.body),
        )
        self._connections = connections
        self._is_answering = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place, or refuse the connection with 503 if all others answer requests."""
        super().connection_made(transport)
        if self._connections.admit(self):
            self._start_timer()
        else:
            assert self.transport is not None  # set by now; its class depends on the event loop
            self.transport.write(_to_bytes(not_now(texts.TOO_MANY_REQUESTS)))
            self.force_close()

    def data_received(self, data: bytes) -> None:
        """Start the timer at the first byte of a request, and stop it once its head is complete.

        The handler would stop it too late: after a delay of the event loop the timer is due first.
        """
        if not self._is_answering and self._timer is None:
            self._start_timer()
        super().data_received(data)
        if self._messages:
            self._cancel_timer()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Free the place."""
        self._cancel_timer()
        self._connections.remove(self)
        super().connection_lost(exc)

    @contextmanager
    def keep_place(self) -> Iterator[None]:
        """Keep the place while a request is answered."""
        self._cancel_timer()
        self._is_answering = True
        self._connections.remove_waiting(self)
        try:
            yield
        finally:
            self._is_answering = False
            self._connections.add_waiting(self)

    def drop(self) -> None:
        """Abort the connection without a response."""
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()

    def _start_timer(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._connections.bounds.head, self._on_timeout)

    def _on_timeout(self) -> None:
        log.debug("request head late", extra={"remote": self.peername})
        self.drop()

    def _cancel_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a malformed request with 400; other errors are logged with their traceback."""
        if isinstance(exc, HttpProcessingError):
            # not its text, which quotes the request
            log.info(
                "malformed request received", extra={"remote": request.remote, "error": type(exc).__name__}
            )
            response: web.StreamResponse = Refusal(400, texts.MALFORMED).response()
            response.force_close()
        else:
            response = super().handle_error(request, status, exc, message)
        response.headers[hdrs.SERVER] = SERVER
        return response


class Connections:
    """All connections of a server, at most `bounds.connections`.

    A new one takes the place of the one that has been idle longest, so that idle connections cannot keep
    others out.
    """

    def __init__(self, server: web.Server, bounds: Bounds) -> None:
        server.request_factory = _by_path(server.request_factory)
        self.server = server
        self.bounds = bounds
        self._open: set[Connection] = set()
        self._waiting: dict[Connection, None] = {}
        self._is_full = False

    def __call__(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(self)

    def admit(self, new: Connection) -> bool:
        """Register `new` if there is a place or an idle connection to drop; return True if so."""
        is_full = len(self._open) >= self.bounds.connections
        if is_full and not self._is_full:
            log.warning("connection limit reached", extra={"most": self.bounds.connections})
        self._is_full = is_full
        if is_full:
            oldest = next(iter(self._waiting), None)
            if oldest is None:
                return False
            self.remove(oldest)
            oldest.drop()
        self._open.add(new)
        self._waiting[new] = None
        return True

    def remove(self, connection: Connection) -> None:
        """Remove a closed connection."""
        self._open.discard(connection)
        self._waiting.pop(connection, None)

    def remove_waiting(self, connection: Connection) -> None:
        """Mark a connection as busy: its place is kept."""
        self._waiting.pop(connection, None)

    def add_waiting(self, connection: Connection) -> None:
        """Mark a connection as idle: its place may be given to another."""
        if connection in self._open:
            self._waiting[connection] = None


def _by_path(make: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """Build requests without the host in their target, because aiohttp fails at invalid ones.

    The guard compares that host with the Host header.
    """

    def factory(message: RawRequestMessage, *others: Any) -> web.BaseRequest:
        url = message.url.relative() if message.url.absolute else message.url
        return make(message._replace(url=url), *others)

    return factory


@web.middleware
async def keep_connection(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Keep the connection while its request is answered; close it if the body was not read completely."""
    connection = request.protocol
    assert isinstance(connection, Connection)
    with connection.keep_place():
        response = await handler(request)
    if request.can_read_body and not response.prepared:
        response.force_close()
    return response


def _to_bytes(refusal: Refusal) -> bytes:
    """Return a refusal as bytes, for a connection without a request that aiohttp could answer."""
    body = refusal.response().body
    assert isinstance(body, bytes)
    headers = {
        hdrs.CONTENT_TYPE: "application/json",
        hdrs.CONTENT_LENGTH: str(len(body)),
        hdrs.CONNECTION: "close",
        hdrs.SERVER: SERVER,
        **refusal.headers,
    }
    lines = [f"HTTP/1.1 {refusal.status} Refused", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body
