"""Formats of numbers, units, dates and names in charts. Pure."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

_UNITS = {
    "eur": "€", "euro": "€", "euros": "€", "usd": "$", "dollars": "$", "gbp": "£", "jpy": "¥", "chf": "CHF",
    "pct": "%", "percent": "%", "percentage": "%",
    "ms": "ms", "msec": "ms", "millis": "ms", "milliseconds": "ms", "seconds": "s", "secs": "s", "sec": "s",
    "minutes": "min", "mins": "min", "hours": "h", "hrs": "h", "days": "days",
    "kg": "kg", "km": "km", "kwh": "kWh", "bytes": "bytes", "kb": "KB", "mb": "MB", "gb": "GB",
}  # fmt: skip
"""Units by the last word of a column's name."""

_BEFORE = frozenset("€$£¥")
_CLOSE = frozenset("%")
_SCALES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
LONGEST_NAME = 28
_MINUS = "\N{MINUS SIGN}"


def unit_of(column: str) -> str:
    """Return the unit at the end of a column's name (`revenue_eur`, `share_pct`), or an empty string."""
    words = re.split(r"[\s_]+", column.strip().lower())
    return _UNITS.get(words[-1], "") if len(words) > 1 else ""


def heading(column: str) -> str:
    """Return a column's name in words, without its unit: `net_revenue_eur` becomes “Net revenue”."""
    words = [word for word in re.split(r"[\s_]+", column.strip()) if word]
    if unit_of(column):
        words = words[:-1]
    text = " ".join(words) or column
    return text[:1].upper() + text[1:]


def with_unit(text: str, unit: str) -> str:
    """Add a unit to a number's text; currency signs come first."""
    if not unit:
        return text
    if unit in _BEFORE:
        return f"{_MINUS}{unit}{text[1:]}" if text.startswith(_MINUS) else f"{unit}{text}"
    return f"{text}{unit}" if unit in _CLOSE else f"{text} {unit}"


def short(number: float, unit: str = "") -> str:
    """Format a number in few characters: 1,234, 12.3k, 4.57M."""
    return with_unit(_scale(number), unit)


def exact(number: float, unit: str = "") -> str:
    """Format a number with thousands separators and at most two decimals, four if it is below 1."""
    digits = 0 if number == int(number) and abs(number) < 1e15 else 2 if abs(number) >= 1 else 4
    text = f"{number:,.{digits}f}" if 1e-4 <= abs(number) < 1e15 or number == 0 else f"{number:.3g}"
    return with_unit(_minus(text), unit)


def _scale(number: float) -> str:
    size = abs(number)
    if size >= 1e16 or 0 < size < 1e-4:
        return _minus(f"{number:.3g}")
    if size >= 9_999.5:
        for scale, letter in _SCALES:
            if size >= scale * 0.9995:
                return _minus(f"{_three_digits(number / scale)}{letter}")
    return _minus(_three_digits(number) if size < 1_000 else f"{number:,.0f}")


def _three_digits(number: float) -> str:
    size = abs(number)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 or size == 0 else 4
    text = f"{number:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _minus(text: str) -> str:
    return text.replace("-", _MINUS, 1) if not re.match(r"-0(\.0*)?$", text) else text[1:]


def year(number: float, _: object = None) -> str:
    """Format a year without a thousands separator."""
    return f"{number:.0f}"


def date_labels(moments: Sequence[datetime]) -> list[str]:
    """Format moments with the precision that the finest of them needs."""
    form = _form(moments)
    return [_format_date(moment, form) for moment in moments]


def _form(moments: Sequence[datetime]) -> str:
    if any(each.hour or each.minute or each.second for each in moments):
        same_day = len({each.date() for each in moments}) == 1
        return "%H:%M" if same_day else "%-d %b %H:%M"
    several_years = len({each.year for each in moments}) > 1
    if all(each.day == 1 for each in moments):
        if all(each.month == 1 for each in moments) and several_years:
            return "%Y"
        return "%b %Y" if several_years or len(moments) < 2 else "%b"
    return "%-d %b %Y" if several_years or len(moments) < 2 else "%-d %b"


def _format_date(moment: datetime, form: str) -> str:
    return moment.strftime(form.replace("%-d", str(moment.day)))


def span(first: datetime, last: datetime) -> str:
    """Format a range of time."""
    is_fine = any(each.hour or each.minute for each in (first, last)) and last - first < timedelta(days=3)
    form = "%Y-%m-%d %H:%M" if is_fine else "%Y-%m-%d"
    return " to ".join(dict.fromkeys([first.strftime(form), last.strftime(form)]))


def clip(name: str, longest: int = LONGEST_NAME) -> str:
    """Shorten a name in its middle, because names with the same beginning often differ at their ends."""
    if len(name) <= longest:
        return name
    end = longest // 3
    return f"{name[: longest - 1 - end].rstrip()}…{name[-end:].lstrip()}"
