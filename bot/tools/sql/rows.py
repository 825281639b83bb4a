"""Streaming of all rows of a query as text, in batches."""

from collections.abc import AsyncGenerator, Sequence
from typing import TypeAlias

from bot.tools.sql.errors import translate_errors
from bot.tools.sql.format import Column
from bot.tools.sql.guard import Statement
from bot.tools.sql.pool import Connection

MAX_TEXT_CHARS = 32_000
"""Longest value, cut on the server; a cell of Excel holds 32,767 characters."""

_MOST_ROWS = 500
_MOST_CELLS_AT_FIRST = 100
_BATCH_CHARS = 50_000
"""Approximate size of a batch, estimated from the batch before it; the event loop handles it at once."""

Batch: TypeAlias = Sequence[Sequence[str | None]]


async def batches(
    connection: Connection, statement: Statement, seconds: float
) -> tuple[tuple[Column, ...], AsyncGenerator[Batch]]:
    """Return the columns, and a generator of row batches. Raises `ToolFailure`."""
    with translate_errors(statement.text, seconds):
        prepared = await connection.prepare(statement.text)
    columns = tuple(Column(each.name, each.type.name) for each in prepared.get_attributes())

    async def read() -> AsyncGenerator[Batch]:
        with translate_errors("", seconds):
            rows = prepared
            if statement.is_select and columns:
                rows = await connection.prepare(_as_text(statement.text, len(columns)))
            cursor = await rows.cursor()
            size = max(1, _MOST_CELLS_AT_FIRST // max(1, len(columns)))
            while records := await cursor.fetch(size):
                batch = [[_text(value) for value in record] for record in records]
                yield batch
                chars = sum(len(value or "") + 1 for row in batch for value in row)
                size = min(_MOST_ROWS, max(1, _BATCH_CHARS * len(batch) // (chars + 1)))

    return columns, read()


def _text(value: object) -> str | None:
    return None if value is None else str(value)[:MAX_TEXT_CHARS]


def _as_text(select: str, width: int) -> str:
    names = [f"c{number}" for number in range(width)]
    values = ", ".join(f"left({name}::text, {MAX_TEXT_CHARS})" for name in names)
    return f"SELECT {values} FROM (\n{select}\n) AS answer({', '.join(names)})"  # noqa: S608 - the guard passed it
