"""Conversion of result columns to numbers, moments and names. Pure."""

import math
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

from bot.chat.text import one_line
from bot.tools.errors import ToolFailure
from bot.tools.sql.format import Column, Result, cell

Name = str
Moment = datetime
Values = Sequence[float | None]

_NUMBERS = frozenset({"int2", "int4", "int8", "float4", "float8", "numeric", "oid"})
_MOMENTS = frozenset({"date", "timestamp", "timestamptz"})
_OUT_OF_CALENDAR = re.compile(r" BC$|^\d{5,}-")
_LARGEST = 1e300
"""Largest number: beyond it sums and margins of a chart overflow."""
_DATE_TEXT = re.compile(r"\d{4}-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?")
NOTHING = "(none)"
"""Name of NULL and of an empty text."""


def find(columns: Sequence[Column], name: str, argument: str) -> int:
    """Return the position of a column. Raises `ToolFailure`, which lists the existing columns."""
    at = place(columns, name)
    if at is None:
        names = ", ".join(column.name for column in columns[:30])
        raise ToolFailure(f"The result has no column {name[:60]!r} for {argument}; it has {names}.")
    return at


def place(columns: Sequence[Column], name: str) -> int | None:
    """Return the position of a column by its name, also in another case or in quotes, or None."""
    names = [column.name for column in columns]
    if name in names:
        return names.index(name)
    lowered, wanted = [each.lower() for each in names], name.strip().strip('"').lower()
    return lowered.index(wanted) if wanted in lowered else None


def is_number(column: Column) -> bool:
    """Return True for a column of numbers."""
    return column.type in _NUMBERS


def is_moment(result: Result, index: int) -> bool:
    """Return True for a column of dates or times, also as text such as 2026-01 from to_char."""
    if result.columns[index].type in _MOMENTS:
        return True
    texts = [row[index] for row in result.rows if row[index] is not None]
    return bool(texts) and all(isinstance(each, str) and _DATE_TEXT.fullmatch(each) for each in texts)


def is_name(result: Result, index: int) -> bool:
    """Return True for a column that holds neither numbers nor moments."""
    return not is_number(result.columns[index]) and not is_moment(result, index)


def numbers(result: Result, index: int) -> list[float | None]:
    """Return the column as numbers; NULL, NaN and infinity are None. Raises `ToolFailure` for other types."""
    column = result.columns[index]
    if not is_number(column):
        raise ToolFailure(
            f"The column {column.name} is {column.type}, not a number.\nCast it in the query (for example "
            f"{column.name}::numeric, or extract(epoch from {column.name}) for a duration), or count it."
        )
    found = [_number(row[index]) for row in result.rows]
    if any(number is not None and abs(number) > _LARGEST for number in found):
        raise ToolFailure(
            f"The column {column.name} has numbers beyond ±{_LARGEST:g}, which no chart can show.\n"
            "Exclude them with WHERE, or draw their logarithm."
        )
    return found


def _number(value: object) -> float | None:
    if isinstance(value, str):  # a numeric with very many digits
        return float(value)
    if not isinstance(value, int | float | Decimal) or not (
        value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)
    ):
        return None
    return float(value)  # infinite if it exceeds a float


def moments(result: Result, index: int) -> list[datetime | None]:
    """Return the column as times without a zone; NULL and infinity are None. Raises `ToolFailure`.

    Local times stay as the database writes them, so that a month begins at midnight in the chart. If two
    times become equal because a clock was set back, all times are in UTC.
    """
    found = [_moment(row[index]) for row in result.rows]
    out_of_calendar = ToolFailure(
        f"The column {result.columns[index].name} has dates before year 1 or after 9999, which no chart "
        "can show.\nExclude them with WHERE."
    )
    if any(_OUT_OF_CALENDAR.search(str(row[index])) for row in result.rows):
        raise out_of_calendar
    zoned = {moment for moment in found if moment and moment.tzinfo}
    local = [moment and moment.replace(tzinfo=None) for moment in found]
    is_ambiguous = len({moment.replace(tzinfo=None) for moment in zoned}) < len(zoned)
    try:
        return [moment and _in_utc(moment) for moment in found] if is_ambiguous else local
    except OverflowError as error:  # the year differs in UTC
        raise out_of_calendar from error


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _moment(value: object) -> datetime | None:
    text = f"{value}-01" if isinstance(value, str) and len(value) == len("2026-01") else value
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else text
    except ValueError:
        return None
    if isinstance(moment, datetime):
        return moment
    return datetime(moment.year, moment.month, moment.day) if isinstance(moment, date) else None


def names(result: Result, index: int) -> list[Name]:
    """Return the column as names."""
    values = (row[index] for row in result.rows)
    return [NOTHING if value is None or value == "" else _plain_name(value) for value in values]


def _plain_name(value: object) -> Name:
    if isinstance(value, Decimal | float) and math.isfinite(value) and value == int(value):
        value = int(value)
    return one_line(cell(value))
