"""Markdown tables as aligned text in code blocks, since Discord does not show tables."""

import re
import unicodedata
from collections.abc import Sequence

from bot.platforms.markdown.table import Table

_BREAK = re.compile(r"<br ?/?>", re.IGNORECASE)

_WIDEST_COLUMN = 60
_NARROWEST_COLUMN = 12
_WIDTH = 90
"""Columns of a code block that fit on a screen. Longer cells are wrapped to stay within it."""

Cell = Sequence[str]
"""Lines of a cell."""


def align(table: Table) -> list[str]:
    """Return the lines of a table; none if it is too wide for a screen."""
    cells = [[_BREAK.split(cell) for cell in row] for row in (table.header, *table.rows)]
    widths = _fit(_widths(cells))
    if widths is None:
        return []
    rights = [each == "right" for each in table.alignment][: len(widths)]
    rights += [False] * (len(widths) - len(rights))
    first, *others = [_lines(row, widths, rights) for row in cells]
    rule = "  ".join("─" * width for width in widths)
    return [*first, rule, *(line for row in others for line in row)]


def _widths(table: Sequence[Sequence[Cell]]) -> list[int]:
    widths: list[int] = []
    for row in table:
        widths += [0] * (len(row) - len(widths))
        for index, cell in enumerate(row):
            widths[index] = max(widths[index], *map(_width, cell))
    return widths


def _fit(widths: Sequence[int]) -> list[int] | None:
    """Return the widths, with the widest reduced so that a line fits; None if that is not possible."""
    room = _WIDTH - 2 * (len(widths) - 1)
    for most in range(_WIDEST_COLUMN, _NARROWEST_COLUMN - 1, -4):
        if sum(min(width, most) for width in widths) <= room:
            return [min(width, most) for width in widths]
    return None


def _lines(row: Sequence[Cell], widths: Sequence[int], rights: Sequence[bool]) -> list[str]:
    columns = [
        [part for line in cell for part in _wrap(line, width)]
        for cell, width in zip(row, widths, strict=False)
    ]
    height = max(map(len, columns))
    across = ([column[at] if at < len(column) else "" for column in columns] for at in range(height))
    return [_line(texts, widths, rights) for texts in across]


def _line(texts: Sequence[str], widths: Sequence[int], rights: Sequence[bool]) -> str:
    padded = [
        " " * (width - _width(text)) + text if right else text + " " * (width - _width(text))
        for text, width, right in zip(texts, widths, rights, strict=False)
    ]
    return "  ".join(padded).rstrip()


def _wrap(text: str, most: int) -> list[str]:
    """Return `text` in lines of at most `most` columns, cut after blanks if there are any."""
    lines: list[str] = []
    start = blank = used = 0
    for at, char in enumerate(text):
        width = _width(char)
        if used + width > most and at > start:
            end = blank if blank > start else at
            lines.append(text[start:end])
            start, used = end, _width(text[end:at])
        used += width
        if char == " ":
            blank = at + 1
    return [*lines, text[start:]]


def _width(text: str) -> int:
    """Return the columns of `text` in a fixed-width font: East Asian wide characters take two."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )
