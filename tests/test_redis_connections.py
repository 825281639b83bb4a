"""Connections to Redis: time limits, order of those who wait, and the form of commands."""

# mypy: disable-error-code="no-untyped-call"
# redis-py leaves the methods of its pools untyped

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from redis._parsers import _AsyncHiredisParser, _AsyncRESP2Parser
from redis.asyncio import Connection, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import DataError
from redis.exceptions import TimeoutError as RedisTimeoutError

from bot.storage.connections import Pool
from tests.support.event_loops import ON_EACH_LOOP, run_on
from tests.support.wait import wait_until

LIMIT = 0.3
"""Seconds that a client waits for Redis."""

PARSERS = (_AsyncHiredisParser, _AsyncRESP2Parser)
"""Readers of replies: the usual one, and redis-py's own, which it takes where it finds no hiredis."""

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


@pytest.fixture(params=PARSERS, ids=lambda each: each.__name__)
def parser(request: pytest.FixtureRequest) -> Any:
    """Return each parser in turn."""
    return request.param


@asynccontextmanager
async def redis_that(answers: Answer, parser: Any) -> AsyncIterator[Redis]:
    """Yield a client with one connection to a server that does as `answers` says."""
    serving: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())  # type: ignore[arg-type]  # it is one
        try:
            await answers(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pool = Pool(
        host="127.0.0.1",
        port=port,
        max_connections=1,
        timeout=10,
        socket_timeout=LIMIT,
        protocol=2,
        parser_class=parser,
        driver_info=None,  # so that a connection begins without a request
    )
    async with server, Redis.from_pool(pool) as redis:
        yield redis
        for task in serving:
            task.cancel()


async def test_a_reply_that_does_not_come_is_given_up_at_the_time_limit(parser: Any) -> None:
    """The next request has a new connection."""
    peers: list[tuple[Any, ...]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer.get_extra_info("peername"))
        while await reader.read(1000):
            if len(peers) > 1:
                writer.write(b"+OK\r\n")

    async with redis_that(answer, parser) as redis:
        with pytest.raises(RedisTimeoutError, match="Timeout reading"):
            await redis.get("key")
        assert await redis.get("key") == b"OK"
    assert len(set(peers)) == 2


async def test_the_time_limit_is_that_of_each_reply(parser: Any) -> None:
    """Together they may take longer."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            await asyncio.sleep(LIMIT / 2)
            writer.write(b"+OK\r\n")

    async with redis_that(answer, parser) as redis:
        assert [await redis.get("key") for _ in range(4)] == [b"OK"] * 4


async def test_a_command_that_nobody_reads_is_given_up_at_the_time_limit(parser: Any) -> None:
    """It is larger than what the operating system takes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(10 * LIMIT)

    async with redis_that(answer, parser) as redis:
        with pytest.raises(RedisTimeoutError, match="Timeout writing"):
            await redis.set("key", bytes(30_000_000))


async def test_a_connection_goes_to_whoever_waits_for_it(parser: Any) -> None:
    """A later request waits, too: it would otherwise take each connection that becomes free."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with redis_that(answer, parser) as redis:
        pool = redis.connection_pool
        connection = await pool.get_connection()
        served: list[int] = []

        async def take(number: int) -> None:
            taken = await pool.get_connection()
            served.append(number)
            await pool.release(taken)

        first = asyncio.create_task(take(1))
        await asyncio.sleep(0)
        await pool.release(connection)
        await asyncio.gather(first, take(2))
        assert served == [1, 2]
        assert await pool.get_connection() is connection


@pytest.mark.parametrize(
    "command",
    [
        ("GET", "clé"),
        ("CONFIG GET", "save"),
        (b"SET", b"\x00\r\n", 10, 1.5, memoryview(b"view"), bytearray(b"array")),
        ("SET", "key", "x" * 20_000),
    ],
)
def test_a_command_is_packed_as_redis_py_does(command: tuple[Any, ...]) -> None:
    """Its own way takes many times as many function calls."""
    ours, theirs = Pool().connection_class(), Connection()
    assert b"".join(ours.pack_command(*command)) == b"".join(theirs.pack_command(*command))


@pytest.mark.parametrize("value", [None, True, ["list"]])
def test_a_value_that_redis_cannot_hold_is_refused_as_redis_py_does(value: Any) -> None:
    with pytest.raises(DataError):
        Pool().connection_class().pack_command("SET", "key", value)


async def _pings_around_a_reset() -> list[bool]:
    """Return the replies to a ping before and after the server resets the idle connection."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(ConnectionError):
            while await reader.read(1024):
                writer.write(b"+PONG\r\n")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pool = Pool(
        host="127.0.0.1",
        port=port,
        max_connections=1,
        timeout=10,
        socket_timeout=5,
        protocol=2,
        driver_info=None,
        retry=Retry(NoBackoff(), 1),
    )
    async with server, Redis.from_pool(pool) as redis:
        pings = [await redis.ping()]
        (connection,) = pool._available_connections
        assert connection._writer is not None
        at_once = struct.pack("ii", 1, 0)
        writers[0].get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        writers[0].transport.abort()
        await wait_until(connection._writer.transport.is_closing, "the reset has arrived")
        pings += [await redis.ping(), await redis.ping()]
        writers[-1].close()
    return pings


@ON_EACH_LOOP
def test_a_connection_that_was_reset_is_opened_again(loop: str) -> None:
    """Fault: uvloop refuses to write on it with an error that ends whoever writes."""
    assert run_on(loop, _pings_around_a_reset()) == [True, True, True]
