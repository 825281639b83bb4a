"""Rows as CSV: RFC 4180 in UTF-8 with a byte order mark, without which Excel assumes another encoding."""

import csv
import io
import re
from collections.abc import Sequence

from bot.tools.sql.format import NUMBERS, Column

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


class CsvFile:
    """Implements `bot.tools.export.RowFile`; no value is a formula to a spreadsheet."""

    def __init__(self, columns: Sequence[Column], most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._are_numbers = [column.type in NUMBERS for column in columns]
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text, lineterminator="\r\n")
        self._quoting_writer = csv.writer(self._text, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
        self._writer.writerow([harmless(column.name) for column in columns])
        self._written = bytearray()

    def write(self, row: Sequence[str | None]) -> Sequence[int] | None:
        """Write a row if it has room; return the numbers of the columns whose value was altered."""
        self._flush()
        cells = [
            value or "" if value is None or is_number else harmless(value)
            for value, is_number in zip(row, self._are_numbers, strict=True)
        ]
        # with another separator the whole line is one value, and -1,0+x is a formula with a decimal comma
        is_signed = cells[0].startswith(("+", "-"))
        (self._quoting_writer if is_signed else self._writer).writerow(cells)
        if len(self._written) + len(self._text.getvalue().encode(_ENCODING)) > self._most_bytes:
            self._text.seek(0)
            self._text.truncate()
            return None
        return [at for at, value in enumerate(row) if cells[at] != (value or "")]

    def _flush(self) -> None:
        self._written += self._text.getvalue().encode("utf-8" if self._written else _ENCODING)
        self._text.seek(0)
        self._text.truncate()

    def content(self) -> bytes:
        """Return all that was written."""
        self._flush()
        return bytes(self._written)

    def close(self) -> None:
        """Do nothing: there are no files on the disk."""


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
