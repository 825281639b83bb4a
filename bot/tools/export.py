"""Work of the tool `export`: all rows of a query as a CSV file.

The format is RFC 4180 in UTF-8 with a byte order mark, without which Excel assumes another encoding.
"""

import asyncio
import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from bot.chat import File, Keep
from bot.chat.text import count
from bot.tools.artifacts import file_name
from bot.tools.errors import ToolFailure
from bot.tools.sql.database import Database
from bot.tools.sql.format import NUMBERS, Column, row_line
from bot.tools.sql.rows import Batch

_SECONDS = 60.0
_TOLD_ROWS = 3
_ENCODING = "utf-8-sig"

# https://owasp.org/www-community/attacks/CSV_Injection, and the same characters in full width. A spreadsheet
# may use another separator than ours, after which a value may begin with a quotation mark, and it ignores
# invisible characters. Each run matches once, so the time is linear.
_BEGINNING = re.compile(
    "(?:^|[;\t\r\n])"
    '[;"\\s\x00-\x1f\x7f-\xa0\xad\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3000\ufe00-\ufe0f\ufeff]*+'
    "(?P<formula>[=+\\-@\uff1d\uff0b\uff0d\uff20])?"
)
_STARTS_ODDLY = re.compile("[\t\r\n]")
_PLAIN_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)*%?")


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


async def export(database: Database, keep: Keep, query: str, limits: ExportLimits | None = None) -> Export:
    """Run the query, write its rows, store the file. Raises `ToolFailure`."""
    limits = limits or ExportLimits()
    async with database.rows(query, _SECONDS) as (columns, batches):
        if not columns:
            raise ToolFailure("The query has no columns, so there is nothing to export.")
        sheet = _Sheet(columns, limits)
        async with aclosing(batches):
            async for batch in batches:
                if not await asyncio.to_thread(sheet.add, batch):
                    break
    if not sheet.rows and sheet.is_cut:
        raise ToolFailure(
            "Even the first row is too large for a file.\nSelect fewer columns, or cut long values."
        )
    if not sheet.rows:
        raise ToolFailure("The query returned no rows, so there is nothing to export.\nCheck its conditions.")
    content = sheet.content()
    about = f"{count(sheet.rows, 'row')} and {count(len(columns), 'column')} as CSV"
    name = await asyncio.to_thread(file_name, _subject(query), content, "csv")
    file = await keep(name, "text/csv", content, about)
    return Export(file, _words(sheet, file))


class _Sheet:
    """File that is being written. `is_cut`: the query has more rows than the limits allow."""

    def __init__(self, columns: Sequence[Column], limits: ExportLimits) -> None:
        self.columns = columns
        self.rows = 0
        self.first: list[Sequence[str | None]] = []
        self.is_cut = False
        self.changed: Counter[str] = Counter()
        self._limits = limits
        self._are_numbers = [column.type in NUMBERS for column in columns]
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text, lineterminator="\r\n")
        self._quoting_writer = csv.writer(self._text, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
        self._writer.writerow([harmless(column.name) for column in columns])
        self._written = bytearray()

    def add(self, batch: Batch) -> bool:
        """Write rows; return whether there is room for more."""
        for row in batch:
            if self.rows == self._limits.rows or not self._write(row):
                self.is_cut = True
                return False
        return True

    def _write(self, row: Sequence[str | None]) -> bool:
        self._flush()
        cells = [
            value or "" if value is None or is_number else harmless(value)
            for value, is_number in zip(row, self._are_numbers, strict=True)
        ]
        # with another separator the whole line is one value, and -1,0+x is a formula with a decimal comma
        is_signed = cells[0].startswith(("+", "-"))
        (self._quoting_writer if is_signed else self._writer).writerow(cells)
        if len(self._written) + len(self._text.getvalue().encode(_ENCODING)) > self._limits.size:
            self._text.seek(0)
            self._text.truncate()
            return False
        self.rows += 1
        self.changed.update(
            column.name
            for column, cell, value in zip(self.columns, cells, row, strict=True)
            if cell != (value or "")
        )
        if len(self.first) < _TOLD_ROWS:
            self.first.append(row)
        return True

    def _flush(self) -> None:
        self._written += self._text.getvalue().encode("utf-8" if self._written else _ENCODING)
        self._text.seek(0)
        self._text.truncate()

    def content(self) -> bytes:
        """Return all that was written."""
        self._flush()
        return bytes(self._written)


def harmless(text: str) -> str:
    """Return a text of which a spreadsheet takes no part for a formula.

    An apostrophe marks plain text in spreadsheets: it is put before the text, and after separators in it.
    """
    if _PLAIN_NUMBER.fullmatch(text):
        return text
    if _STARTS_ODDLY.match(text):
        text = f"'{text}"
    return _BEGINNING.sub(_quote, text)


def _quote(beginning: re.Match[str]) -> str:
    if beginning["formula"] is None:
        return beginning[0]
    return f"{beginning[0][:-1]}'{beginning['formula']}"


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
        lines.append(
            f"An apostrophe was put before values that a spreadsheet would take for formulas, such as phone "
            f"numbers with a plus, in {names}: tell the users."
        )
    lines += ["It begins with:", row_line([column.name for column in sheet.columns])]
    lines += [row_line(row) for row in sheet.first]
    return "\n".join(lines)
