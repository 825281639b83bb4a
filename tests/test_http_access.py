"""Access to the HTTP server: malformed requests, tokens, foreign hosts and origins, webhooks, the page."""

import asyncio
import io
import json
import logging
import re

import aiohttp
import pytest
from aiohttp import web

from bot.platforms.receiver import Webhook
from tests.support import http_worker
from tests.support.http_worker import JSON, TOKEN, Setup, get, open_server, serve_chat

setup = http_worker.setup


PROXIED = [
    ("Forwarded", "for=192.0.2.1"),
    ("X-Forwarded-For", "192.0.2.1"),
    ("x-forwarded-host", "bot.example"),
    ("X-Forwarded-Proto", "https"),
    ("X-Real-IP", "192.0.2.1"),
    ("Via", "1.1 proxy"),
    ("CF-Connecting-IP", "192.0.2.1"),
]
"""What proxies add to a request."""


# --- requests that are refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "Invalid JSON"),
        (b"{", "Invalid JSON"),
        (b"\xff", "Invalid JSON"),
        (b"[" * 100_000, "Invalid JSON"),
        (b'"Hello"', "object"),
        (b"{}", "message: Field required"),
        (b'{"message": 5}', "message"),
        (b'{"message": null}', "message"),
        (b'{"message": " \\n "}', "message: String should have at least 1 character"),
        (b'{"message": "\\ud800"}', "Invalid JSON"),
        (json.dumps({"message": "x" * 32_001}).encode(), "at most 32000"),
        (b'{"message": "x", "thread_id": ""}', "thread_id"),
        (b'{"message": "x", "thread_id": 7}', "thread_id"),
        (json.dumps({"message": "x", "thread_id": "x" * 201}).encode(), "at most 200"),
    ],
)
async def test_a_malformed_chat_is_told_what_is_wrong(setup: Setup, body: bytes, sentence: str) -> None:
    async with setup.client.post("/chat", data=body, headers=JSON) as response:
        answer = await response.json()
    assert (response.status, answer["status"]) == (400, "error")
    assert sentence in answer["message"]
    assert not setup.worker.messages


async def test_the_longest_message_is_taken(setup: Setup) -> None:
    status, body = await setup.chat("🎈" * 32_000, "x" * 200)
    assert status == 200
    assert body["response"].endswith("🎈" * 32_000)


async def test_an_overlong_key_is_refused(setup: Setup) -> None:
    assert (await setup.chat("x", **{"Idempotency-Key": "k" * 256}))[0] == 400


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
async def test_only_json_is_taken(setup: Setup, content_type: str) -> None:
    for path in ("/chat", "/redis/direct"):
        headers = {"Content-Type": content_type}
        async with setup.client.post(path, data=b'{"message": "x"}', headers=headers) as response:
            assert response.status == 415
            assert "application/json" in (await response.json())["message"]


@pytest.mark.parametrize(("path", "mebibytes"), [("/chat", 25), ("/redis/direct", 2)])
async def test_a_huge_body_is_refused(setup: Setup, path: str, mebibytes: int) -> None:
    body = io.BytesIO(b" " * (mebibytes << 20))
    async with setup.client.post(path, data=body, headers=JSON) as response:
        assert response.status == 413
        assert (await response.json())["status"] == "error"


async def test_a_body_that_ends_early_is_no_error_of_ours(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", setup.http.port)
    writer.write(
        b"POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b'Content-Length: 100\r\n\r\n{"message": '
    )
    writer.write_eof()
    await reader.read()
    writer.close()
    await writer.wait_closed()
    assert (await setup.chat("still here"))[0] == 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_unknown_paths_and_methods_are_told_so(setup: Setup) -> None:
    async with setup.client.get("/nothing") as response:
        assert response.status == 404
        assert await response.json() == {"status": "error", "message": "There is nothing at /nothing."}
    async with setup.client.get("/chat") as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")
        assert await response.json() == {"status": "error", "message": "/chat accepts POST, not GET."}
    async with setup.client.put("/health") as response:
        assert response.status == 405


# --- who may call ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "8.8.8.8",
        "[",
        "",
        "127.0.0.1#.evil.example",
        "127.0.0.1/evil",
        "127.0.0.1:80@evil.example",
        "evil@127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:999999",
        "127.1",
        "0x7f.0.0.1",
        "localhost.",
        "::1",
        "127.0.0.1, evil.example",
        "①②⑦.0.0.1",
    ],
)
async def test_without_a_token_a_foreign_host_header_is_refused(setup: Setup, host: str) -> None:
    for path in ("/", "/health", "/livez", "/nothing"):
        status, body = await get(setup.http, path, Host=host)
        assert (status, body["status"]) == (403, "error")
        assert "API_TOKEN" in body["message"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1:8080", "[::1]:8080"])
async def test_without_a_token_this_machines_names_are_served(setup: Setup, host: str) -> None:
    assert (await get(setup.http, "/health", Host=host))[0] == 200


@pytest.mark.parametrize("header", PROXIED, ids=lambda header: header[0])
async def test_without_a_token_no_proxy_is_served(setup: Setup, header: tuple[str, str]) -> None:
    """Whoever is behind it looks like this machine; the sentence says what to set."""
    for path in ("/", "/health", "/livez"):
        status, body = await get(setup.http, path, **dict([header]))
        assert (status, body["status"]) == (403, "error")
        assert header[0].lower() in body["message"].lower()
        assert "API_TOKEN" in body["message"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://localhost:1",
        "null",
        "http://127.0.0.1",
        "chrome-extension://127.0.0.1:PORT",
        "127.0.0.1:PORT",
        "http://127.0.0.1:PORT/",
        "http://127.0.0.1:PORT http://evil.example",
        "",
    ],
)
async def test_without_a_token_another_sites_page_is_refused(setup: Setup, origin: str) -> None:
    origin = origin.replace("PORT", str(setup.http.port))
    status, body = await setup.chat("x", Origin=origin)
    assert (status, body["status"]) == (403, "error")
    assert "Origin" in body["message"]
    assert not setup.worker.messages


async def test_without_a_token_the_own_page_is_served(setup: Setup) -> None:
    for scheme in ("http", "HTTP", "https"):
        origin = f"{scheme}://127.0.0.1:{setup.http.port}"
        assert (await setup.chat("x", Origin=origin))[0] == 200


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \xff"],
)
async def test_with_a_token_everything_but_page_and_probes_asks_for_it(authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    async with open_server(api_token=TOKEN) as http, aiohttp.ClientSession(headers=headers) as client:
        url = f"http://127.0.0.1:{http.port}"
        for method, path in (
            ("POST", "/chat"),
            ("POST", "/redis/direct"),
            ("GET", "/health"),
            ("GET", "/nothing"),
            ("GET", "/%68ealth"),
            ("GET", "/page/../health"),
        ):
            async with client.request(method, f"{url}{path}", json={}) as response:
                assert response.status == 401, path
                assert response.headers["WWW-Authenticate"] == "Bearer"
                assert (await response.json())["status"] == "error"
        for path, status in (("/", 200), ("/page/app.js", 200), ("/livez", 200), ("/readyz", 503)):
            async with client.get(url + path) as response:
                assert response.status == status, path


async def test_with_the_token_one_may_call_from_anywhere() -> None:
    async with serve_chat(api_token=TOKEN) as setup:
        status, _ = await setup.chat("x", Host="bot.example", Origin="https://bot.example")
        assert status == 200
        status, _ = await setup.chat("x", Authorization=f"bearer {TOKEN}")
        assert status == 200


# --- what others mount ----------------------------------------------------------------------------------


async def test_beside_a_mount_and_without_a_token_only_the_probes_are_served() -> None:
    """A proxy makes the mount reachable; its requests may look exactly like those of this machine."""

    async def events(request: web.Request) -> web.Response:
        return web.Response(text="ok")

    paths = ("/", "/page/app.js", "/health", "/chat", "/redis/direct", "/memory", "/usage", "/nothing")
    async with (
        open_server(webhooks={"/slack/events": Webhook(events)}) as http,
        aiohttp.ClientSession() as client,
    ):
        url = f"http://127.0.0.1:{http.port}"
        for method in ("GET", "POST", "DELETE"):
            for path in paths:
                async with client.request(method, url + path, json={}) as response:
                    assert response.status == 403, path
                    assert "API_TOKEN" in (await response.json())["message"]
        for path, status in (("/livez", 200), ("/readyz", 503)):
            assert (await get(http, path))[0] == status
        for header in PROXIED:
            async with client.post(url + "/slack/events", headers=dict([header])) as response:
                assert response.status == 200
            assert (await get(http, "/livez", **dict([header])))[0] == 403


async def test_a_webhook_gets_every_post_to_its_path_as_it_came() -> None:
    bodies: list[bytes] = []

    async def events(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response(text="ok")

    for api_token in (None, TOKEN):
        async with open_server(api_token=api_token, webhooks={"/slack/events": Webhook(events)}) as http:
            headers = {"Host": "bot.example", "Content-Type": "application/x-www-form-urlencoded"}
            async with (
                aiohttp.ClientSession() as client,
                client.post(
                    f"http://127.0.0.1:{http.port}/slack/events", data=b"payload=1", headers=headers
                ) as response,
            ):
                assert (response.status, await response.text()) == (200, "ok")
    assert bodies == [b"payload=1", b"payload=1"]


# --- the page -------------------------------------------------------------------------------------------


async def test_the_page_and_all_it_loads_come_from_here(setup: Setup) -> None:
    async with setup.client.get("/") as response:
        assert (response.status, response.content_type) == (200, "text/html")
        page = await response.text()
    assets = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert assets
    for asset in assets:
        assert asset.startswith("/page/")
        async with setup.client.get(asset) as response:
            assert response.status == 200, asset


@pytest.mark.parametrize("path", ["/", "/page/app.js", "/health", "/nothing"])
async def test_every_response_forbids_foreign_scripts_and_frames(setup: Setup, path: str) -> None:
    async with setup.client.get(path) as response:
        policy = response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Server"] == "bot"  # and no versions
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize(
    "path", ["/page/", "/page/../platform.py", "/page/%2e%2e/platform.py", "/page/nothing"]
)
async def test_only_the_pages_own_files_are_served(setup: Setup, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", setup.http.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.split()[1] in (b"403", b"404")
    assert b'"status": "error"' in answer
