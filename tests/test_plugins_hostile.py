"""A hostile MCP server: nothing that it answers takes more memory or time than one answer may."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from redis.asyncio import Redis

from bot.tools.plugins import mcp_http
from tests.support.plugins import (
    call_tool,
    is_up,
    start_plugins,
    stdio,
)
from tests.support.wait import wait_until

_MOST = 64 << 10


class Hostile:
    """Offers the tool `talk`, whose answer never ends; `is_hung_up` tells that nobody listens any more."""

    def __init__(self, headers: dict[str, str], begin: bytes, again: bytes) -> None:
        self.headers, self.begin, self.again = headers, begin, again
        self.is_hung_up = False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Be an MCP server, as far as a client has to believe it."""
        if request.method != "POST":
            return web.Response(status=405)
        asked = await request.json()
        results: dict[str, Any] = {
            "initialize": {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "hostile", "version": "1"},
            },
            "tools/list": {"tools": [{"name": "talk", "inputSchema": {"type": "object"}}]},
        }
        if result := results.get(asked["method"]):
            return web.json_response({"jsonrpc": "2.0", "id": asked["id"], "result": result})
        return await self._talk(request) if "id" in asked else web.Response(status=202)

    async def _talk(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=self.headers)
        await response.prepare(request)
        try:
            await response.write(self.begin)
            while True:
                await response.write(self.again)
                await asyncio.sleep(0)
        except (ConnectionError, asyncio.CancelledError):
            self.is_hung_up = True
            raise


class ForgetfulServer(Hostile):
    """Knows no session any more once it `is_gone`, and begins none."""

    is_gone = False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer 404 to a known client, and 503 to one that begins."""
        if self.is_gone:
            begins = b'"initialize"' in await request.read()
            return web.Response(status=503 if begins else 404)
        return await super().answer(request)


@asynccontextmanager
async def serve_hostile(hostile: Hostile) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/mcp", hostile.answer)
    runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/mcp"
    finally:
        await runner.cleanup()


JSON, STREAM = {"Content-Type": "application/json"}, {"Content-Type": "text/event-stream"}
ENDLESS = {
    "JSON": (JSON, b'{"jsonrpc": "', b"a" * 16_384),
    "one line of a stream": (STREAM, b"data: ", b"a" * 16_384),
    "lines of one event": (STREAM, b"", b"data: " + b"a" * 16_384 + b"\n"),
    "a small body that becomes a huge one": (
        JSON | {"Content-Encoding": "gzip"},
        gzip.compress(b" " * (8 << 20)),
        b"",
    ),
}


@pytest.mark.parametrize("kind", ENDLESS)
async def test_an_answer_without_an_end_is_hung_up_on(redis: Redis, kind: str) -> None:
    """Memory is bounded by the size of one answer, however the server sends it; other calls can be made."""
    hostile = Hostile(*ENDLESS[kind])
    async with (
        serve_hostile(hostile) as url,
        start_plugins(
            redis, {"shop": {"url": url, "approval": False, "timeout": 1}}, most_bytes=_MOST
        ) as plugins,
    ):
        assert (await call_tool(plugins, "shop__talk")).startswith("failed: ")
        await wait_until(lambda: hostile.is_hung_up, "the server has lost its listener")

        async def is_back() -> bool:
            return await is_up(plugins, "shop")

        await wait_until(is_back, "the server can be used")


async def test_a_server_that_forgot_its_sessions_and_begins_none_keeps_no_call_waiting(redis: Redis) -> None:
    """Fault: a call waited for the next session until its time was up, though none could be had."""
    gone = ForgetfulServer(JSON, b"", b"")
    async with (
        serve_hostile(gone) as url,
        start_plugins(redis, {"shop": {"url": url, "approval": False, "timeout": 300}}) as plugins,
    ):
        await wait_until(lambda: is_up(plugins, "shop"), "up", timeout=40)
        gone.is_gone = True
        told = await asyncio.gather(*(call_tool(plugins, "shop__talk") for _ in range(3)))
        assert all("cannot be reached: it is not connected at the moment" in each for each in told)


async def test_a_line_without_an_end_is_hung_up_on(redis: Redis) -> None:
    """Fault: what a child writes was kept until the call had had its time, and copied for each piece."""
    servers = {"shop": stdio(timeout=300)}
    async with start_plugins(redis, servers, most_bytes=_MOST, first_delay=0.1) as plugins:
        await wait_until(lambda: is_up(plugins, "shop"), "up", timeout=40)
        assert "was lost before it answered" in await call_tool(plugins, "shop__talk")

        async def is_back() -> bool:
            return await call_tool(plugins, "shop__add", a=1, b=1) == "2"

        await wait_until(is_back, "started again", timeout=40)


async def test_a_stream_may_be_longer_than_one_event() -> None:
    """The bound is on an event: a stream that stays open tells of many things."""

    async def source() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"data: " + b"a" * 500 + b"\n"
            yield b"\n"

    bounded = mcp_http._LimitedStream(source(), 1_000, is_stream=True)
    assert len(b"".join([chunk async for chunk in bounded])) == 100 * 508
