"""Round trips from the bot to Redis, with their origins and the commands that scripts run within them.

The client tells the trips and their origins; MONITOR tells what Redis ran for each script.
"""

import asyncio
import re
import sys
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import AbstractConnection

import bot

BACKGROUND = frozenset(
    {
        "Requests.keep_expiring",
        "CatchUp._keep",
        "ChannelStore.keep_fresh",
        "Conversation._look_up",
        "Inbox.keep_whole",
        "Filer._keep_complete",
        "Filer._keep_filed",
        "Lookup.keep_learning_hangs",
        "_Worker._keep_leases",
        "_Worker._listen_for_stops",
        "keep_up",
        "supervise",
    }
)
"""Coroutines whose trips depend on the time and not on the number of turns."""

_BOT = f"{Path(bot.__file__).parent}/"
_FENCE = "/inbox/fence.py"
_NO_ORIGIN = re.compile(r"/redis/|/inbox/fence\.py$|/redis_trips\.py$")
_SCRIPTS = (b"EVALSHA", b"EVAL", b"FCALL")


@dataclass(slots=True)
class Trip:
    """One request to Redis and its reply. `origin` is the line of the bot that made it.

    `ran` are the commands that its scripts ran; `sent` and `replies` are bytes of the protocol.
    """

    origin: str
    commands: list[tuple[bytes, ...]]
    ran: list[tuple[bytes, ...]] = field(default_factory=list)
    sent: int = 0
    replies: list[int] = field(default_factory=list)

    @property
    def received(self) -> int:
        """Return the bytes of the replies, without those to the greeting of a new connection."""
        return sum(self.replies[-len(self.commands) :])

    @property
    def all_commands(self) -> list[tuple[bytes, ...]]:
        """Return the commands that were sent, and those that its scripts ran."""
        return [*self.commands, *self.ran]

    @property
    def names(self) -> list[str]:
        """Return the names of all commands."""
        return [_name(each) for each in self.all_commands]

    def __str__(self) -> str:
        own, inner = (_listed(each) for each in (self.commands, self.ran))
        return f"{self.origin}: {own}" + (f" -> {inner}" if inner else "")


class RedisTrips:
    """Trips of all clients in this process except those of tests, and except the background's."""

    def __init__(self, monitor: "_Monitor") -> None:
        self._monitor = monitor
        self._trips: list[Trip] = []

    async def take(self) -> list[Trip]:
        """Return the trips since the last call."""
        trips, self._trips = self._trips, []
        await self._monitor.assign(trips)
        return trips

    async def record(self, call: Any, commands: Iterable[Sequence[Any]]) -> Any:
        """Make a request and record it."""
        origin = _origin()
        encoded = [tuple(_encoded(each) for each in command) for command in commands]
        trip = Trip(origin or "", encoded, sent=sum(map(_size, encoded)))
        with _within(trip):
            reply = await call
        is_wait = encoded[0][0] == b"XREADGROUP" and not reply  # it depends on the time
        if origin is not None and not is_wait:
            self._trips.append(trip)
        return reply


@asynccontextmanager
async def redis_trips(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RedisTrips]:
    """Record the trips to the Redis at `url` while the context is open."""
    async with _monitor(url) as monitor:
        trips = RedisTrips(monitor)
        request, execute, read = Redis.execute_command, Pipeline.execute, AbstractConnection.read_response

        async def execute_command(redis: Any, *args: Any, **options: Any) -> Any:
            return await trips.record(request(redis, *args, **options), [args])  # type: ignore[no-untyped-call]

        async def execute_pipeline(pipeline: Any, raise_on_error: bool = True) -> Any:
            commands = [args for args, _ in pipeline.command_stack]
            if not commands:
                return await execute(pipeline, raise_on_error)
            if pipeline.is_transaction:
                commands = [("MULTI",), *commands, ("EXEC",)]
            return await trips.record(execute(pipeline, raise_on_error), commands)

        async def read_response(connection: Any, *args: Any, **options: Any) -> Any:
            reply = await read(connection, *args, **options)
            if trip := _current.get():
                trip.replies.append(_size(reply))
            return reply

        monkeypatch.setattr(Redis, "execute_command", execute_command)
        monkeypatch.setattr(Pipeline, "execute", execute_pipeline)
        monkeypatch.setattr(AbstractConnection, "read_response", read_response)
        yield trips


_current: ContextVar[Trip | None] = ContextVar("trip", default=None)


@contextmanager
def _within(trip: Trip) -> Iterator[None]:
    token = _current.set(trip)
    try:
        yield
    finally:
        _current.reset(token)


def _origin() -> str | None:
    """Return the innermost function of the bot on the stack, else of a library; None for the background."""
    place = library = ""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        if code.co_qualname in BACKGROUND:
            return None
        if not place and code.co_filename.startswith(_BOT) and not code.co_filename.endswith(_FENCE):
            place = f"{code.co_filename[len(_BOT) :]} {code.co_qualname}"
        if not library and not _NO_ORIGIN.search(code.co_filename):
            library = code.co_qualname
        frame = frame.f_back
    return place or library


def _encoded(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return repr(value).encode() if isinstance(value, float) else str(value).encode()


def _size(value: Any) -> int:
    """Return the bytes of a value in https://redis.io/docs/latest/develop/reference/protocol-spec."""
    if isinstance(value, bytes | str):
        length = len(value.encode() if isinstance(value, str) else value)
        return len(str(length)) + length + 5
    if isinstance(value, dict):
        value = [each for pair in value.items() for each in pair]
    if isinstance(value, list | tuple):
        return len(str(len(value))) + 3 + sum(map(_size, value))
    return len(str(value)) + 3 if value is not None else 5


def _name(command: tuple[bytes, ...]) -> str:
    return command[0].decode().upper()


def _listed(commands: Sequence[tuple[bytes, ...]]) -> str:
    counts = Counter(map(_name, commands)).items()
    return ", ".join(f"{count} {name}" if count > 1 else name for name, count in counts)


class _Monitor:
    """Reader of MONITOR, and a second connection that marks the end of what is to be read."""

    def __init__(self, lines: asyncio.StreamReader, marks: asyncio.StreamWriter) -> None:
        self._lines = lines
        self._marks = marks
        self._count = 0

    async def assign(self, trips: Sequence[Trip]) -> None:
        """Give each script's commands to the trip that ran it."""
        waiting: dict[tuple[bytes, ...], deque[Trip]] = defaultdict(deque)
        for trip in trips:
            for command in trip.commands:
                if command[0] in _SCRIPTS:
                    waiting[command].append(trip)
        running: Trip | None = None
        async for command, is_inner in self._read():
            if not is_inner:
                running = waiting[command].popleft() if waiting.get(command) else None
            elif running:
                running.ran.append(command)
        left = [str(trip) for each in waiting.values() for trip in each]
        assert not left, f"scripts that MONITOR does not show: {left}"

    async def _read(self) -> AsyncIterator[tuple[tuple[bytes, ...], bool]]:
        self._count += 1
        mark = b"end of part %d" % self._count
        self._marks.write(b'ECHO "%s"\r\n' % mark)
        while line := await self._lines.readline():
            found = _LINE.match(line)
            assert found, line
            command = tuple(_unescaped(each) for each in _ARGUMENT.findall(found[2]))
            if command == (b"ECHO", mark):
                return
            yield command, found[1].endswith(b"lua")


_LINE = re.compile(rb"\+[\d.]+ \[\d+ ([^\]]*)\] (.*)\r\n", re.DOTALL)
_ARGUMENT = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)


def _unescaped(argument: bytes) -> bytes:
    return argument.decode("unicode_escape").encode("latin-1") if b"\\" in argument else argument


@asynccontextmanager
async def _monitor(url: str) -> AsyncIterator[_Monitor]:
    kwargs = Redis.from_url(url).connection_pool.connection_kwargs
    async with _connection(kwargs["path"]) as (lines, monitor), _connection(kwargs["path"]) as (_, marks):
        monitor.write(b"MONITOR\r\n")
        assert await lines.readline() == b"+OK\r\n"
        yield _Monitor(lines, marks)


@asynccontextmanager
async def _connection(path: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(path, limit=2**24)
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()
