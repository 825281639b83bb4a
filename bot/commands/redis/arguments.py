"""Arguments of the operations, and how each is read from a typed line. Pure."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from bot.chat import Json
from bot.commands.redis import texts
from bot.storage.key_value import InvalidArgument

# keyboards make “ of ", and a long dash of --
_KEY = re.compile(r'"((?:[^"\\]|\\.)*)"(?!\S)\s*|“([^”]*)”(?!\S)\s*|([^"“\s]\S*)\s*', re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\])')
_TTL = re.compile(r"(?:^|(?<=\s))(?:--|[\u2013\u2014])ttl(?:(?:\s+|=)(\S+))?\s*$")
_SECONDS = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Argument:
    """Argument that users enter: its place in a typed line, and its description in a form.

    `read` takes it from the beginning of a line and returns it with the rest. Raises `InvalidArgument`.
    """

    usage: str
    description: str
    read: Callable[[str], tuple[Any, str]]


def _read_key(text: str) -> tuple[str, str]:
    if not text:
        raise InvalidArgument("key", texts.KEY_MISSING)
    match = _KEY.match(text)
    if match is None:
        raise InvalidArgument("key", texts.KEY_NOT_CLOSED)
    key = _ESCAPED.sub(r"\1", match[1]) if match[1] else match[2] or match[3] or ""
    return key, text[match.end() :]


def _read_pattern(text: str) -> tuple[str, str]:
    return _read_key(text) if text else ("*", "")


def _read_value(text: str) -> tuple[str, str]:
    """Return everything before a `--ttl SECONDS` at the end."""
    match = _TTL.search(text)
    return (text, "") if match is None else (text[: match.start()].rstrip(), match[0])


def _read_ttl(text: str) -> tuple[int | None, str]:
    match = _TTL.search(text)
    if match is not None and match[1] is None:
        raise InvalidArgument("ttl", texts.TTL_MISSING)
    return (None if match is None else parse_ttl(match[1])), ""


def parse_ttl(text: str) -> int | None:
    """Return the seconds, None for an empty text. Raises `InvalidArgument`; the store checks the range."""
    if not text.strip():
        return None
    if not _SECONDS.fullmatch(text.strip()):
        raise InvalidArgument("ttl", texts.TTL_NOT_A_NUMBER)
    return int(text)


def parse_data(text: str) -> Mapping[str, str]:
    """Return values by key from a JSON object of texts. Raises `InvalidArgument`."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
        is_curly = "“" in text or "”" in text
        sentence = texts.DATA_WITH_CURLY_QUOTES if is_curly else texts.DATA_NOT_JSON.format(where=where)
        raise InvalidArgument("data", sentence) from error
    if not isinstance(data, dict):
        raise InvalidArgument("data", texts.DATA_NOT_AN_OBJECT)
    for key, value in data.items():
        if not isinstance(value, str):
            raise InvalidArgument("data", texts.DATA_NOT_TEXT.format(key=texts.inline_code(key)))
    return data


Key = Annotated[str, Argument("KEY", texts.KEY, _read_key)]
Value = Annotated[Json, Argument("VALUE", texts.VALUE, _read_value)]
Data = Annotated[Mapping[str, Json], Argument('{"KEY": "VALUE", …}', texts.DATA, _read_value)]
Ttl = Annotated[int | None, Argument("[--ttl SECONDS]", texts.TTL, _read_ttl)]
Pattern = Annotated[str, Argument("[PATTERN]", texts.PATTERN, _read_pattern)]
"""Types of the fields of an operation."""
