"""Formats of query results and errors for the model and for users. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from bot.chat.text import count

MAX_CELL_CHARS = 500
"""Longest value; the server sends one character more, which shows that it was cut."""

_ERROR_LINE_CHARS = 120
NUMBERS = frozenset({"int2", "int4", "int8", "float4", "float8", "numeric", "money"})
"""Types of right-aligned columns."""
_CONTROL = dict.fromkeys((*range(32), 127), " ")


@dataclass(frozen=True, slots=True)
class Column:
    """Column of a result; `type` is PostgreSQL's name, such as `numeric` or `text[]`."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Result:
    """Fetched rows of a query; `is_complete` and `hidden_columns` tell if more rows or columns exist.

    Booleans, numbers and UUIDs are Python objects, NULL is None; all other values (dates, JSON, arrays, …)
    are PostgreSQL's text, with dates in ISO 8601, cut after `MAX_CELL_CHARS` + 1 characters.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[object, ...], ...]
    is_complete: bool
    hidden_columns: int = 0


def markdown(result: Result) -> str:
    """Return the result as a Markdown table, and a line about its completeness."""
    if not result.columns:
        return _summary(result)
    rules = ["---:" if column.type in NUMBERS else "---" for column in result.columns]
    header = [_line([cell(column.name) for column in result.columns]), _line(rules)]
    return "\n".join([*header, *map(row_line, result.rows), "", _summary(result)])


def row_line(row: Sequence[object]) -> str:
    """Return one row of the table."""
    return _line([cell(value) for value in row])


def cell(value: object) -> str:
    """Return a value on one line, cut to `MAX_CELL_CHARS` and an ellipsis; pipes are not escaped yet."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "true" if value else "false"
        case Decimal():
            text = format(value, "f")
        case "":
            return "''"
        case _:
            text = str(value)
    text = text[: MAX_CELL_CHARS + 1]
    if not text.isprintable():  # a look costs a tenth of a translation
        text = text.translate(_CONTROL)
    return text if len(text) <= MAX_CELL_CHARS else text[:MAX_CELL_CHARS] + "…"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _summary(result: Result) -> str:
    rows = count(len(result.rows), "row")
    if not result.is_complete:
        said = f"The first {rows}; there are more. Aggregate, or narrow the query, to see the rest."
    else:
        said = f"{rows}."
    if result.hidden_columns:
        total = len(result.columns) + result.hidden_columns
        said += f" The first {len(result.columns)} of {total:,} columns: name those that you need."
    if any(isinstance(value, str) and len(value) > MAX_CELL_CHARS for row in result.rows for value in row):
        said += f" Values that end in … were cut at {MAX_CELL_CHARS} characters; substr() reads on."
    return said


def point_at(query: str, index: int | None) -> str:
    """Return the line of the query at `index` (in characters) with a caret below, as psql shows errors."""
    if index is None or not 0 <= index <= len(query):
        return ""
    number = query.count("\n", 0, index) + 1
    start = query.rfind("\n", 0, index) + 1
    column = index - start
    line = query[start:].split("\n", 1)[0].translate(_CONTROL)
    cut = max(0, column - _ERROR_LINE_CHARS // 2)
    label = f"LINE {number}: "
    return f"{label}{line[cut : cut + _ERROR_LINE_CHARS]}\n{' ' * (len(label) + column - cut)}^"
