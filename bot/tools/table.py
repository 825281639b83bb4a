"""Work of the tool `table`: rows of a query for the users, and all of them as a file."""

import asyncio
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from bot.chat import Keep, Table, TableColumn
from bot.chat.text import count, one_line, visible
from bot.concurrency.process_pool import Compute
from bot.tools.export import altered_words, fetch_rows, write_file
from bot.tools.row_file import ExportLimits
from bot.tools.sql.database import Database
from bot.tools.sql.format import NUMBERS, Column, row_line

MOST_ROWS = 100
MOST_COLUMNS = 20
MOST_CHARS = 9_000
"""Most characters of all values and names: Slack takes 10,000."""

MOST_CELL_CHARS = 200
_MOST_TITLE = 120

_TOLD_ROWS = 10
_TOLD_CHARS = 1_500


@dataclass(frozen=True, slots=True)
class Shown:
    """Table for the users, and the text for the model."""

    table: Table
    words: str


async def show_rows(
    database: Database,
    keep: Keep,
    compute: Compute,
    query: str,
    title: str = "",
    limits: ExportLimits | None = None,
) -> Shown:
    """Run the query, and store the file with all of its rows. Raises `ToolFailure`."""
    limits = limits or ExportLimits()
    columns, batches = await fetch_rows(database, query, limits)
    file, told = await write_file(keep, compute, query, columns, batches, limits, "csv")
    rows, is_shortened = await asyncio.to_thread(_shown_rows, columns, batches, told["rows"])
    table = Table(
        title=visible(one_line(title), _MOST_TITLE),
        columns=tuple(
            TableColumn(_shown(each.name), each.type in NUMBERS) for each in columns[:MOST_COLUMNS]
        ),
        rows=rows,
        total=told["rows"],
        total_columns=len(columns),
        has_more=told["is_cut"],
        is_shortened=is_shortened,
        file=file,
    )
    return Shown(table, _words(table, told))


def _shown_rows(
    columns: Sequence[Column], batches: Sequence[bytes], most: int
) -> tuple[tuple[tuple[str | None, ...], ...], bool]:
    """Return the first rows, and whether a value in them was cut."""
    rows: list[tuple[str | None, ...]] = []
    room = MOST_CHARS - sum(len(_shown(each.name)) for each in columns[:MOST_COLUMNS])
    is_shortened = False
    every = (row for batch in batches for row in pickle.loads(batch))  # noqa: S301 - the bot wrote it
    for row in islice(every, min(most, MOST_ROWS)):
        values = row[:MOST_COLUMNS]
        shown = tuple(None if value is None else _shown(value) for value in values)
        room -= sum(max(1, len(value or "")) for value in shown)
        if room < 0:
            break
        rows.append(shown)
        is_shortened = is_shortened or any(len(value or "") > MOST_CELL_CHARS for value in values)
    return tuple(rows), is_shortened


def _shown(value: str) -> str:
    """Return a value on one line, without characters that are invisible or change the direction of text."""
    return visible(one_line(value[: 2 * MOST_CELL_CHARS]), MOST_CELL_CHARS)


def _words(table: Table, told: Mapping[str, Any]) -> str:
    """Return the text for the model. Its first line is shown to users, too."""
    names = ", ".join(column.name for column in table.columns)
    lines = [
        f"Table shown: {count(table.total, 'row')} and {count(table.total_columns, 'column')} ({names}).",
        "The users have received it: do not repeat it.",
    ]
    if not table.is_whole:
        lines[1] = (
            f"The users have received {count(len(table.rows), 'row')} of it, and {table.file.name} with the "
            "rest: do not repeat them."
        )
        lines += altered_words(told, "csv")
    if table.has_more:
        lines.append(f"There are more than these {table.total:,} rows: say so.")
    lines += ["It begins with:", row_line([column.name for column in table.columns])]
    room = _TOLD_CHARS
    for row in table.rows[:_TOLD_ROWS]:
        line = row_line(row)
        room -= len(line)
        if room < 0 and len(lines) > 4:
            break
        lines.append(line)
    return "\n".join(lines)
