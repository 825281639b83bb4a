"""Connections to Postgres that are closed when an answer takes more memory than one may.

asyncpg keeps each message whole, and most rows, plans and errors can be made as long as 1 GiB by a query:
`EXPLAIN` and the text of an error repeat the values in it.
"""

import asyncio
import logging
from typing import Any, cast

import asyncpg

log = logging.getLogger(__name__)

MOST_BYTES = 64 << 20
"""The size of everything that the server sends between two calls of `begin`."""


class BoundedConnection(asyncpg.Connection):
    """Connection that counts what the server sends."""

    def __init__(self, protocol: Any, transport: asyncio.Transport, *more: Any) -> None:
        super().__init__(protocol, transport, *more)
        self.answer = Answer(protocol, transport)
        transport.set_protocol(self.answer)


def answer_of(connection: object) -> "Answer":
    """Return what a `BoundedConnection`, which a pool may have wrapped, is being sent."""
    return cast("Answer", cast(Any, connection).answer)


class Answer(asyncio.Protocol):
    """Pass on to asyncpg what the server sends, at most `MOST_BYTES` of it."""

    def __init__(self, protocol: Any, transport: asyncio.Transport) -> None:
        self._protocol = protocol
        self._transport = transport
        self._size = 0

    @property
    def is_too_long(self) -> bool:
        """True when the connection was closed for it."""
        return self._size > MOST_BYTES

    def begin(self) -> None:
        """Count from here."""
        self._size = 0

    def data_received(self, data: bytes) -> None:
        """Pass on a piece, or close the connection."""
        was_too_long = self.is_too_long
        self._size += len(data)
        if was_too_long:
            return
        if self._size > MOST_BYTES:
            log.warning("answer of the database too long", extra={"most_bytes": MOST_BYTES})
            self._transport.abort()
        else:
            self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on the end."""
        ends: bool | None = self._protocol.eof_received()
        return ends

    def connection_lost(self, error: Exception | None) -> None:
        """Pass on the loss."""
        self._protocol.connection_lost(error)

    def pause_writing(self) -> None:
        """Pass on that the buffer is full."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the buffer has room."""
        self._protocol.resume_writing()
