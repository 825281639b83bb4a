"""Queries that a model wrote, run so that they can change nothing and hold nothing up.

The walls, from the outside in: `sql_guard` lets one reading statement pass, `sql_functions` none that an
extension may use to get around the next; it runs in a read-only transaction that is always rolled back, with
time limits; no more rows, columns and characters leave the server than are shown; and the rights of the
database role, which `sql_role` looks at, bound everything.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from bot.tools import sql_guard
from bot.tools.sql_errors import translated
from bot.tools.sql_format import MAX_CELL_CHARS, Column, Result, row_line
from bot.tools.sql_functions import refuse_foreign
from bot.tools.sql_pool import Pool, reading

_PREFETCH_ROWS = 20

_SMALL_TYPES = frozenset({"bool", "int2", "int4", "int8", "oid", "float4", "float8", "uuid", "void"})
"""Types of pg_catalog whose values are read as they are; others arrive as text, cut on the server."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a query may take: `rows`, `columns` and `chars` of the table shown, `seconds` at work."""

    rows: int = 100
    chars: int = 16_000
    seconds: float = 30
    columns: int = 60


async def fetch(pool: Pool, query: str, limits: Limits) -> Result:
    """The first rows of a query that nobody has checked. Raises `ToolFailure`, see `sql_guard.check`."""
    # a long query takes a third of a second
    statement = await asyncio.to_thread(sql_guard.check, query)
    async with reading(pool, limits.seconds) as connection:
        with translated(statement.text, limits.seconds):
            await refuse_foreign(connection, statement.calls)
            prepared = await connection.prepare(statement.text)
        columns = _columns(prepared)
        shown = columns[: limits.columns]
        with translated("", limits.seconds):
            if statement.is_select and columns:
                bounded = _bounded(statement.text, shown, len(columns), limits.rows + 1)
                prepared = await connection.prepare(bounded)
            rows, is_complete = await _first_rows(prepared, shown, limits)
    return Result(shown, tuple(rows), is_complete, hidden_columns=len(columns) - len(shown))


def _columns(prepared: "PreparedStatement[asyncpg.Record]") -> tuple[Column, ...]:
    return tuple(Column(each.name, _type_name(each.type)) for each in prepared.get_attributes())


def _type_name(type: asyncpg.Type) -> str:
    return type.name if type.schema == "pg_catalog" else f"{type.schema}.{type.name}"


def _bounded(select: str, shown: Sequence[Column], columns: int, rows: int) -> str:
    """The same query, of which the server sends no more rows, and no longer values, than are shown."""
    names = [f"c{number}" for number in range(columns)]
    values = [
        name if column.type in _SMALL_TYPES else f"left({name}::text, {MAX_CELL_CHARS + 1})"
        for name, column in zip(names, shown, strict=False)
    ]
    return f"SELECT {', '.join(values)} FROM (\n{select}\n) AS answer({', '.join(names)}) LIMIT {rows}"  # noqa: S608 - the guard passed it


async def _first_rows(
    prepared: "PreparedStatement[asyncpg.Record]", shown: Sequence[Column], limits: Limits
) -> tuple[list[tuple[object, ...]], bool]:
    """Rows up to the limits, and whether these are all."""
    rows: list[tuple[object, ...]] = []
    chars = 0
    async for record in prepared.cursor(prefetch=_PREFETCH_ROWS):
        row = _values(record, shown)
        chars += len(row_line(row))
        if len(rows) == limits.rows or (rows and chars > limits.chars):
            return rows, False
        rows.append(row)
    return rows, True


def _values(record: asyncpg.Record, shown: Sequence[Column]) -> tuple[object, ...]:
    return tuple(_value(value, column.type) for value, column in zip(record.values(), shown, strict=False))


def _value(value: object, type: str) -> object:
    """A numeric comes as text, since it may have 147,000 digits; one that was cut stays that."""
    if type == "numeric" and isinstance(value, str) and len(value) <= MAX_CELL_CHARS:
        return Decimal(value)
    return value
