"""Raw bytes against the HTTP surface: nothing that is sent is an error of ours, or stops the bot."""

import asyncio
import base64
import gzip
import json
import logging
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
from aiohttp import helpers, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader
from aiohttp.test_utils import make_mocked_request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from redis.asyncio import Redis

from bot.chat import Part, Text, Turn
from bot.http.bodies import MAX_BODY_BYTES, MAX_TYPE_CHARS, parse, receive
from bot.http.chat import ChatRequest
from bot.http.connections import BOUNDS, Bounds, Connection
from bot.http.errors import Refusal
from bot.http.platform import _LARGE_AT_ONCE
from tests.support.http_server import HttpServer, http_server, status_of
from tests.support.wait import wait_until

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
    async with http_server(redis, api_token=TOKEN, mounts={"/hook": hook}, bounds=HASTY) as it:
        yield it


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No attack may be an error in the log, or leave a trace there."""
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


# --- requests that are none -----------------------------------------------------------------------------

MALFORMED = {
    "no request at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "line ends only": b"\r\n" * 1_000 + b"x\r\n\r\n",
    "no version": b"GET /livez\r\n\r\n",
    "another version": b"GET /livez HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "another protocol": b"GET /livez GOPHER/1.0\r\nHost: localhost\r\n\r\n",
    "a preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method that is none": b"G\x00T /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a method of another protocol": request("/chat", method="BREW"),
    "an endless line": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n",
    "an endless header": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000,
    "a flood of headers": b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 5_000 + b"\r\n",
    "a header without a name": b"GET /livez HTTP/1.1\r\nHost: localhost\r\n: x\r\n\r\n",
    "a blank in a header's name": b"GET /livez HTTP/1.1\r\nHost : localhost\r\n\r\n",
    "a folded header": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n",
    "a null in a header": b"GET /livez HTTP/1.1\r\nHost: local\x00host\r\n\r\n",
    "a bare line feed in a header": b"GET /livez HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n",
    "a control character in the target": b"GET /li\x01vez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "two lengths": request("/chat", "Content-Length: 5", body=b"{}"),
    "a length in words": request(length="two", body=b"{}"),
    "a negative length": request(length="-1", body=b"{}"),
    "a length with a sign": request(length="+2", body=b"{}"),
    "a length of 400 digits": request(length="9" * 400, body=b"{}"),
    "a length and chunks": request("/chat", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "chunks and a length": b"POST /chat HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Length: 5\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "chunks twice": request("/chat", "Transfer-Encoding: chunked, chunked", length=None, body=b"0\r\n\r\n"),
    "chunks that are not last": request("/chat", "Transfer-Encoding: chunked, x", length=None, body=b"0\r\n"),
    "an encoding that is none": request("/chat", "Transfer-Encoding: xchunked", length=None, body=b"0\r\n"),
    "a chunk of no size": request("/chat", "Transfer-Encoding: chunked", length=None, body=b"x\r\n\r\n"),
    "a chunk of a negative size": request(
        "/chat", "Transfer-Encoding: chunked", length=None, body=b"-5\r\nhello\r\n0\r\n\r\n"
    ),
    "a chunk of 400 digits": request(
        "/chat", "Transfer-Encoding: chunked", length=None, body=b"f" * 400 + b"\r\n"
    ),
    "a chunk longer than it says": request(
        "/chat", "Transfer-Encoding: chunked", length=None, body=b"1\r\nhello\r\n0\r\n\r\n"
    ),
    "a flood of trailers": request(
        "/chat", "Transfer-Encoding: chunked", length=None, body=b"0\r\n" + b"X: y\r\n" * 5_000 + b"\r\n"
    ),
    "an unknown path with broken chunks": request(
        "/nothing", "Transfer-Encoding: chunked", length=None, body=b"1\r\nhello\r\n0\r\n\r\n"
    ),
}


@pytest.mark.parametrize("attack", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_no_request_is_refused_without_a_trace(server: HttpServer, attack: bytes) -> None:
    """With 400, by closing, or with what was wrong before that was seen; what hides behind it is not read."""
    response = await server.exchange(attack)
    assert status_of(response) in (0, 400, 404, 405, 408, 413)
    assert response.count(b"HTTP/1.1 ") <= 1
    assert b"aiohttp" not in response.lower()
    assert b"traceback" not in response.lower()
    assert await is_well(server)


async def test_a_body_that_breaks_after_its_refusal_leaves_no_trace(server: HttpServer) -> None:
    """It is read on for a moment, so that the client gets to read the refusal."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request("/nothing", "Transfer-Encoding: chunked", length=None, body=b"1\r\nx\r\n"))
    assert b"404" in await reader.readline()
    writer.write(b"no chunk\r\n")
    await reader.read()
    writer.close()
    assert await is_well(server)


async def test_what_hides_behind_a_refused_body_is_not_read_as_a_request(server: HttpServer) -> None:
    """A request in the body of another is neither answered nor carried out."""
    hidden = request("/redis/direct", body=b'{"operation": "set", "key": "k", "value": "smuggled"}')
    for outer in (
        request("/chat", body=hidden, token="wrong-token-of-sixteen"),
        request("/nothing", body=hidden),
        request("/livez", body=hidden, method="GET"),
        request("/chat", "Content-Encoding: gzip", body=hidden),
    ):
        response = await server.exchange(outer.replace(b"Connection: close\r\n", b"", 1))
        assert response.count(b"HTTP/1.1 ") == 1
        assert b"smuggled" not in response
    found = await server.exchange(request("/redis/direct", body=b'{"operation": "keys"}'))
    assert b'"result": []' in found


# --- requests that ask for what there is not ------------------------------------------------------------

STRANGE = {
    "raw bytes in the path": (request(b"/\xff\xfe", method="GET"), 400),
    "raw bytes in a request's name": (request(b"/approvals/\xff", body=b'{"approve": true}'), 400),
    "percent bytes in a request's name": (request("/approvals/%FF%00%0a", body=b'{"approve": true}'), 404),
    "percent bytes in a file's name": (request("/files/%ED%A0%80", method="GET"), 404),
    "a percent sign alone": (request("/files/%", method="GET"), 404),
    "a path above the root": (request("/../../etc/passwd", method="GET"), 404),
    "an encoded path above the root": (request("/page/%2e%2e%2fplatform.py", method="GET"), 404),
    "a backslash": (request("/page/..\\platform.py", method="GET"), 404),
    "the page twice": (request("//page//app.js", method="GET"), 404),
    "an address of another host": (request("http://evil.example/livez", method="GET"), 400),
    "an address with a user": (request("http://localhost@evil.example/livez", method="GET"), 400),
    "an address of another kind": (request("ftp://localhost/livez", method="GET"), 400),
    "an address without a host": (request("http:///livez", method="GET"), 400),
    "an address of a host that cannot be": (request("http://xn--/livez", method="GET"), 400),
    "an address without a path": (request("http://localhost", method="GET"), 404),
    "an authority": (request("localhost:80", method="CONNECT"), 404),
    "an address of ours": (request("http://localhost/livez", method="GET"), 200),
    "an asterisk": (request("*", method="OPTIONS"), 404),
    "tracing": (request("/chat", method="TRACE"), 405),
    "a very long query": (request("/livez?" + "a=b&" * 1_900, method="GET"), 200),
    "a query of raw bytes": (request(b"/usage?of=\xff", method="GET"), 400),
    "a query of percent bytes": (request("/usage?of=%ff%00", method="GET"), 200),
    "a key of raw bytes": (
        request("/chat", b"Idempotency-Key: caf\xe9", body=b'{"message": "x"}'),
        400,
    ),
    "a key of UTF-8": (request("/chat", "Idempotency-Key: café", body=b'{"message": "x"}'), 200),
    "a key of control characters": (
        request("/chat", b"Idempotency-Key: a\tb", body=b'{"message": "x"}'),
        400,
    ),
    "a token of raw bytes": (request("/health", b"Authorization: Bearer \xff", method="GET", token=""), 401),
    "a type of raw bytes": (request(kind="", body=b"{}") + b"", 415),
    "a type that is none": (request(kind="application", body=b"{}"), 415),
    "a type of many parts": (
        request(kind="application/json" + ";a=b" * 1_000, body=b'{"message": "x"}'),
        200,
    ),
    "a type of brackets": (request(kind="application/json" + "(" * 8_000, body=b"{}"), 415),
    "parameters of brackets": (
        request(kind="application/json; " + "(" * 8_000, body=b'{"message": "x"}'),
        200,
    ),
    "parameters of quotation marks": (
        request(kind="application/json; a=" + '"' * 8_000, body=b'{"message": "x"}'),
        200,
    ),
    "brackets for what is mounted": (request("/hook", kind="application/json; " + "(" * 8_000), 415),
    "a charset that is none": (
        request(kind="application/json; charset=bogus", body=b'{"message": "x"}'),
        200,
    ),
    "a form": (request(kind="multipart/form-data; boundary=x", body=b"--x--"), 415),
    "a compressed body": (request("/chat", "Content-Encoding: gzip", body=gzip.compress(b"{}")), 415),
    "a compression of no name": (request("/chat", "Content-Encoding: ,,x", body=b"{}"), 415),
    "no compression": (request("/chat", "Content-Encoding: identity", body=b'{"message": "x"}'), 200),
    "an expectation that cannot be met": (request("/chat", "Expect: a miracle", body=b"{}"), 417),
    "an upgrade": (
        request("/livez", "Upgrade: websocket", "Connection: upgrade", method="GET") + bytes(100_000),
        200,
    ),
    "a range that is none": (request("/page/app.js", "Range: bytes=9-1", method="GET"), 416),
    "a range of 400 digits": (request("/page/app.js", "Range: bytes=" + "9" * 400 + "-", method="GET"), 416),
    "a time that is none": (
        request("/page/app.js", "If-Modified-Since: yesterday", "If-Range: " + "9" * 400, method="GET"),
        200,
    ),
    "a time of the year 0": (
        request("/page/app.js", "If-Modified-Since: Mon, 00 Jan 0000 00:00:00 GMT", method="GET"),
        200,
    ),
    "tags without end": (request("/page/app.js", "If-None-Match: " + '"' * 8_000, method="GET"), 200),
    "cookies without end": (request("/livez", "Cookie: " + "a=" * 4_000, method="GET"), 200),
    "an Accept without end": (
        request("/chat", "Accept: " + "a;q=," * 1_600, body=b'{"message": "x"}'),
        200,
    ),
}


async def test_no_content_type_costs_more_than_linear_time(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kind: a parser of mails for a header. That of aiohttp took a second, or the whole stack."""
    parsed: list[str] = []
    parse_type = helpers.parse_content_type

    def noted(raw: str) -> object:
        parsed.append(raw)
        return parse_type(raw)

    monkeypatch.setattr(helpers, "parse_content_type", noted)
    for _, path in ROUTES:
        for unit in (";a=b", '"', "(", ";a", "(x)"):
            kind = "application/json; " + unit * (8_000 // len(unit))
            assert await server.status(request(path, kind=kind, body=b"{}")) < 500
    assert await server.status(request("/hook", body=b"{}")) == 200
    assert "application/json" in parsed
    assert all(len(each) <= MAX_TYPE_CHARS for each in parsed)


@pytest.mark.parametrize(("attack", "status"), STRANGE.values(), ids=STRANGE.keys())
async def test_what_there_is_not_is_told_so(server: HttpServer, attack: bytes, status: int) -> None:
    """In JSON, whatever it is, and never as an error of ours."""
    response = await server.exchange(attack)
    assert status_of(response) == status
    if status >= 400 and status not in (416, 417):
        assert json.loads(response.partition(b"\r\n\r\n")[2])["status"] == "error"
    assert b"aiohttp" not in response.lower()
    assert await is_well(server)


TARGETS = [
    *(
        "",
        "?",
        "#",
        "*",
        "/%",
        "/\\",
        "/a b",
        "//[",
        "//localhost/livez",
        "/livez?#",
        "/livez;a",
        "/%2e%2e/x",
    ),
    *("http://[::1", "http://[::1]:x/", "http://[v1.x]/", "http://[::ffff:1.2.3.4%25eth0]/", "http://%zz/"),
    *("http://a:99999999/", "http://localhost:80:80/", "http://u:p@localhost/livez", "http:///x", "http:"),
    *(
        "http://xn--/",
        "http://xn--a/",
        "http://℀.com/",
        "http://" + "a." * 200,
        "https:livez",
        "ws://localhost/",
    ),
]


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "CONNECT"])
async def test_no_target_is_an_error_of_ours(server: HttpServer, redis: Redis, method: str) -> None:
    """With a token and without."""
    async with http_server(redis, bounds=HASTY) as open_server:
        for target in TARGETS:
            attack = request(target, method=method)
            assert await server.status(attack) < 500, target
            assert await open_server.status(attack) < 500, target


async def test_a_second_host_is_not_overlooked(redis: Redis) -> None:
    """Nor that there is none: without a token, both could hide where a request is from."""
    async with http_server(redis) as open_server:
        for hosts in ([], ["localhost", "evil.example"], ["evil.example", "localhost"]):
            head = "".join(
                [
                    "GET /health HTTP/1.1\r\nConnection: close\r\n",
                    *(f"Host: {each}\r\n" for each in hosts),
                    "\r\n",
                ]
            )
            assert await open_server.status(head.encode()) in (400, 403)


@pytest.mark.parametrize(
    "method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "CONNECT", "X"]
)
async def test_no_route_fails_at_any_method_or_type(server: HttpServer, method: str) -> None:
    for _, path in ROUTES:
        for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
            attack = request(path, method=method, kind=kind, body=b"null")
            assert await server.status(attack) < 500, (method, path, kind)
    assert await is_well(server)


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
    async with http_server(redis, api_token=TOKEN, mounts={"/hook": hook}) as server:
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
    async with http_server(redis, api_token=TOKEN, mounts={"/hook": hook}) as patient:
        assert await patient.status(endless) == 413


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

    async def slow(request: web.Request) -> web.Response:
        await go_on.wait()
        return web.Response(text="finished")

    async with http_server(
        redis, api_token=TOKEN, mounts={"/hook": slow}, bounds=Bounds(connections=5)
    ) as server:
        at_work = [asyncio.create_task(server.exchange(request("/hook"))) for _ in range(5)]

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


# --- anything -------------------------------------------------------------------------------------------


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    base=st.sampled_from([GOOD, *(attack for attack, _ in STRANGE.values() if len(attack) < 2_000)]),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3), st.binary(max_size=8)), max_size=4),
)
async def test_no_change_of_bytes_makes_an_error_of_ours(
    server: HttpServer, base: bytes, changes: list[tuple[int, int, bytes]]
) -> None:
    """A request with bytes taken out and put in anywhere is answered or refused."""
    for at, removed, added in changes:
        at = min(at, len(base))
        base = base[:at] + added + base[at + removed :]
    # what follows ends the head that is still open, so that nothing is waited for
    response = await server.exchange(base + b"\r\n\r\n")
    assert status_of(response) < 500


async def test_bodies_of_strangers_take_little_memory_together(redis: Redis) -> None:
    """Many large bodies that do not end are not kept all at once, and small ones still arrive."""

    def head(size: int) -> bytes:
        return f"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()

    async with (
        http_server(redis, api_token=TOKEN, mounts={"/hook": hook}) as server,
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
