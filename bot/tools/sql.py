"""Queries that a model wrote, run so that they can change nothing and hold nothing up.

The walls, from the outside in: `sql_guard` lets one reading statement pass; it runs in a read-only
transaction that is always rolled back, with time limits; no more rows and characters leave the server
than are shown; and the database role's rights bound everything.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TypeAlias

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from bot.tools import sql_guard
from bot.tools.sql_errors import CONNECTION_ERRORS, DatabaseDown, translated
from bot.tools.sql_format import MAX_CELL_CHARS, Column, Result, row_line

log = logging.getLogger(__name__)

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

_CONNECT_SECONDS = 5
_ACQUIRE_SECONDS = 10
_CLOSE_SECONDS = 5
_ROLLBACK_SECONDS = 1
_PREFETCH_ROWS = 20

_SMALL_TYPES = frozenset(
    {"bool", "int2", "int4", "int8", "oid", "float4", "float8", "numeric", "uuid", "void"}
)
"""Types of pg_catalog whose values are read as they are; others arrive as text, cut on the server."""

_BEGIN = """
BEGIN READ ONLY;
SET LOCAL statement_timeout = {milliseconds};
SET LOCAL lock_timeout = {lock_milliseconds};
SET LOCAL idle_in_transaction_session_timeout = '60s';
-- otherwise a backslash before a quote would mean one thing to the guard and another to the server
SET LOCAL standard_conforming_strings = on;
SET LOCAL datestyle = 'ISO';
SET LOCAL intervalstyle = 'postgres';
SET LOCAL bytea_output = 'hex';
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a query may take: `rows` and `chars` of the result as a table, `seconds` at work."""

    rows: int = 100
    chars: int = 16_000
    seconds: float = 30


@asynccontextmanager
async def open_pool(dsn: str, *, size: int) -> AsyncIterator[Pool]:
    """A pool of at most `size` connections. None is opened before it is needed, so this never fails."""
    pool = asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=size,
        timeout=_CONNECT_SECONDS,
        # queries rarely come twice, and poolers such as PgBouncer cannot keep prepared statements
        statement_cache_size=0,
        server_settings={"application_name": "bot"},
    )
    await pool
    try:
        yield pool
    finally:
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await pool.close()
        except TimeoutError:
            log.warning("database connections were still in use at the end")


@asynccontextmanager
async def reading(pool: Pool, seconds: float) -> AsyncIterator[Connection]:
    """A connection in a read-only transaction that is rolled back at the end, whatever happened.

    The body may take `seconds` (and a little more, before a server that does not even cancel is left).
    Cancelling the task cancels the query on the server: asyncpg does so before it rolls back.
    Raises `ToolFailure` when there is no connection to be had.
    """
    async with acquired(pool, seconds) as connection:
        with translated("", seconds):
            await connection.execute(_begin(seconds))
        yield connection


@asynccontextmanager
async def acquired(pool: Pool, seconds: float) -> AsyncIterator[Connection]:
    """A connection; a transaction that the body leaves open is rolled back. Raises `ToolFailure`."""
    with translated("", seconds):
        connection = await pool.acquire(timeout=_ACQUIRE_SECONDS)
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
        with suppress(asyncpg.InterfaceError):  # when the connection was lost, the pool has let go of it
            connection.terminate()
    finally:
        await pool.release(connection)


async def fetch(pool: Pool, query: str, limits: Limits) -> Result:
    """The first rows of a query that nobody has checked. Raises `ToolFailure`, see `sql_guard.check`."""
    statement = sql_guard.check(query)
    async with reading(pool, limits.seconds) as connection:
        with translated(statement.text, limits.seconds):
            prepared = await connection.prepare(statement.text)
        columns = _columns(prepared)
        with translated("", limits.seconds):
            if statement.is_select and columns:
                prepared = await connection.prepare(_bounded(statement.text, columns, limits.rows + 1))
            rows, is_complete = await _first_rows(prepared, limits)
    return Result(columns, tuple(rows), is_complete)


def _columns(prepared: "PreparedStatement[asyncpg.Record]") -> tuple[Column, ...]:
    return tuple(Column(each.name, each.type.name) for each in prepared.get_attributes())


def _bounded(select: str, columns: Sequence[Column], rows: int) -> str:
    """The same query, of which the server sends no more rows, and no longer values, than are shown."""
    names = [f"c{number}" for number in range(len(columns))]
    values = [
        name if column.type in _SMALL_TYPES else f"left({name}::text, {MAX_CELL_CHARS + 1})"
        for name, column in zip(names, columns, strict=True)
    ]
    return f"SELECT {', '.join(values)} FROM (\n{select}\n) AS answer({', '.join(names)}) LIMIT {rows}"  # noqa: S608 - the guard passed it


async def _first_rows(
    prepared: "PreparedStatement[asyncpg.Record]", limits: Limits
) -> tuple[list[tuple[object, ...]], bool]:
    """Rows up to the limits, and whether these are all."""
    rows: list[tuple[object, ...]] = []
    chars = 0
    async for record in prepared.cursor(prefetch=_PREFETCH_ROWS):
        row = tuple(record.values())
        chars += len(row_line(row))
        if len(rows) == limits.rows or (rows and chars > limits.chars):
            return rows, False
        rows.append(row)
    return rows, True
