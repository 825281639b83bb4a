"""Getting files: from the allowed hosts, no token to others, no more bytes than wanted."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from yarl import URL

from bot.chat import FileRefused
from bot.platforms.download import TIMEOUT, Hosts, download

SLACK = Hosts(frozenset({"slack.com"}), origin="https://slack.com/api/")


@pytest.mark.parametrize(
    ("address", "is_allowed"),
    [
        ("https://files.slack.com/files-pri/T1-F1/a.txt", True),
        ("https://slack.com/a", True),
        ("https://files.slack.com.evil.example/a", False),
        ("https://evilslack.com/a", False),
        ("http://files.slack.com/a", False),
        ("https://user@files.slack.com/a", False),
        ("https://127.0.0.1/a", False),
        ("https://[::1]/a", False),
        ("file:///etc/passwd", False),
        ("ftp://files.slack.com/a", False),
        ("https://files.slack.com/files-pri/T1-F1/api", True),
        ("https://slack.com/api/chat.postMessage?channel=C1&text=hi", False),
        ("https://acme.slack.com/api/auth.revoke", False),
        ("https://slack.com//api/auth.revoke", False),
        ("https://slack.com/%61pi/auth.revoke", False),
        ("https://slack.com/files-pri/../api/auth.revoke", False),
        ("https://slack.com/files-pri/%2e%2e/api/auth.revoke", False),
    ],
)
def test_only_the_services_own_hosts_are_allowed(address: str, is_allowed: bool) -> None:
    assert SLACK.allow(URL(address)) == is_allowed


class Server:
    """A file host; `seen` are the tokens that came with each request."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.hosts = Hosts(frozenset(), origin=base)
        self.seen: list[str | None] = []
        self.failures = 0


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    async def handle(request: web.Request) -> web.StreamResponse:
        made.seen.append(request.headers.get("Authorization"))
        if made.failures:
            made.failures -= 1
            return web.Response(status=503)
        match request.match_info["what"]:
            case "file":
                return web.Response(body=b"content")
            case "away":
                raise web.HTTPFound("https://evil.example/file")
            case "near":
                raise web.HTTPFound("/file")
            case "behind":
                raise web.HTTPFound("/api/auth.revoke")
            case "broken":
                return web.Response(status=302, headers={"Location": "http://[::1"})
            case "round":
                raise web.HTTPFound("/round")
            case "endless":
                response = web.StreamResponse()
                await response.prepare(request)
                while True:
                    await response.write(bytes(1 << 16))
            case "slow":
                await asyncio.Event().wait()
        raise web.HTTPNotFound

    app = web.Application()
    app.router.add_get("/{what}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made = Server(f"http://127.0.0.1:{runner.addresses[0][1]}")
    yield made
    await runner.cleanup()


HEADERS = {"Authorization": "Bearer secret"}


async def get(server: Server, path: str, timeout: float = TIMEOUT) -> bytes:
    return await download(f"{server.base}/{path}", server.hosts, 1_000, HEADERS, timeout=timeout)


async def test_a_file_is_read_also_behind_a_redirection_on_the_same_hosts(server: Server) -> None:
    assert await get(server, "file") == await get(server, "near") == b"content"
    assert set(server.seen) == {"Bearer secret"}


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("away", "not on the service's own servers"),
        ("behind", "not on the service's own servers"),
        ("broken", "not on the service's own servers"),
        ("round", "redirects too often"),
        ("missing", "it was deleted, or I have no access to it"),
        ("endless", "it is larger than"),
    ],
)
async def test_what_is_elsewhere_gone_or_too_large_is_refused(server: Server, path: str, reason: str) -> None:
    with pytest.raises(FileRefused, match=reason):
        await get(server, path)


async def test_a_server_that_fails_is_asked_again_and_then_given_up(server: Server) -> None:
    server.failures = 1
    assert await get(server, "file") == b"content"
    server.failures = 99
    with pytest.raises(FileRefused, match="its server is not responding; please try again"):
        await get(server, "file")
    server.failures = 0
    with pytest.raises(FileRefused, match="is not responding"):
        await get(server, "slow", timeout=0.05)
