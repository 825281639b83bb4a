"""Single entrance to the business database: every tool gets its rows here, and never a connection.

Layers of defence: `guard` admits one reading statement; `resolution` refuses names that do more than read;
the statement runs in a read-only transaction with time limits that is always rolled back; the server sends no
more rows, columns and characters than are shown; and the database role, which `role` examines, limits
everything.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from bot.chat import Health
from bot.tools.sql import catalog as sql_catalog
from bot.tools.sql import guard
from bot.tools.sql import rows as sql_rows
from bot.tools.sql.bounds import MOST_BYTES
from bot.tools.sql.catalog import Catalog, Relation
from bot.tools.sql.change import Change
from bot.tools.sql.errors import discreet, translate_errors
from bot.tools.sql.format import (
    MAX_CELL_CHARS,
    Column,
    Result,
    row_line,
)
from bot.tools.sql.guard import Statement
from bot.tools.sql.pool import (
    ACQUIRE_SECONDS,
    Connection,
    Pool,
    open_pool,
    read_transaction,
)
from bot.tools.sql.rehearsal import REHEARSAL_SECONDS, Rehearsal, rehearse
from bot.tools.sql.resolution import require_harmless
from bot.tools.sql.role import RoleCheck
from bot.tools.sql.rows import Batch

_FIRST_BATCH = 20
_LARGEST_BATCH = 200
_BATCH_CHARS = 40_000
"""Approximate size of a batch of rows, estimated from those before it; the event loop handles it at once."""

_LOOK_SECONDS = 5

_SMALL_TYPES = frozenset({"bool", "int2", "int4", "int8", "oid", "float4", "float8", "uuid", "void"})
"""Types of pg_catalog with small values; others arrive as text, cut on the server."""


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """Limits of a query: `rows`, `columns` and `chars` of the result, `seconds` of execution."""

    rows: int = 100
    chars: int = 16_000
    seconds: float = 30
    columns: int = 60


@asynccontextmanager
async def open_database(
    dsn: str,
    *,
    size: int,
    role: RoleCheck | None = None,
    acquire_seconds: float = ACQUIRE_SECONDS,
    most_bytes: int = MOST_BYTES,
) -> AsyncIterator["Database"]:
    """Open the database with at most `size` connections. They connect on demand, so this never fails.

    `role` decides if the connections' role may be used; by default any may. See `Pool` for the limits.
    """
    role = role or RoleCheck("accept")
    async with open_pool(
        dsn, size=size, admit=role.admit, acquire_seconds=acquire_seconds, most_bytes=most_bytes
    ) as pool:
        yield Database(pool, role)


class Database:
    """Read access for tools. All methods raise `ToolFailure`."""

    name = "postgres"

    def __init__(self, pool: Pool, role: RoleCheck) -> None:
        self.__pool = pool
        self.__role = role

    async def fetch(self, query: str, limits: QueryLimits) -> Result:
        """Return the first rows of an unchecked query."""
        # a long query takes a third of a second
        statement = await asyncio.to_thread(guard.check, query)
        async with self.__admit(statement, limits.seconds) as connection:
            return await _fetch(connection, statement, limits)

    @asynccontextmanager
    async def rows(
        self, query: str, seconds: float
    ) -> AsyncIterator[tuple[tuple[Column, ...], AsyncGenerator[Batch]]]:
        """Yield the columns of an unchecked query, and its rows in batches on demand.

        The whole body may take `seconds`.
        """
        statement = await asyncio.to_thread(guard.check, query)
        async with self.__admit(statement, seconds) as connection:
            yield await sql_rows.batches(connection, statement, seconds)

    async def rehearse(self, change: Change) -> Rehearsal:
        """Return the effect of a change as far as the reading role may see it; nothing is changed."""
        async with self.__admit(change.statement, REHEARSAL_SECONDS, is_change=True) as connection:
            with discreet(change.statement.text, REHEARSAL_SECONDS):
                return await rehearse(connection, change)

    async def catalog(self) -> Catalog:
        """Return the readable relations."""
        async with read_transaction(self.__pool, sql_catalog.SECONDS) as connection:
            return await sql_catalog.read_catalog(connection)

    async def relation(self, name: str) -> Relation | None:
        """Return the relation that `name` means in SQL, or None if it is not readable."""
        async with read_transaction(self.__pool, sql_catalog.SECONDS) as connection:
            return await sql_catalog.read_relation(connection, name)

    async def values(self, relation: Relation) -> Mapping[str, Sequence[str]]:
        """Return the values of each text column that has only a few in the first rows."""
        async with read_transaction(self.__pool, sql_catalog.SAMPLE_SECONDS) as connection:
            return await sql_catalog.read_values(connection, relation)

    async def require_admission(self) -> None:
        """Raise `ToolFailure` if the tools may not read, also before answers from a cache."""
        async with read_transaction(self.__pool, _LOOK_SECONDS):
            pass

    async def health(self) -> Health:
        """Report the state of Postgres. Never raises."""
        return await self.__role.report(self.__pool)

    @asynccontextmanager
    async def __admit(
        self, statement: Statement, seconds: float, *, is_change: bool = False
    ) -> AsyncIterator[Connection]:
        """Yield a read-only transaction after checking all names of the statement."""
        async with read_transaction(self.__pool, seconds) as connection:
            with translate_errors("", seconds):
                await require_harmless(connection, statement, is_change=is_change)
            yield connection


async def _fetch(connection: Connection, statement: Statement, limits: QueryLimits) -> Result:
    with translate_errors(statement.text, limits.seconds):
        prepared = await connection.prepare(statement.text)
    columns = _columns(prepared)
    shown = columns[: limits.columns]
    with translate_errors("", limits.seconds):
        if statement.is_select and columns:
            bounded = _limit(statement.text, shown, len(columns), limits.rows + 1)
            prepared = await connection.prepare(bounded)
        rows, is_complete = await _first_rows(prepared, shown, limits)
    return Result(shown, tuple(rows), is_complete, hidden_columns=len(columns) - len(shown))


def _columns(prepared: "PreparedStatement[asyncpg.Record]") -> tuple[Column, ...]:
    return tuple(Column(each.name, _type_name(each.type)) for each in prepared.get_attributes())


def _type_name(type: asyncpg.Type) -> str:
    return type.name if type.schema == "pg_catalog" else f"{type.schema}.{type.name}"


def _limit(select: str, shown: Sequence[Column], columns: int, rows: int) -> str:
    """Wrap a query so that the server sends no more rows and no longer values than are shown."""
    names = [f"c{number}" for number in range(columns)]
    values = [
        name if column.type in _SMALL_TYPES else f"left({name}::text, {MAX_CELL_CHARS + 1})"
        for name, column in zip(names, shown, strict=False)
    ]
    return f"SELECT {', '.join(values)} FROM (\n{select}\n) AS answer({', '.join(names)}) LIMIT {rows}"  # noqa: S608 - the guard passed it


async def _first_rows(
    prepared: "PreparedStatement[asyncpg.Record]", shown: Sequence[Column], limits: QueryLimits
) -> tuple[list[tuple[object, ...]], bool]:
    """Return rows up to the limits, and True if these are all."""
    rows: list[tuple[object, ...]] = []
    chars = 0
    cursor = await prepared.cursor()
    size = _FIRST_BATCH
    while records := await cursor.fetch(size):
        for record in records:
            row = _values(record, shown)
            chars += len(row_line(row))
            if len(rows) == limits.rows or (rows and chars > limits.chars):
                return rows, False
            rows.append(row)
        size = min(_LARGEST_BATCH, max(1, _BATCH_CHARS * len(rows) // chars))
    return rows, True


def _values(record: asyncpg.Record, shown: Sequence[Column]) -> tuple[object, ...]:
    return tuple(_value(value, column.type) for value, column in zip(record.values(), shown, strict=False))


def _value(value: object, type: str) -> object:
    """Convert a numeric, which arrives as text (up to 147,000 digits), unless it was cut."""
    if type == "numeric" and isinstance(value, str) and len(value) <= MAX_CELL_CHARS:
        return Decimal(value)
    return value
