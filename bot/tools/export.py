"""Work of the tool `export`: all rows of a query as a file."""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal, ParamSpec, Protocol, TypeVar

from bot.chat import File, Keep
from bot.chat.text import count
from bot.tools.artifacts import file_name
from bot.tools.csv_file import CsvFile
from bot.tools.errors import ToolFailure
from bot.tools.sql.database import Database
from bot.tools.sql.format import Column, row_line
from bot.tools.sql.rows import Batch
from bot.tools.xlsx_file import XlsxFile

P = ParamSpec("P")
T = TypeVar("T")

Format = Literal["csv", "xlsx"]

_SECONDS = 60.0
_TOLD_ROWS = 3
_MEDIA_TYPES: dict[Format, str] = {
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_ALTERED: dict[Format, str] = {
    "csv": "An apostrophe was put before values that a spreadsheet would take for formulas, such as phone "
    "numbers with a plus, in {names}: tell the users.",
    "xlsx": "Values too long for a cell of Excel were cut in {names}: tell the users.",
}
_NOT_WRITTEN = "The file could not be written, so it cannot be shown.\nSay so, and continue without it."


@dataclass(frozen=True, slots=True)
class ExportLimits:
    """Limits of an export; a file of more than `size` bytes could not be stored."""

    rows: int = 100_000
    size: int = 8_000_000


@dataclass(frozen=True, slots=True)
class Export:
    """Exported file, and the text for the model."""

    file: File
    words: str


class RowFile(Protocol):
    """File that rows are written to. All methods may block, and raise `OSError`."""

    def write(self, row: Sequence[str | None]) -> Sequence[int] | None:
        """Write a row; return the numbers of the columns whose value was altered, or None without room."""

    def content(self) -> bytes:
        """Return the whole file, after which nothing can be written. Raises `ToolFailure`."""

    def close(self) -> None:
        """Release what the file has used."""


async def export(
    database: Database, keep: Keep, query: str, limits: ExportLimits | None = None, format: Format = "csv"
) -> Export:
    """Run the query, write its rows, store the file. Raises `ToolFailure`."""
    limits = limits or ExportLimits()
    async with database.rows(query, _SECONDS) as (columns, batches):
        if not columns:
            raise ToolFailure("The query has no columns, so there is nothing to export.")
        sheet = await _in_thread(_Sheet, columns, limits, format)
        try:
            async with aclosing(batches):
                async for batch in batches:
                    if not await _in_thread(sheet.add, batch):
                        break
            content = await _in_thread(sheet.content)
        finally:
            await _in_thread(sheet.close)
    about = f"{count(sheet.rows, 'row')} and {count(len(columns), 'column')} as {format.upper()}"
    name = await _in_thread(file_name, _subject(query), content, format)
    file = await keep(name, _MEDIA_TYPES[format], content, about)
    return Export(file, _words(sheet, file))


async def _in_thread(write: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function that may write to the disk. Raises `ToolFailure` if it cannot."""
    try:
        return await asyncio.to_thread(write, *args, **kwargs)
    except OSError as error:
        raise ToolFailure(_NOT_WRITTEN) from error


class _Sheet:
    """File that is being written. `is_cut`: the query has more rows than the limits allow."""

    def __init__(self, columns: Sequence[Column], limits: ExportLimits, format: Format) -> None:
        self.columns = columns
        self.format = format
        self.rows = 0
        self.first: list[Sequence[str | None]] = []
        self.is_cut = False
        self.changed: Counter[str] = Counter()
        self._most_rows = limits.rows
        kinds: dict[Format, type[CsvFile | XlsxFile]] = {"csv": CsvFile, "xlsx": XlsxFile}
        self._file: RowFile = kinds[format](columns, limits.size)

    def add(self, batch: Batch) -> bool:
        """Write rows; return whether there is room for more."""
        for row in batch:
            if self.rows == self._most_rows or (changed := self._file.write(row)) is None:
                self.is_cut = True
                return False
            self.rows += 1
            self.changed.update(self.columns[at].name for at in changed)
            if len(self.first) < _TOLD_ROWS:
                self.first.append(row)
        return True

    def content(self) -> bytes:
        """Return the file. Raises `ToolFailure` if it has no rows."""
        if not self.rows and self.is_cut:
            raise ToolFailure(
                "Even the first row is too large for a file.\nSelect fewer columns, or cut long values."
            )
        if not self.rows:
            raise ToolFailure(
                "The query returned no rows, so there is nothing to export.\nCheck its conditions."
            )
        return self._file.content()

    def close(self) -> None:
        """Release what the file has used."""
        self._file.close()


def _subject(query: str) -> str:
    """Return the subject for the file's name: the first table of the query."""
    match = re.search(r"\bfrom\s+([\w.\"]+)", query, re.IGNORECASE)
    return match[1] if match else "export"


def _words(sheet: _Sheet, file: File) -> str:
    names = ", ".join(column.name for column in sheet.columns)
    lines = [f"Exported as {file.name}: {file.alt} ({names}).", "The users have received the file."]
    if sheet.is_cut:
        lines.append(
            f"It contains only the first {sheet.rows:,} rows, because all of them would be too large: say "
            "so, and offer to export a part of them or fewer columns."
        )
    if sheet.changed:
        names = ", ".join(
            f"{name} ({count(number, 'cell')})" for name, number in sheet.changed.most_common(5)
        )
        lines.append(_ALTERED[sheet.format].format(names=names))
    lines += ["It begins with:", row_line([column.name for column in sheet.columns])]
    lines += [row_line(row) for row in sheet.first]
    return "\n".join(lines)
