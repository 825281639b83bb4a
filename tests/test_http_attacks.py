"""Raw bytes against the HTTP server: malformed and smuggled requests are no errors of ours."""

import asyncio
import gzip
import json

import pytest
from aiohttp import helpers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from bot.http.bodies import MAX_TYPE_CHARS
from tests.support import http_attack
from tests.support.http_attack import GOOD, HASTY, ROUTES, is_well, request
from tests.support.http_server import HttpServer, http_server, status_of

server = http_attack.server
quiet = http_attack.quiet


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
    "brackets for a webhook": (request("/hook", kind="application/json; " + "(" * 8_000), 415),
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
