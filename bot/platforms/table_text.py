"""Tables of answers as text, where a platform shows no other. Pure, in linear time."""

import re
import unicodedata
from decimal import Decimal, InvalidOperation

from bot.chat import Table

NULL = "—"
"""Text of a value that is NULL or empty."""

_WIDEST, _NARROWEST = 32, 8
"""Most places of a column in aligned text, of few columns and of many."""

_LINE = 110
"""Places of a line that most screens have."""

_AROUND = 250
"""Characters around the rows: the marks of the code, and a caption with the name of a file."""

_MOST_DIGITS = 40
_MARKUP = re.compile(r"[\\`*\[\]<>|&]")


def caption(table: Table, rows: int) -> str:
    """Return a sentence about what a table with this number of rows does not show, or an empty string."""
    total = f"more than {table.total:,}" if table.has_more else f"{table.total:,}"
    pieces = []
    if rows < table.total or table.has_more:
        pieces.append(f"{rows:,} of {total} rows")
    if len(table.columns) < table.total_columns:
        pieces.append(f"{len(table.columns)} of {table.total_columns:,} columns")
    if pieces:
        return f"Showing {' and '.join(pieces)}; {table.file.name} has more."
    return f"Long values were cut; {table.file.name} has them whole." if table.is_shortened else ""


def exact_number(text: str | None) -> int | float | None:
    """Return the number that JSON represents exactly as the database writes it, or None for other values."""
    if text is None or len(text) > _MOST_DIGITS:
        return None
    try:
        value = Decimal(text)
        number = float(value)
    except (InvalidOperation, ValueError, OverflowError):
        return None
    if not value.is_finite() or Decimal(repr(number)) != value or abs(number) >= 2**53:
        return None
    return int(number) if number == int(number) and "." not in text else number


def code_block(table: Table, most: int) -> tuple[str, int]:
    """Return a code block of at most `most` UTF-16 units with aligned columns, and the number of its rows.

    Only a caption is outside of the code, so no text of others is markup. Rows without room are left out.
    """
    widest = _widest(table)
    columns = [[_cell(each.name, widest)] for each in table.columns]
    for row in table.rows:
        for column, value in zip(columns, row, strict=True):
            column.append(_cell(value, widest))
    widths = [max(map(_width, column)) for column in columns]
    lines = []
    for values in zip(*columns, strict=True):
        padded = [
            _pad(value, width, is_right=column.is_number)
            for value, width, column in zip(values, widths, table.columns, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    lines.insert(1, "  ".join("─" * width for width in widths))
    head = [_code(table.title), ""] if table.title else []
    room = most - _AROUND - sum(utf16_units(each) + 1 for each in head)
    fitting: list[str] = []
    for line in lines:
        room -= utf16_units(line) + 1
        if room < 0:
            break
        fitting.append(line)
    rows = max(0, len(fitting) - 2)
    block = "\n".join(["```", *head, *fitting, "```"]) if rows else f"```\n{_code(table.title) or NULL}\n```"
    said = caption(table, rows)
    return f"{block}\n{said}" if said else block, rows


def is_cut(table: Table) -> bool:
    """Return whether a value is longer than a code block shows it."""
    widest = _widest(table)
    return any(_width(value or "") > widest for row in table.rows for value in row)


def _widest(table: Table) -> int:
    return max(_NARROWEST, min(_WIDEST, _LINE // len(table.columns)))


def markdown(table: Table, most_rows: int) -> str:
    """Return a Markdown table with the title above it and a caption below."""
    rules = ["---:" if column.is_number else "---" for column in table.columns]
    lines = [_line([escape(column.name) for column in table.columns]), _line(rules)]
    shown = table.rows[:most_rows]
    lines += [_line([escape(value) for value in row]) for row in shown]
    said = caption(table, len(shown))
    title = [f"**{escape(table.title)}**", ""] if table.title else []
    return "\n".join([*title, *lines, *(["", said] if said else [])])


def _line(values: list[str]) -> str:
    return "| " + " | ".join(values) + " |"


def escape(value: str | None) -> str:
    """Return a value on one line as Markdown in which nothing is markup that reaches beyond it."""
    return _MARKUP.sub(lambda mark: f"\\{mark[0]}", value or NULL)


def _code(text: str) -> str:
    return text.replace("`", "'")


def _cell(value: str | None, widest: int) -> str:
    text = _code(value or NULL)
    if _width(text) <= widest:
        return text
    kept, room = [], widest - 1
    for each in text:
        room -= _width(each)
        if room < 0:
            break
        kept.append(each)
    return "".join(kept).rstrip() + "…"


def _pad(text: str, width: int, *, is_right: bool) -> str:
    blanks = " " * (width - _width(text))
    return blanks + text if is_right else text + blanks


def utf16_units(text: str) -> int:
    """Return the UTF-16 units of a text: some services count these, and others fewer."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def _width(text: str) -> int:
    """Return the places that a text takes where each letter has the same width."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1
        for each in text
    )
