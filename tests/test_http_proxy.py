"""The examples of docs/proxy.md in front of the HTTP surface.

Where nginx and Caddy are installed the examples run in them; elsewhere a proxy of the test sends the headers
that they would send.
"""

import asyncio
import io
import json
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from redis.asyncio import Redis

from bot.chat import Part, Text, Turn
from bot.platforms.receiver import Webhook
from tests.support.bot import ROOT
from tests.support.http_server import HttpServer, http_server
from tests.support.wait import wait_until

TOKEN = "a-token-of-sixteen"
HOST = "bot.example.com"
UPSTREAM = "127.0.0.1:8080"
NGINX = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    {server}
}}
"""
CADDY = """
{{
	admin off
	auto_https off
	default_bind 127.0.0.1
}}
http://{site}
"""
HOP_BY_HOP = {"connection", "host", "transfer-encoding", "keep-alive", "content-length"}
BY_DEFAULT = {  # what Caddy adds by itself
    "Host": HOST,
    "X-Forwarded-For": "192.0.2.1",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": HOST,
}


def examples(kind: str) -> list[str]:
    """The examples of the document for a proxy: for everything, and for Slack's requests only."""
    text = (ROOT / "docs" / "proxy.md").read_text()
    found = re.findall(rf"^```{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(found) == 2
    return found


@asynccontextmanager
async def proxy(kind: str, example: str, upstream: int, directory: Path, port: int) -> AsyncIterator[None]:
    """Run an example on `port`, in the proxy that it is for if that is installed."""
    assert UPSTREAM in example
    here = example.replace(UPSTREAM, f"127.0.0.1:{upstream}")
    config = directory / "config"
    if kind == "nginx":
        here = re.sub(r"listen 443 ssl;|ssl_certificate.*;", "", here)
        here = here.replace("{", f"{{\n    listen 127.0.0.1:{port};", 1)
        config.write_text(NGINX.format(server=here))
        command = ["nginx", "-p", str(directory), "-c", str(config), "-e", "stderr"]
    else:
        config.write_text(CADDY.format(site=here.replace(HOST, f"{HOST}:{port}", 1)))
        command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(config)]
    program = shutil.which(command[0])
    if program is None:
        async with stand_in(example, upstream, port):
            yield
        return
    process = await asyncio.create_subprocess_exec(
        program,
        *command[1:],
        env={"HOME": str(directory), "PATH": "/usr/bin:/bin"},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await wait_until(lambda: is_listening(port, process), f"{kind} listens")
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def is_listening(port: int, process: asyncio.subprocess.Process) -> bool:
    assert process.returncode is None, "the proxy refuses its configuration"
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return False
    writer.close()
    return True


@asynccontextmanager
async def stand_in(example: str, upstream: int, port: int) -> AsyncIterator[None]:
    """A proxy that sends what an example says: its headers, and all paths or Slack's alone."""
    values = {"$http_host": HOST, "$remote_addr": "192.0.2.1", "$scheme": "https", '""': ""}
    named = re.findall(r"proxy_set_header (\S+) (\S+);", example)
    added = {name: values[value] for name, value in named} if named else BY_DEFAULT
    is_only_slack = "/slack/events {" in example

    async def forward(request: web.Request) -> web.StreamResponse:
        if is_only_slack and request.path != "/slack/events":
            return web.Response(status=404)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        headers |= {name: value for name, value in added.items() if value}
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method,
                f"http://127.0.0.1:{upstream}{request.raw_path}",
                headers=headers,
                data=io.BytesIO(await request.read()) if request.can_read_body else None,
            ) as answer,
        ):
            response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
        return response

    app = web.Application(client_max_size=24 << 20)
    app.router.add_route("*", "/{path:.*}", forward)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def events(request: web.Request) -> web.Response:
    """Take the requests to a webhook, such as those of Slack."""
    return web.Response(text=f"taken {(await request.read()).decode()}")


@asynccontextmanager
async def outside(port: int, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        f"http://127.0.0.1:{port}", headers={"Host": f"{HOST}:{port}", **headers}
    ) as client:
        yield client


@pytest.fixture
async def open_server(redis: Redis) -> AsyncIterator[HttpServer]:
    async with http_server(redis) as server:
        yield server


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
async def test_with_a_token_the_proxy_brings_everything_and_streams_as_it_comes(
    redis: Redis, kind: str, tmp_path: Path, unused_tcp_port: int
) -> None:
    """A stranger behind it gets nothing. A part of the answer arrives before the next one exists."""
    everything, _ = examples(kind)
    second = asyncio.Event()

    async def answer(turn: Turn) -> AsyncIterator[Part]:
        yield Text("first ")
        await second.wait()
        yield Text("second")

    bearer = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        http_server(
            redis, api_token=TOKEN, webhooks={"/slack/events": Webhook(events)}, answer=answer
        ) as server,
        proxy(kind, everything, server.port, tmp_path, unused_tcp_port),
        outside(unused_tcp_port, {}) as stranger,
        outside(unused_tcp_port, bearer) as owner,
    ):
        for path in ("/health", "/usage"):
            async with stranger.get(path) as response:
                assert response.status == 401
        async with stranger.post("/slack/events", data=b"payload") as response:
            assert await response.text() == "taken payload"
        body = {"message": "x", "thread_id": "t"}
        async with owner.post("/chat", json=body, headers={"Accept": "text/event-stream"}) as response:
            lines = response.content
            assert await lines.readline() == b"event: text\n"
            assert b"first" in await lines.readline()
            second.set()
            rest = await lines.read()
            assert b"second" in rest
            assert b"event: done" in rest
        file = {"name": "a", "content_base64": "A" * (2 << 20)}
        large = io.BytesIO(json.dumps({"message": "y", "files": [file]}).encode())
        kind_of_body = {"Content-Type": "application/json"}
        async with owner.post("/chat", data=large, headers=kind_of_body) as response:
            assert response.status == 200


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
async def test_without_a_token_the_proxy_opens_nothing(
    open_server: HttpServer, kind: str, tmp_path: Path, unused_tcp_port: int
) -> None:
    everything, _ = examples(kind)
    async with (
        proxy(kind, everything, open_server.port, tmp_path, unused_tcp_port),
        outside(unused_tcp_port, {}) as stranger,
    ):
        for method, path in (("GET", "/health"), ("POST", "/chat"), ("POST", "/redis/direct"), ("GET", "/")):
            for headers in ({}, {"Host": f"127.0.0.1:{open_server.port}"}):
                async with stranger.request(method, path, json={"message": "x"}, headers=headers) as response:
                    # a proxy that serves one name only answers other names with nothing
                    assert response.status == 403 or not await response.read(), path
    assert not open_server.messages


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
async def test_the_example_for_slack_brings_nothing_else(
    redis: Redis, kind: str, tmp_path: Path, unused_tcp_port: int
) -> None:
    _, only_slack = examples(kind)
    async with (
        http_server(redis, webhooks={"/slack/events": Webhook(events)}) as server,
        proxy(kind, only_slack, server.port, tmp_path, unused_tcp_port),
        outside(unused_tcp_port, {}) as stranger,
    ):
        async with stranger.post("/slack/events", data=b"payload") as response:
            assert await response.text() == "taken payload"
        for path in ("/", "/health", "/livez", "/slack/events/../../health"):
            async with stranger.get(path) as response:
                assert response.status == 404, path
