"""The server's connections: how many there may be, and how long a request may take to arrive."""

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

from bot.http.errors import Handler, Refusal, not_now

log = logging.getLogger(__name__)

SERVER = "bot"
"""The `Server` header; aiohttp's own would name versions."""

_LINGER_SECONDS = 2.0
"""Time for reading on after a refusal that left a body unread: else the client could not read it."""


def _affordable() -> int:
    """Half of the files that this process may open, 1,000 at most: Redis and Postgres need the others."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1_000 if soft == resource.RLIM_INFINITY else min(1_000, soft // 2)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds on connections: their number, and how many seconds each may take.

    `head` is for the first line and the headers, `body` for a body, and more for a large one: as many as its
    size takes at `bytes_per_second`. `idle` is between two requests: longer than a proxy keeps a connection
    (nginx 60, Caddy 120, cloud load balancers up to 600), or its next request would meet a closed one.
    """

    connections: int = field(default_factory=_affordable)
    head: float = 10
    body: float = 10
    bytes_per_second: float = 512 << 10
    idle: float = 630


BOUNDS = web.AppKey("bounds", Bounds)


class Connection(web.RequestHandler):
    """A connection that is closed when the head of a request is late, or when its place is needed."""

    def __init__(self, connections: "Connections") -> None:
        bounds = connections.bounds
        super().__init__(
            connections.server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # none, as `web.AppRunner` takes it, too
            auto_decompress=False,  # a small body could become a huge one before anybody is asked who calls
            keepalive_timeout=bounds.idle,
            lingering_time=min(_LINGER_SECONDS, bounds.body),
        )
        self._connections = connections
        self._is_answering = False
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place, or refuse the connection with 503 when every other one is at work."""
        super().connection_made(transport)
        if self._connections.admit(self):
            self._expect_head()
        else:
            refusal = not_now("Too many requests are being answered. Try again in a moment.")
            assert isinstance(transport, asyncio.Transport)
            transport.write(_spelt(refusal))
            self.force_close()

    def data_received(self, data: bytes) -> None:
        """Start the clock at the first byte of a request, and stop it once its head is here.

        Not only when it is answered: after a hold-up of the loop the timer is due before that.
        """
        if not self._is_answering and self._late is None:
            self._expect_head()
        super().data_received(data)
        if self._messages:
            self._head_is_here()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Free the place."""
        self._head_is_here()
        self._connections.remove(self)
        super().connection_lost(exc)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Keep the place while a request is answered."""
        self._head_is_here()
        self._is_answering = True
        self._connections.remove_waiting(self)
        try:
            yield
        finally:
            self._is_answering = False
            self._connections.add_waiting(self)

    def drop(self) -> None:
        """End the connection without a word, whatever is still to be sent."""
        transport = self.transport
        self.force_close()
        if isinstance(transport, asyncio.Transport):
            transport.abort()

    def _expect_head(self) -> None:
        loop = asyncio.get_running_loop()
        self._late = loop.call_later(self._connections.bounds.head, self._be_late)

    def _be_late(self) -> None:
        log.debug("request head late", extra={"remote": self.peername})
        self.drop()

    def _head_is_here(self) -> None:
        if self._late:
            self._late.cancel()
            self._late = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what cannot be read as a request; an error of ours keeps its trace in the log."""
        if isinstance(exc, HttpProcessingError):
            # not its text, which quotes what was sent
            log.info("malformed request", extra={"remote": request.remote, "error": type(exc).__name__})
            response: web.StreamResponse = Refusal(400, "This is not a valid HTTP request.").response()
            response.force_close()
        else:
            response = super().handle_error(request, status, exc, message)
        response.headers[hdrs.SERVER] = SERVER
        return response


class Connections:
    """All connections of a server, `bounds.connections` at most.

    A new one takes the place of the one that has waited longest without a request under way, so that
    connections which never send one cannot keep others out.
    """

    def __init__(self, server: web.Server, bounds: Bounds) -> None:
        server.request_factory = _by_path(server.request_factory)
        self.server = server
        self.bounds = bounds
        self._open: set[Connection] = set()
        self._waiting: dict[Connection, None] = {}
        self._is_full = False

    def __call__(self) -> Connection:
        """Make the protocol of a new connection."""
        return Connection(self)

    def admit(self, new: Connection) -> bool:
        """Take `new` in, if there is a place or one can be made."""
        is_full = len(self._open) >= self.bounds.connections
        if is_full and not self._is_full:
            log.warning("too many connections", extra={"most": self.bounds.connections})
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
        """Forget a connection that is closed."""
        self._open.discard(connection)
        self._waiting.pop(connection, None)

    def remove_waiting(self, connection: Connection) -> None:
        """Keep the place of a connection: it has sent a request."""
        self._waiting.pop(connection, None)

    def add_waiting(self, connection: Connection) -> None:
        """Give the place of a connection away if it is needed: its request is answered."""
        if connection in self._open:
            self._waiting[connection] = None


def _by_path(make: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """Make requests without the host that their target may name: aiohttp fails at some that are none.

    The guard compares it with the Host header.
    """

    def factory(message: RawRequestMessage, *others: Any) -> web.BaseRequest:
        url = message.url.relative() if message.url.absolute else message.url
        return make(message._replace(url=url), *others)

    return factory


@web.middleware
async def keep_connection(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Keep the connection while its request is answered; close it when some of the body was not read."""
    connection = request.protocol
    assert isinstance(connection, Connection)
    with connection.answering():
        response = await handler(request)
    if request.can_read_body and not response.prepared:
        response.force_close()
    return response


def _spelt(refusal: Refusal) -> bytes:
    """Write a refusal out where there is no request that aiohttp could answer."""
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
