"""Parser for tool call arguments; it repairs JSON where only one reading is possible."""

import json
import math
import re
from typing import Any

from bot.chat import well_formed

LONGEST = 200_000
_DEEPEST = 50
_LARGEST = 2**63 - 1
_MARKS = (
    {"lc", "type"},
    *({f"__{name}__"} for name in ("interrupt", "send", "delta_snapshot", "bytes", "set_items")),
)
"""Keys by which checkpoints of earlier versions recognise objects: data with them came back as an object."""

_NOTHING = frozenset({"", "null", "none", "[]", "{}", '""'})
_FENCE = "```"
# an unterminated string goes to the end of the text, so no text is scanned twice
_STRING_OR_COMMA = re.compile(r'"(?:[^"\\]|\\.|\\\Z)*(?:"|\Z)|,(?=[ \t\r\n]*[}\]])', re.DOTALL)


class Unreadable(Exception):
    """Arguments that cannot be read; `str()` tells the model why, so that it can call again.

    Users see the first line only.
    """


def read_arguments(text: str) -> dict[str, Any]:
    """Return the arguments that `text` holds. Raises `Unreadable`."""
    text = text.strip()
    if len(text) > LONGEST:
        raise Unreadable(f"The arguments are longer than {LONGEST} characters.\nCall again with less.")
    try:
        return _read(text, depth=2)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "nested too deeply"
        raise Unreadable(
            f"The arguments are not a JSON object ({reason[:200]}), so nothing was done.\n"
            "Call again with the whole object."
        ) from None


def _read(text: str, depth: int) -> dict[str, Any]:
    if text.lower() in _NOTHING:
        return {}
    if text.startswith(_FENCE) and text.endswith(_FENCE):
        text = text.partition("\n")[2].removesuffix(_FENCE).strip()
    value = _parse(text)
    if isinstance(value, str) and depth:
        return _read(value.strip(), depth - 1)  # encoded twice
    if isinstance(value, list) and len(value) <= 1:
        value = value[0] if value else {}
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"it is {type(value).__name__}")  # noqa: TRY004 - read as any other broken JSON
    return storable(value, depth=0)  # type: ignore[no-any-return]  # a dictionary, as it was


def _parse(text: str) -> Any:
    try:
        return _first(text)
    except ValueError:
        without_commas = _STRING_OR_COMMA.sub(lambda each: "" if each[0] == "," else each[0], text)
        if without_commas == text:
            raise
        return _first(without_commas)


def _first(text: str) -> Any:
    """Return the value of `text`, which may be followed by the same value again or by surplus brackets.

    Some services begin with an empty object: `{}{"query": …}`.
    """
    value, end = _DECODER.raw_decode(text)
    rest = text[end:].strip()
    if rest.strip("} \n\t") == "":
        return value
    again, end = _DECODER.raw_decode(rest)
    if rest[end:].strip() or value not in ({}, again):
        raise ValueError("there are several values")
    return again


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a number that JSON knows")
    return number


# control characters within strings are accepted: models write real line breaks
_DECODER = json.JSONDecoder(strict=False, parse_float=_finite, parse_constant=_finite)


def storable(value: Any, depth: int = 1) -> Any:
    """Return the value as every store and service accepts it. Raises `ValueError` if that is impossible."""
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, dict):
        if marks := next((each for each in _MARKS if each <= value.keys()), None):
            raise ValueError(f"an object may not have the keys {' and '.join(sorted(marks))}")
        return {well_formed(key): storable(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [storable(each, depth + 1) for each in value]
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise ValueError("a number is too large")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a number that JSON knows")
    return value
