"""Work of the tool `export`: all rows of a query as a file."""

import asyncio
import logging
import pickle
import re
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from bot.chat import File, Keep
from bot.chat.text import count
from bot.concurrency.process_pool import Compute, ComputeError
from bot.tools.artifacts import file_name
from bot.tools.errors import ToolFailure
from bot.tools.row_file import ExportLimits, Format, write_rows
from bot.tools.sql.database import Database
from bot.tools.sql.format import Column, row_line

log = logging.getLogger(__name__)

_SECONDS = 60.0
_MEDIA_TYPES: dict[Format, str] = {
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_ALTERED: dict[Format, str] = {
    "csv": "An apostrophe was put before values that a spreadsheet would take for formulas, such as phone "
    "numbers with a plus, in {names}: tell the users.",
    "xlsx": "Values too long for a cell of Excel were cut in {names}: tell the users.",
}
_SMALL = 100_000
"""Bytes of rows that a thread writes as CSV, in about 5 ms: to start a child process takes longer."""

_NOT_FINISHED = "Writing the file failed, or took too much time or memory.\nExport fewer rows or columns."


@dataclass(frozen=True, slots=True)
class Export:
    """Exported file, the text for the model, and the number of rows."""

    file: File
    words: str
    rows: int


async def export(
    database: Database,
    keep: Keep,
    compute: Compute,
    query: str,
    limits: ExportLimits | None = None,
    format: Format = "csv",
) -> Export:
    """Run the query, have its rows written, store the file. Raises `ToolFailure`."""
    limits = limits or ExportLimits()
    columns, batches = await fetch_rows(database, query, limits)
    file, told = await write_file(keep, compute, query, columns, batches, limits, format)
    return Export(file, _words(columns, told, file, format), told["rows"])


async def write_file(
    keep: Keep,
    compute: Compute,
    query: str,
    columns: Sequence[Column],
    batches: Sequence[bytes],
    limits: ExportLimits,
    format: Format,
) -> tuple[File, Mapping[str, Any]]:
    """Store a file with the rows of a query; return it, and what `write_rows` tells. Raises `ToolFailure`."""
    try:
        if format == "csv" and sum(map(len, batches)) <= _SMALL:
            told, content = await asyncio.to_thread(write_rows, columns, batches, limits, format)
        else:
            told, content = await compute.run(write_rows, columns, batches, limits, format)
    except ComputeError as error:
        raise ToolFailure(_NOT_FINISHED) from error
    if problem := told.get("problem"):
        log.info("file not written", extra={"reason": problem, "cause": told.get("cause")})
        raise ToolFailure(str(problem))
    about = f"{count(told['rows'], 'row')} and {count(len(columns), 'column')} as {format.upper()}"
    name = await asyncio.to_thread(file_name, _subject(query), content, format)
    return await keep(name, _MEDIA_TYPES[format], content, about), told


async def fetch_rows(
    database: Database, query: str, limits: ExportLimits
) -> tuple[Sequence[Column], Sequence[bytes]]:
    """Return the columns, and the rows in pickled batches: more than the limits allow only by the last.

    Raises `ToolFailure`.
    """
    held: list[bytes] = []
    rows = size = 0
    async with database.rows(query, _SECONDS) as (columns, batches):
        if not columns:
            raise ToolFailure("The query has no columns, so there is nothing to export.")
        async with aclosing(batches):
            async for batch in batches:
                held.append(pickle.dumps(batch))
                rows += len(batch)
                size += sum(len(value or "") + 1 for row in batch for value in row)  # no file takes less
                if rows > limits.rows or size > limits.size:
                    break
    return columns, held


def _subject(query: str) -> str:
    """Return the subject for the file's name: the first table of the query."""
    match = re.search(r"\bfrom\s+([\w.\"]+)", query, re.IGNORECASE)
    return match[1] if match else "export"


def _words(columns: Sequence[Column], told: Mapping[str, Any], file: File, format: Format) -> str:
    names = ", ".join(column.name for column in columns)
    lines = [f"Exported as {file.name}: {file.alt} ({names}).", "The users have received the file."]
    if told["is_cut"]:
        lines.append(
            f"It contains only the first {told['rows']:,} rows, because all of them would be too large: say "
            "so, and offer to export a part of them or fewer columns."
        )
    lines += altered_words(told, format)
    lines += ["It begins with:", row_line([column.name for column in columns])]
    lines += [row_line(row) for row in told["first"]]
    return "\n".join(lines)


def altered_words(told: Mapping[str, Any], format: Format) -> Sequence[str]:
    """Return a sentence about the values that are not in the file as they are stored, if there are any."""
    if not told["altered"]:
        return ()
    names = ", ".join(f"{name} ({count(number, 'cell')})" for name, number in told["altered"].items())
    return (_ALTERED[format].format(names=names),)
