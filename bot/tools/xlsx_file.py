"""Rows as an Excel workbook (XLSX). Texts stay texts, whatever they begin with."""

import io
import re
import tempfile
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from xml.sax.saxutils import escape

from bot.tools.errors import ToolFailure
from bot.tools.sql.format import NUMBERS, Column

_NUMBER = re.compile(r"-?\d+(?:\.(\d+))?")
_DIGITS = 15
"""Digits of a number that Excel keeps; a longer one, such as an id, is written as text."""

_FLOATS = frozenset({"float4", "float8"})
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_FIRST_DAY = "1900-03-01"  # before, Excel counts a day that did not exist

_WIDTH, _NARROWEST, _WIDEST = 2, 12, 40  # in characters
_WRITTEN_AT = datetime(2000, 1, 1)
_CUT = -2  # xlsxwriter: more than 32,767 units of UTF-16

_TOO_LARGE = "The workbook would be too large.\nSelect fewer columns or rows, or export them as csv."


class XlsxFile:
    """Implements `bot.tools.export.RowFile` with temporary files, so that the memory is constant."""

    def __init__(self, columns: Sequence[Column], most_bytes: int) -> None:
        import xlsxwriter  # only on demand

        self._most_bytes = most_bytes
        self._types = [column.type for column in columns]
        self._size = 0
        self._rows = 0
        self._folder = tempfile.TemporaryDirectory(prefix="export-", ignore_cleanup_errors=True)
        self._written = io.BytesIO()
        options = {"constant_memory": True, "tmpdir": self._folder.name}
        self._book = xlsxwriter.Workbook(self._written, options)
        self._book.set_properties({"created": _WRITTEN_AT})
        self._formats: dict[str, Any] = {}
        self._sheet = self._book.add_worksheet("Rows")
        self._sheet.freeze_panes(1, 0)
        bold = self._book.add_format({"bold": True})
        for at, column in enumerate(columns):
            width = min(max(len(column.name) + _WIDTH, _NARROWEST), _WIDEST)
            self._sheet.set_column(at, at, width)
            self._write_text(at, column.name, bold)

    def write(self, row: Sequence[str | None]) -> Sequence[int] | None:
        """Write a row if it has room; return the numbers of the columns whose value was altered."""
        size = sum(len((value or "").encode()) + 1 for value in row)
        if self._size + size > self._most_bytes:  # what is packed is smaller
            return None
        self._size += size
        self._rows += 1
        return [at for at, value in enumerate(row) if value and not self._write_value(at, value)]

    def _write_value(self, at: int, value: str) -> bool:
        """Write one cell; return False if its text was cut."""
        kind = self._types[at]
        if kind in NUMBERS and (number := _NUMBER.fullmatch(value)) and _has_few_digits(value):
            decimals = len(number[1] or "")
            shown = self._format(f"0.{'0' * decimals}" if decimals else "0")
            self._sheet.write_number(self._rows, at, float(value), shown)
        elif kind in _FLOATS and _is_finite(value):
            self._sheet.write_number(self._rows, at, float(value))
        elif kind == "bool":
            self._sheet.write_boolean(self._rows, at, value.lower() == "true")
        elif kind == "date" and _DAY.fullmatch(value) and value >= _FIRST_DAY:
            day = date.fromisoformat(value)
            self._sheet.write_datetime(self._rows, at, day, self._format("yyyy-mm-dd"))
        else:
            return self._write_text(at, value)
        return True

    def _write_text(self, at: int, text: str, shown: Any = None) -> bool:
        if text.startswith("<r>") and text.endswith("</r>"):
            # xlsxwriter takes it for markup and copies it: it gets markup that shows the text
            text = f'<r><t xml:space="preserve">{escape(text)}</t></r>'
        return bool(self._sheet.write_string(self._rows, at, text, shown) != _CUT)

    def _format(self, shown: str) -> Any:
        if shown not in self._formats:
            self._formats[shown] = self._book.add_format({"num_format": shown})
        return self._formats[shown]

    def content(self) -> bytes:
        """Return the workbook. Raises `ToolFailure` and `OSError`."""
        from xlsxwriter.exceptions import XlsxWriterException

        try:
            self._book.close()
        except XlsxWriterException as error:
            raise OSError(str(error)) from error
        content = self._written.getvalue()
        if len(content) > self._most_bytes:
            raise ToolFailure(_TOO_LARGE)
        return content

    def close(self) -> None:
        """Remove the temporary files."""
        if not self._book.fileclosed and self._sheet.row_data_fh is not None:
            self._sheet.row_data_fh.close()  # the workbook closes it only when it is written
        self._folder.cleanup()


def _has_few_digits(number: str) -> bool:
    return len(number.lstrip("-0.").replace(".", "")) <= _DIGITS


def _is_finite(number: str) -> bool:
    try:
        return abs(float(number)) < float("inf")
    except ValueError:
        return False
