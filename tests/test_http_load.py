"""Large bodies, slow clients and crowds against the HTTP server: none stops the bot or takes its memory."""

import asyncio
import base64
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader
from aiohttp.test_utils import make_mocked_request
from pydantic import TypeAdapter
from redis.asyncio import Redis

from bot.chat import Part, Text, Turn
from bot.concurrency.tasks import cancel
from bot.http.bodies import MAX_BODY_BYTES, parse, receive
from bot.http.chat import ChatRequest
from bot.http.connections import BOUNDS, Bounds, Connection
from bot.http.errors import Refusal
from bot.http.platform import _LARGE_AT_ONCE
from bot.platforms.receiver import Webhook
from bot.storage.client import open_redis
from tests.support import http_attack
from tests.support.event_loops import ON_EACH_LOOP, run_on
from tests.support.http_attack import GOOD, HASTY, ROUTES, TOKEN, hook, is_well, request
from tests.support.http_server import HttpServer, http_server, status_of
from tests.support.wait import wait_until

server = http_attack.server
quiet = http_attack.quiet


# --- bodies ---------------------------------------------------------------------------------------------


DEEP = 50_000
BODIES = {
    "nothing": b"",
    "no JSON": b"{",
    "no UTF-8": b'{"message": "\xff\xfe"}',
    "UTF-16": '{"message": "x"}'.encode("utf-16"),
    "a mark before it": b'\xef\xbb\xbf{"message": "x"}',
    "deep lists": b"[" * DEEP + b"]" * DEEP,
    "deep objects": b'{"message":' * DEEP + b"1" + b"}" * DEEP,
    "deep in a field": b'{"message": "x", "files": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "a deep value": b'{"operation": "set", "key": "k", "value": ' + b"[" * 150 + b"]" * 150 + b"}",
    "a huge integer": b'{"operation": "set", "key": "k", "value": ' + b"9" * 100_000 + b"}",
    "a huge float": b'{"operation": "set", "key": "k", "value": 1e999999}',
    "a huge time": b'{"operation": "set", "key": "k", "value": "v", "ttl": ' + b"9" * 400 + b"}",
    "NaN": b'{"operation": "set", "key": "k", "value": NaN, "ttl": NaN}',
    "infinity": b'{"approve": Infinity, "message": -Infinity, "operation": "mset", "data": {"k": Infinity}}',
    "a lone surrogate": b'{"message": "\\ud800", "operation": "get", "key": "\\ud800"}',
    "nulls": b'{"operation": "get", "key": null, "message": null, "approve": null, "files": null}',
    "a null character": b'{"operation": "set", "key": "\\u0000", "value": "\\u0000", "message": "\\u0000"}',
    "the same field often": b'{"message": "x", ' + b'"operation": "get", ' * 5_000 + b'"key": "k"}',
    "a list": b'[{"message": "x"}]',
    "a text": b'"message"',
    "an operation of a wrong type": b'{"operation": {"a": []}, "message": 5}',
    "many wrong files": b'{"message": "x", "files": [' + b"1," * 100_000 + b"1]}",
    "many wrong fields": b'{"operation": "mset", "data": {' + b'"": 1, ' * 50_000 + b'"a": 1}}',
    "a pattern of stars": b'{"operation": "all", "pattern": "' + b"*a" * 250 + b'"}',
    "a pattern without end": b'{"operation": "keys", "pattern": "' + b"[" * 511 + b'"}',
    "content that is not base64": b'{"files": [{"name": "a", "content_base64": "\xc3\xa9"}]}',
    "a file's type of a surrogate": b'{"files": [{"name": "a", "media_type": "\\udcff", '
    b'"content_base64": ""}]}',
    "a name of control characters": b'{"files": [{"name": "\\u0000\\n/..", "content_base64": ""}]}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
async def test_no_body_is_an_error_of_ours(server: HttpServer, body: bytes) -> None:
    """The answer to it is short, too: a caller cannot have faults told at length."""
    for method, path in ROUTES:
        response = await server.exchange(request(path, method=method, body=body))
        assert status_of(response) < 500, path
        if status_of(response) >= 400:
            assert len(response) < 4_000
    assert await is_well(server)


@pytest.mark.parametrize("unit", ["1,", "{},", "[],", '"a",', '"a":1,', '{"name":"a","content_base64":""},'])
@pytest.mark.parametrize("field", ["files", "unknown"])
def test_no_large_body_is_made_of_tiny_values(unit: str, field: str) -> None:
    """Kind: memory of 50 times the body, and seconds of the event loop. It is refused unparsed."""
    start, end = ("{", '"z":0}') if ":1" in unit else ("[", "0]")
    body = f'{{"message": "x", "{field}": {start}{unit * (4 * MAX_BODY_BYTES // len(unit))}{end}}}'.encode()

    class Unparsed:
        def validate_json(self, body: bytes) -> None:
            pytest.fail("parsed")

    with pytest.raises(Refusal, match="too many values") as refused:
        parse(Unparsed(), body)  # type: ignore[arg-type]
    assert refused.value.status == 400


def test_a_large_body_of_files_is_parsed_whatever_its_message_says() -> None:
    file = {"name": "," * 200, "content_base64": base64.b64encode(bytes(MAX_BODY_BYTES)).decode()}
    body = {"message": "," * 32_000, "files": [file] * 15}
    found = parse(TypeAdapter(ChatRequest), json.dumps(body).encode())
    assert len(found.files) == 15


async def test_a_stranger_gets_no_body_unpacked_or_read(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is closed after a refusal that left one unread, compressed or not."""
    unpacked: list[object] = []
    monkeypatch.setattr(zlib, "decompressobj", lambda *args, **kw: unpacked.append(args))
    async with http_server(redis, api_token=TOKEN, webhooks={"/hook": Webhook(hook)}) as server:
        bomb = gzip.compress(bytes(64 << 20), 9)
        for headers in ([], ["Content-Encoding: gzip"]):
            attack = request("/chat", *headers, body=bomb, token="").replace(b"Connection: close\r\n", b"")
            response = await server.exchange(attack)
            assert status_of(response) == 401
            assert b"connection: close" in response.lower()
        packed = request("/hook", "Content-Encoding: gzip", body=bomb, token="")
        assert await server.status(packed) == 415
    assert not unpacked


async def test_no_route_takes_more_than_it_needs(server: HttpServer, redis: Redis) -> None:
    """A length over the bound is refused before a byte is sent; what has no length, once it is over."""
    for method, path in ROUTES:
        if method == "POST":
            most = 24 << 20 if path == "/chat" else 1 << 20
            head = request(path, method=method, length=str(most + 1))
            response = await server.exchange(head)
            assert status_of(response) == 413, path
            assert b"connection: close" in response.lower()
    chunk = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
    endless = request("/hook", "Transfer-Encoding: chunked", length=None, body=chunk * 17)
    async with http_server(redis, api_token=TOKEN, webhooks={"/hook": Webhook(hook)}) as patient:
        assert await patient.status(endless) == 413


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_strangers_body_is_bounded_whatever_the_method(redis: Redis, method: str) -> None:
    bounds = Bounds(connections=9, head=5, body=0.2, bytes_per_second=10 << 20)
    webhooks = {"/get": Webhook(hook, "GET"), "/post": Webhook(hook)}
    path, other = ("/get", "/post") if method == "GET" else ("/post", "/get")
    async with http_server(redis, api_token=TOKEN, webhooks=webhooks, bounds=bounds) as server:
        packed = request(path, "Content-Encoding: gzip", method=method, body=gzip.compress(b"{}"), token="")
        assert await server.status(packed) == 415
        assert await server.status(request(path, method=method, length=str(2 << 20), token="")) == 413
        assert await server.status(request(path, method=method, length="100", body=b"x", token="")) == 408
        assert await server.status(request(path, method=method, body=b"x", token="")) == 200
        assert await server.status(request(path, method=method, length=None, token="")) == 200
        assert await server.status(request(other, method=method, body=b"x", token="")) == 405


# --- slowness and crowds --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/chat", "/hook", "/redis/direct"])
async def test_a_body_that_does_not_come_is_not_waited_for(server: HttpServer, path: str) -> None:
    """With 408, on every route that takes one; also when it has no length and goes on for ever."""
    assert await server.status(request(path, length="100", body=b'{"message"')) == 408
    endless = request(path, "Transfer-Encoding: chunked", length=None, body=b"1;" + b"x" * 100_000)
    assert await server.status(endless) == 408
    assert await is_well(server)


async def test_a_head_that_does_not_come_ends_its_connection(server: HttpServer) -> None:
    """Also when it does not begin, and when it is the head of a second request."""
    assert await server.status() == 0
    assert await server.status(b"GET /livez HTTP/1.1\r\nHost: local") == 0
    kept = GOOD.replace(b"Connection: close\r\n", b"")
    response = await server.exchange(kept + b"GET /livez HTTP/1.1\r\n")
    assert status_of(response) == 200
    assert response.count(b"HTTP/1.1 ") == 1
    assert await is_well(server)


async def test_a_head_that_is_here_when_its_time_is_over_is_answered(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a hold-up of the event loop both come at once: the head, and the timer behind it."""
    loop = asyncio.get_running_loop()
    receive_data = Connection.data_received

    def received_late(connection: Connection, data: bytes) -> None:
        late = connection._timer
        receive_data(connection, data)
        if late and not late.cancelled():
            loop.call_soon(connection._on_timeout)  # it is due, too, in this very step of the loop

    monkeypatch.setattr(Connection, "data_received", received_late)
    assert await is_well(server)


async def test_an_answer_may_take_longer_than_a_head(redis: Redis) -> None:
    late = asyncio.Event()

    async def answer(turn: Turn) -> AsyncIterator[Part]:
        await late.wait()
        yield Text("still here")

    async with http_server(redis, answer=answer, bounds=Bounds(connections=9, head=1)) as server:
        asked = asyncio.create_task(server.exchange(request(body=b'{"message": "x"}', token="")))
        assert await server.status(b"GET / HT") == 0  # a head that began later has been too late by now
        late.set()
        assert b"still here" in await asked


async def test_connections_without_a_request_cannot_keep_others_out(redis: Redis) -> None:
    """Ten times as many half-sent heads as there are places: each new request still finds one."""
    async with (
        http_server(redis, api_token=TOKEN, bounds=Bounds(connections=20, head=60)) as server,
        AsyncExitStack() as crowd,
    ):
        for _ in range(200):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            crowd.callback(writer.close)
            writer.write(b"GET /livez HTTP/1.1\r\nHost: local")
        assert await is_well(server)
        assert await is_well(server)


async def test_who_comes_when_all_places_are_at_work_is_told_to_come_again(redis: Redis) -> None:
    """Requests under way are not given up for it."""
    go_on = asyncio.Event()
    under_way: list[web.Request] = []

    async def slow(request: web.Request) -> web.Response:
        under_way.append(request)
        await go_on.wait()
        return web.Response(text="finished")

    async with http_server(
        redis, api_token=TOKEN, webhooks={"/hook": Webhook(slow)}, bounds=Bounds(connections=5)
    ) as server:
        at_work = [asyncio.create_task(server.exchange(request("/hook"))) for _ in range(5)]
        await wait_until(lambda: len(under_way) == 5, "all places are at work")

        async def refusal() -> bytes:
            while True:
                if status_of(response := await server.exchange(GOOD)) == 503:
                    return response

        async with asyncio.timeout(10):
            response = await refusal()
        assert b"Retry-After: 5" in response
        assert json.loads(response.partition(b"\r\n\r\n")[2])["status"] == "error"
        go_on.set()
        assert all(b"finished" in each for each in await asyncio.gather(*at_work))
        assert await is_well(server)


@ON_EACH_LOOP
def test_places_are_limited_on(loop: str, redis_url: str) -> None:
    """Fault: transports of uvloop have no class of asyncio, so no connection was dropped or refused."""
    run_on(loop, _use_the_only_place(redis_url))


async def _use_the_only_place(redis_url: str) -> None:
    under_way = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        under_way.set()
        return await asyncio.Future()

    async with (
        open_redis(redis_url, pool_size=5) as redis,
        http_server(
            redis, api_token=TOKEN, webhooks={"/hook": Webhook(hang)}, bounds=Bounds(connections=1, head=60)
        ) as server,
        asyncio.timeout(10),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: local")
        assert await is_well(server)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        at_work = asyncio.create_task(server.exchange(request("/hook")))
        await under_way.wait()
        assert status_of(await server.exchange()) == 503
        await cancel(at_work)


async def test_bodies_of_strangers_take_little_memory_together(redis: Redis) -> None:
    """Many large bodies that do not end are not kept all at once, and small ones still arrive."""

    def head(size: int) -> bytes:
        return f"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()

    async with (
        http_server(redis, api_token=TOKEN, webhooks={"/hook": Webhook(hook)}) as server,
        AsyncExitStack() as stack,
    ):
        held = []
        for _ in range(_LARGE_AT_ONCE):
            held.append(await asyncio.open_connection("127.0.0.1", server.port))
            stack.callback(held[-1][1].close)
            held[-1][1].write(head(1 << 20) + b"x" * 1_000)
        chunked = b"POST /hook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"

        async def is_full() -> bool:
            return await server.status(head(1 << 20)) == 503

        await wait_until(is_full, "no more large bodies are taken")
        assert await server.status(chunked) == 503
        small = head(2).replace(b"Host", b"Connection: close\r\nHost") + b"{}"
        assert await server.status(small) == 200
        held[0][1].close()

        async def has_room() -> bool:
            large = head(100_000).replace(b"Host", b"Connection: close\r\nHost") + b"x" * 100_000
            return await server.status(large) == 200

        await wait_until(has_room, "a large body is taken again")


async def test_a_connection_that_is_gone_before_its_body_is_read_is_no_error_of_ours() -> None:
    """aiohttp raises an error of its own then."""
    loop = asyncio.get_running_loop()
    app = web.Application()
    app[BOUNDS] = HASTY
    gone = StreamReader(BaseProtocol(loop=loop), 2**16, loop=loop)
    request = make_mocked_request("POST", "/hook", payload=gone, app=app)
    with pytest.raises(Refusal) as refused:
        await receive(request)
    assert refused.value.status == 400
