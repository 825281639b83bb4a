"""Proxy before Redis that reports each write of a turn."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Self

from bot.concurrency.tasks import cancel
from tests.servers.closing import take_up_connections
from tests.servers.steps import Steps, unobserved

_MEMORY = b"checkpoint:"
"""Beginning of the keys of thread memories."""

_WORDS = 9
_NOTHING = (b"*-1\r\n", b"$-1\r\n", b"_\r\n")


class RedisProxy:
    """Proxy that forwards commands, one at a time for each connection, to the Redis at a Unix socket.

    Steps are the runs of the scripts in `scripts` (by SHA-1), and reads that take something from a stream.
    All other commands are not reported: those without a turn, reads, and changes of a TTL.
    """

    def __init__(self, path: str, scripts: Mapping[str, str]) -> None:
        self._path = path
        self._scripts = scripts
        self._connections: set[asyncio.Task[Any]] = set()
        self.steps: Steps = unobserved
        self.marks: dict[bytes, str] = {}
        """Names of the results that a write to a thread memory may add, oldest first, by their bytes."""

    @property
    def url(self) -> str:
        """Return the proxy's address."""
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"redis://{host}:{port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await take_up_connections()
        self._server.close()
        self.drop()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def drop(self) -> None:
        """Close all connections except the calling one, as the system does when a process dies."""
        for connection in self._connections - {asyncio.current_task()}:
            connection.cancel()

    async def _accept(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        try:
            async with self._redis() as (replies, redis):
                await self._pass_on(client, answers, replies, redis)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # either side has gone
        finally:
            self._connections.discard(connection)
            answers.close()

    @contextlib.asynccontextmanager
    async def _redis(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_unix_connection(self._path)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def _pass_on(
        self,
        client: asyncio.StreamReader,
        answers: asyncio.StreamWriter,
        replies: asyncio.StreamReader,
        redis: asyncio.StreamWriter,
    ) -> None:
        while True:
            command = await _value(client)
            words = _words(command)
            if words[0] == b"SUBSCRIBE":
                redis.write(command)
                await _both_ways(client, answers, replies, redis)
                return
            async with self._step(words, command):
                redis.write(command)
                reply = await _value(replies)
            if words[0] == b"XREADGROUP" and reply not in _NOTHING:
                async with self.steps("takes the thread"):
                    pass  # all before it has taken, all after it was not told so
            answers.write(reply)
            await answers.drain()

    def _step(self, words: Sequence[bytes], command: bytes) -> contextlib.AbstractAsyncContextManager[None]:
        script = self._scripts.get(words[1].decode()) if words[0] == b"EVALSHA" else None
        if script is None or words[7:8] == [b"EXPIRE"]:
            return contextlib.nullcontext()
        return self.steps(self._write(words, command) if script == "FENCED" else script)

    def _write(self, words: Sequence[bytes], command: bytes) -> str:
        """Return the name of a run of the guarding script, by the first of its commands."""
        kind, key = words[7:9]
        if key.startswith(_MEMORY):
            # a checkpoint has all that is known; the newest is what this write adds
            held = [self.marks.pop(each) for each in list(self.marks) if each in command]
            if held:
                return f"memory holds the {held[-1]}"
        return f"memory {kind.decode()} {key.split(b':')[0].decode()}"


async def _both_ways(
    client: asyncio.StreamReader,
    answers: asyncio.StreamWriter,
    replies: asyncio.StreamReader,
    redis: asyncio.StreamWriter,
) -> None:
    """Forward data in both directions until one side has gone."""
    directions = [asyncio.create_task(_pour(client, redis)), asyncio.create_task(_pour(replies, answers))]
    try:
        await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel(*directions)


async def _pour(source: asyncio.StreamReader, into: asyncio.StreamWriter) -> None:
    while data := await source.read(2**16):
        into.write(data)
        await into.drain()


async def _value(reader: asyncio.StreamReader) -> bytes:
    """Return the bytes of one complete value of https://redis.io/docs/latest/develop/reference/protocol-spec."""
    line = await reader.readuntil(b"\r\n")
    kind, length = line[:1], line[1:-2]
    if kind in b"$=!":
        return line if length == b"-1" else line + await reader.readexactly(int(length) + 2)
    if kind in b"*~>%":
        count = max(0, int(length)) * (2 if kind == b"%" else 1)
        return line + b"".join([await _value(reader) for _ in range(count)])
    return line


def _words(command: bytes) -> list[bytes]:
    """Return the first words of a command, which is an array of strings."""
    return command.split(b"\r\n", 2 * _WORDS + 1)[2 : 2 * _WORDS + 1 : 2]
