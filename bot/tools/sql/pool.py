"""Connection pool for the business database; queries run in read-only transactions that are rolled back."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias
from weakref import WeakValueDictionary

import asyncpg

from bot.tools.context import asker
from bot.tools.errors import ToolFailure
from bot.tools.sql.bounds import MOST_BYTES, BoundedConnection, answer_of
from bot.tools.sql.errors import (
    BUSY,
    CONNECTION_ERRORS,
    DatabaseBusy,
    DatabaseDown,
    translate_errors,
)

log = logging.getLogger(__name__)

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

Admit: TypeAlias = Callable[[Connection], Awaitable[None]]
"""Checks the role of a connection before reading. Raises `ToolFailure` to refuse it."""

_CONNECT_SECONDS = 5
ACQUIRE_SECONDS = 10.0
_CLOSE_SECONDS = 5
_ROLLBACK_SECONDS = 1

_TOO_LONG = (
    "The answer of the database is too long to be read: a plan or an error that repeats a huge value, or "
    "very long rows.\nSelect less, or cut long values with left()."
)

_BEGIN = """
BEGIN READ ONLY;
SET LOCAL statement_timeout = {milliseconds};
SET LOCAL lock_timeout = {lock_milliseconds};
SET LOCAL idle_in_transaction_session_timeout = '60s';
-- one server process per query; and JIT compilation cannot be interrupted
SET LOCAL max_parallel_workers_per_gather = 0;
SET LOCAL jit = off;
-- else a backslash before a quote would mean one thing to the guard and another to the server
SET LOCAL standard_conforming_strings = on;
SET LOCAL datestyle = 'ISO';
SET LOCAL intervalstyle = 'postgres';
SET LOCAL bytea_output = 'hex';
"""


async def everybody(_: Connection) -> None:
    """Admit every role."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Connections with the check of their role, and a share of them for each user.

    A user gets at most a third of the connections, so that slow queries of one leave some for others. HTTP
    callers are indistinguishable and get all except one. `acquire_seconds` is the longest wait for a
    connection, `most_bytes` the largest response.
    """

    connections: "asyncpg.Pool[asyncpg.Record]"
    admit: Admit
    acquire_seconds: float = ACQUIRE_SECONDS
    most_bytes: int = MOST_BYTES
    shares: WeakValueDictionary[str, asyncio.Semaphore] = field(default_factory=WeakValueDictionary)

    def share(self, person: str) -> asyncio.Semaphore:
        """Return the semaphore of a user's connections; its holders and waiters keep it alive."""
        size = self.connections.get_max_size()
        most = size - 1 if person.startswith("http:") else size // 3 if person else size
        return self.shares.setdefault(person, asyncio.Semaphore(max(1, most)))

    @property
    def is_busy(self) -> bool:
        """Return True if all connections are in use."""
        connections = self.connections
        return connections.get_size() == connections.get_max_size() and not connections.get_idle_size()


@asynccontextmanager
async def open_pool(
    dsn: str,
    *,
    size: int,
    admit: Admit = everybody,
    acquire_seconds: float = ACQUIRE_SECONDS,
    most_bytes: int = MOST_BYTES,
) -> AsyncIterator[Pool]:
    """Open a pool of at most `size` connections. They connect on demand, so this never fails."""
    connections = asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=size,
        timeout=_CONNECT_SECONDS,
        # queries rarely repeat, and poolers such as PgBouncer cannot keep prepared statements
        statement_cache_size=0,
        server_settings={"application_name": "bot"},
        connection_class=BoundedConnection,
    )
    await connections
    try:
        yield Pool(connections, admit, acquire_seconds, most_bytes)
    finally:
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await connections.close()
        except TimeoutError:
            log.warning("database connections not closed in time")


@asynccontextmanager
async def read_transaction(pool: Pool, seconds: float) -> AsyncIterator[Connection]:
    """Yield a `transaction` for a tool: with an admitted role, and within the user's share."""
    async with pool.share(asker()), transaction(pool, seconds) as connection:
        with translate_errors("", seconds):
            await pool.admit(connection)
        yield connection


@asynccontextmanager
async def transaction(pool: Pool, seconds: float, patience: float | None = None) -> AsyncIterator[Connection]:
    """Yield a connection in a read-only transaction that is always rolled back. Raises `ToolFailure`.

    Waits up to `patience` seconds for a connection; the body may take `seconds`. Cancelling the task also
    cancels the query on the server (asyncpg).
    """
    async with acquire(pool, seconds, patience) as connection:
        answer = answer_of(connection)
        try:
            with translate_errors("", seconds):
                await connection.execute(_begin(seconds))
            yield connection
        except DatabaseDown as error:
            if answer.is_too_long:
                raise ToolFailure(_TOO_LONG) from error
            raise


@asynccontextmanager
async def acquire(pool: Pool, seconds: float, patience: float | None = None) -> AsyncIterator[Connection]:
    """Yield a connection; a transaction that the body leaves open is rolled back. Raises `ToolFailure`."""
    with translate_errors("", seconds):
        try:
            connection = await pool.connections.acquire(timeout=patience or pool.acquire_seconds)
        except TimeoutError as error:
            if pool.is_busy:
                raise DatabaseBusy(BUSY) from error
            raise
    answer_of(connection).begin(pool.most_bytes)
    try:
        async with asyncio.timeout(seconds + 1):
            yield connection
    except TimeoutError as error:
        raise DatabaseDown(f"The database did not answer within {seconds:.0f} s.") from error
    finally:
        await _give_back(pool, connection)


def _begin(seconds: float) -> str:
    milliseconds = round(seconds * 1_000)
    return _BEGIN.format(milliseconds=milliseconds, lock_milliseconds=milliseconds // 10)


async def _give_back(pool: Pool, connection: Connection) -> None:
    try:
        await connection.execute("ROLLBACK", timeout=_ROLLBACK_SECONDS)
    except (*CONNECTION_ERRORS, asyncpg.PostgresError):
        with suppress(asyncpg.InterfaceError):  # the pool has released a lost connection already
            connection.terminate()
    finally:
        await pool.connections.release(connection)
