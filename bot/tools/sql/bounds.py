"""Connections to Postgres that are closed when a response takes too much memory.

asyncpg holds each message in memory, and a query can make rows, plans and errors as long as 1 GiB: `EXPLAIN`
and error texts repeat its values.
"""

import asyncio
import logging
from typing import Any, cast

import asyncpg

log = logging.getLogger(__name__)

MOST_BYTES = 64 << 20
"""Most bytes of a response by default."""


class BoundedConnection(asyncpg.Connection):
    """Connection that counts the received bytes."""

    def __init__(self, protocol: Any, transport: asyncio.Transport, *more: Any) -> None:
        super().__init__(protocol, transport, *more)
        self.answer = Answer(protocol, transport)
        transport.set_protocol(self.answer)


def answer_of(connection: object) -> "Answer":
    """Return the byte counter of a `BoundedConnection`, also within a pool's proxy."""
    return cast("Answer", cast(Any, connection).answer)


class Answer(asyncio.Protocol):
    """Protocol that forwards received data to asyncpg, at most `most_bytes` between two calls of `begin`."""

    def __init__(self, protocol: Any, transport: asyncio.Transport) -> None:
        self._protocol = protocol
        self._transport = transport
        self._size = 0
        self._most_bytes = MOST_BYTES

    @property
    def is_too_long(self) -> bool:
        """Return True if the connection was closed because of the limit."""
        return self._size > self._most_bytes

    def begin(self, most_bytes: int) -> None:
        """Reset the counter and set the limit."""
        self._size = 0
        self._most_bytes = most_bytes

    def data_received(self, data: bytes) -> None:
        """Forward data, or close the connection at the limit."""
        was_too_long = self.is_too_long
        self._size += len(data)
        if was_too_long:
            return
        if self.is_too_long:
            log.warning("database response too long", extra={"most_bytes": self._most_bytes})
            self._transport.abort()
        else:
            self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        """Forward the end of the data."""
        ends: bool | None = self._protocol.eof_received()
        return ends

    def connection_lost(self, error: Exception | None) -> None:
        """Forward the loss of the connection."""
        self._protocol.connection_lost(error)

    def pause_writing(self) -> None:
        """Forward that the write buffer is full."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Forward that the write buffer has room."""
        self._protocol.resume_writing()
