"""HTTP server under attack, and requests as raw bytes."""

import logging
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import web
from redis.asyncio import Redis

from bot.http.connections import Bounds
from bot.platforms.receiver import Webhook
from tests.support.http_server import HttpServer, http_server

TOKEN = "a-token-of-sixteen"
HASTY = Bounds(connections=50, head=1, body=0.2, bytes_per_second=1e12, idle=0.5)
"""Bounds under which a test of slowness is soon over."""

ROUTES = [
    ("POST", "/chat"),
    ("POST", "/redis/direct"),
    ("POST", "/approvals/7f3a9c21"),
    ("POST", "/hook"),
    ("GET", "/health"),
    ("GET", "/usage"),
    ("GET", "/files/" + "0" * 32),
    ("GET", "/page/app.js"),
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/"),
]


async def hook(request: web.Request) -> web.Response:
    """Take what is mounted, and look at its type, as is done with Slack's requests."""
    await request.read()
    assert request.content_type
    return web.Response(text="taken")


@pytest.fixture
async def server(redis: Redis) -> AsyncIterator[HttpServer]:
    """Yield a server with a token, a mounted path and short bounds."""
    async with http_server(redis, api_token=TOKEN, webhooks={"/hook": Webhook(hook)}, bounds=HASTY) as it:
        yield it


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Assert that no attack is an error in the log, or leaves a trace there."""
    caplog.set_level(logging.DEBUG, "aiohttp.server")
    yield
    loud = [each for each in caplog.records if each.levelno >= logging.ERROR or each.exc_info]
    assert not loud, [(each.name, each.getMessage(), each.exc_info) for each in loud]


def request(
    target: str | bytes = "/chat",
    *headers: str | bytes,
    method: str = "POST",
    body: bytes = b"",
    host: str = "localhost",
    token: str = TOKEN,
    kind: str = "application/json",
    length: str | None = "",
) -> bytes:
    """Spell a request; `length` is the Content-Length, the body's own when empty, and none when None."""
    lines = [
        method.encode() + b" " + _bytes(target) + b" HTTP/1.1",
        *([f"Host: {host}".encode()] if host else []),
        *([f"Authorization: Bearer {token}".encode()] if token else []),
        *([f"Content-Type: {kind}".encode()] if kind else []),
        *([f"Content-Length: {length or len(body)}".encode()] if length is not None else []),
        b"Connection: close",
        *map(_bytes, headers),
    ]
    return b"\r\n".join([*lines, b"", body])


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


GOOD = request(body=b'{"message": "still here"}')


async def is_well(server: HttpServer) -> bool:
    """Return whether a good request is answered."""
    return b'"response": "still here"' in await server.exchange(GOOD)
