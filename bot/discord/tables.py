"""Markdown tables as aligned text: Discord shows none, but it shows a code block in a fixed-width font."""

import re
import unicodedata
from itertools import zip_longest

_DELIMITER = re.compile(r"[ \t]*\|?(?:[ \t]*:?-+:?[ \t]*\|?)+[ \t]*")
_CELL_END = re.compile(r"(?<!\\)\|")
_STYLE = re.compile(r"\*\*|__|~~|`")


def is_row(line: str) -> bool:
    """Whether `line` can be part of a table; models begin every row with a pipe."""
    return line.lstrip(" \t").startswith("|")


def aligned(rows: list[str]) -> str | None:
    """The table as aligned lines, or None when `rows` are no table: its second line must be a delimiter."""
    if len(rows) < 2 or "-" not in rows[1] or not _DELIMITER.fullmatch(rows[1].rstrip()):
        return None
    header, *body = [_cells(row) for row in (rows[0], *rows[2:])]
    columns = list(zip_longest(header, *body, fillvalue=""))
    widths = [max(map(_width, column)) for column in columns]
    rights = [cell.endswith(":") and not cell.startswith(":") for cell in _cells(rows[1])]
    rights += [False] * (len(columns) - len(rights))
    lines = [_line(cells, widths, rights) for cells in zip(*columns, strict=True)]
    lines.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join(lines)


def _cells(row: str) -> list[str]:
    inner = re.sub(r"(?<!\\)\|$", "", row.strip().removeprefix("|"))
    return [_STYLE.sub("", cell.replace("\\|", "|")).strip() for cell in _CELL_END.split(inner)]


def _line(cells: tuple[str, ...], widths: list[int], rights: list[bool]) -> str:
    padded = [
        " " * (width - _width(cell)) + cell if right else cell + " " * (width - _width(cell))
        for cell, width, right in zip(cells, widths, rights, strict=False)
    ]
    return "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """Columns that `text` takes in a fixed-width font: East Asian wide characters take two."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )
