"""Connections to Redis that need no task and no timer for a request.

redis-py starts a task to send a request, and enters a condition and two time limits around it. A request that
finds a free connection and an empty write buffer cannot wait there; all others go redis-py's way.
"""

# redis-py leaves the methods of its pool and its connections untyped:
# mypy: disable-error-code="no-untyped-call"

import asyncio
import math
from collections.abc import Iterable
from typing import Any

import hiredis
from redis.asyncio import BlockingConnectionPool, Connection
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError


class Pool(BlockingConnectionPool):
    """Pool that gives a free connection away at once, unless somebody waits for it."""

    def __init__(self, *, connection_class: type[AbstractConnection] = Connection, **options: Any) -> None:
        quick = type(connection_class.__name__, (_Quick, connection_class), {"__slots__": ()})
        super().__init__(connection_class=quick, **options)
        self._waiting = 0

    async def get_connection(self, command_name: Any = None, *keys: Any, **options: Any) -> Any:
        """Return a connection that is open; wait for a free one if there is none."""
        if self._waiting or self._in_maintenance or not self._available_connections:
            self._waiting += 1
            try:
                return await super().get_connection()
            finally:
                self._waiting -= 1
        connection = self.get_available_connection()
        try:
            await self.ensure_connection(connection)
        except BaseException:  # raised again; also if cancelled, or the pool would lose the connection
            await self.release(connection)
            raise
        return connection

    async def release(self, connection: AbstractConnection) -> None:
        """Take a connection back."""
        if self._waiting or self._in_maintenance or connection.should_reconnect():
            await super().release(connection)
        else:
            self._in_use_connections.remove(connection)
            self._available_connections.append(connection)


class _Quick(AbstractConnection):
    """Connection that waits only for writes that cannot be sent at once, and has one timer for all reads."""

    __slots__ = ()
    _deadline = math.inf
    _timer: asyncio.TimerHandle | None = None

    async def connect(self) -> None:
        """Connect, unless it is connected."""
        if not self.is_connected:
            await super().connect()

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        """Send commands; wait, as long as redis-py does, only for what the operating system does not take."""
        if self._writer is None or isinstance(command, bytes | str):
            await super().send_packed_command(command, check_health)
            return
        if check_health:
            await self.check_health()
        if self._writer.transport.is_closing():  # by a reset; uvloop refuses to write, with a RuntimeError
            await self.disconnect(nowait=True)
            raise RedisConnectionError("the connection to Redis was lost")
        self._writer.writelines(command)
        if self._writer.transport.get_write_buffer_size():
            await super().send_packed_command((), check_health=False)

    async def read_response(
        self,
        disable_decoding: bool = False,
        timeout: float | None = None,
        *,
        disconnect_on_error: bool = True,
        push_request: bool | None = False,
    ) -> Any:
        """Return the next reply. Raises redis-py's `TimeoutError` after the time limit of the socket."""
        if timeout is None and self.socket_timeout:
            timeout = math.inf  # redis-py then sets no timer
            self._limit_read(self.socket_timeout)
        try:
            return await super().read_response(
                disable_decoding,
                timeout,
                disconnect_on_error=disconnect_on_error,
                push_request=push_request,
            )
        finally:
            self._deadline = math.inf

    def _limit_read(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._deadline = loop.time() + seconds
        if self._timer is None:
            self._timer = loop.call_at(self._deadline, self._end_read)

    def _end_read(self) -> None:
        self._timer = None
        if self._deadline == math.inf or self._reader is None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._deadline:  # an earlier read had set the timer
            self._timer = loop.call_at(self._deadline, self._end_read)
        else:
            self._reader.set_exception(RedisTimeoutError(f"Timeout reading from {self._host_error()}"))

    def _reschedule_active_read_timeout(self, timeout: float | None) -> None:
        # Redis has announced its maintenance
        if self._deadline != math.inf:
            self._deadline = asyncio.get_running_loop().time() + (timeout or math.inf)

    def pack_command(self, *args: Any) -> list[bytes]:
        """Return a command in the protocol of Redis. Raises redis-py's `DataError`."""
        name, *values = args
        try:
            return [hiredis.pack_command((*name.split(), *values))]  # a name may have two words: CONFIG GET
        except TypeError:  # a value of another type than str, bytes, int and float
            return super().pack_command(*args)
