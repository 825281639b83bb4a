"""Rows to a file, for a child process."""

import pickle
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from bot.chat import Json
from bot.tools.csv_file import CsvFile
from bot.tools.errors import ToolFailure
from bot.tools.sql.format import Column
from bot.tools.xlsx_file import XlsxFile

Format = Literal["csv", "xlsx"]

_TOLD_ROWS = 3
_TOLD_COLUMNS = 5
_NOT_WRITTEN = "The file could not be written, so it cannot be shown.\nSay so, and continue without it."


@dataclass(frozen=True, slots=True)
class ExportLimits:
    """Limits of an export; a file of more than `size` bytes could not be stored."""

    rows: int = 100_000
    size: int = 8_000_000


class RowFile(Protocol):
    """File that rows are written to. All methods may block, and raise `OSError`."""

    def write(self, row: Sequence[str | None]) -> Sequence[int] | None:
        """Write a row; return the numbers of the columns whose value was altered, or None without room."""

    def content(self) -> bytes:
        """Return the whole file, after which nothing can be written. Raises `ToolFailure`."""

    def close(self) -> None:
        """Release what the file has used."""


def write_rows(
    columns: Sequence[Column], batches: Sequence[bytes], limits: ExportLimits, format: Format
) -> tuple[Mapping[str, Json], bytes]:
    """Return `rows`, `first`, `is_cut`, `altered` cells by column and the file; or a `problem` for the model.

    `batches` are pickles of rows.
    """
    try:
        sheet = _Sheet(columns, limits, format)
        try:
            all(sheet.add(pickle.loads(batch)) for batch in batches)  # noqa: S301 - the bot wrote it
            content = sheet.content()
        finally:
            sheet.close()
    except ToolFailure as error:
        return {"problem": str(error)}, b""
    except OSError as error:
        return {"problem": _NOT_WRITTEN, "cause": repr(error)}, b""
    altered = dict(sheet.changed.most_common(_TOLD_COLUMNS))
    return {"rows": sheet.rows, "first": sheet.first, "is_cut": sheet.is_cut, "altered": altered}, content


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

    def add(self, batch: Sequence[Sequence[str | None]]) -> bool:
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
