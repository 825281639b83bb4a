"""Operations as people type them behind `/agent-redis`, read into typed ones. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bot.chat import BotError
from bot.commands.redis.markdown import named
from bot.commands.redis.operations import (
    All,
    Delete,
    Get,
    Info,
    Keys,
    Mset,
    Operation,
    Set,
)

HELP = """\
- `get KEY`: show a value
- `set KEY VALUE [--ttl SECONDS]`: store all that follows the key as it stands; without a value a form opens
- `del KEY`: delete a value
- `keys [PATTERN]`: list keys; `*`, `?` and `[ab]` are wildcards
- `all`: list keys with their values
- `mset {"KEY": "VALUE", …} [--ttl SECONDS]`: store several values at once
- `info`: what Redis says of itself
A key with spaces goes into quotes: `get "my key"`."""

_WORD = re.compile(r"(\S*)\s*(.*)", re.DOTALL)
# keyboards make “ of ", and a long dash of --
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"(?!\S)|“([^”]*)”(?!\S)', re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\])')
_TTL = re.compile(r"(?:^|(?<=\s))(?:--|[\u2013\u2014])ttl(?:(?:\s+|=)(\S+))?\s*$")
_SECONDS = re.compile(r"-?[0-9]{1,18}")


class NotUnderstood(BotError):
    """What was typed is no operation; `str()` says what is missing."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A `Set` that lacks its value, which a form asks for."""

    name: ClassVar[str] = Set.name
    key: str
    ttl: int | None = None


def parse(text: str) -> Operation | Draft:
    """The operation of `get KEY`, `set KEY VALUE --ttl 60` and so on. Raises `NotUnderstood`."""
    word, rest = _split(text.strip())
    match word.lower():
        case "get":
            return Get(_only_key(rest))
        case "del" | "delete":
            return Delete(_only_key(rest))
        case "set":
            return _set(rest)
        case "keys":
            return Keys(_only_key(rest) if rest else "*")
        case "mset":
            data, ttl = _without_ttl(rest)
            return Mset(parse_data(data), ttl)
        case "all" | "info" as name if not rest:
            return All() if name == "all" else Info()
        case "all" | "info" as name:
            raise NotUnderstood(f"Nothing may follow `{name}`.")
        case "" | "help":
            raise NotUnderstood("What I can do with Redis:")
        case _:
            raise NotUnderstood(f"I do not know {named(word)}.")


def parse_data(text: str) -> Mapping[str, str]:
    """The values of an `mset`: a JSON object of texts. Raises `NotUnderstood`."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotUnderstood(_no_json(text, error)) from error
    if not isinstance(data, dict):
        raise NotUnderstood('The values must be a JSON object, for example `{"greeting": "hello"}`.')
    for key, value in data.items():
        if not isinstance(value, str):
            raise NotUnderstood(f"The value of {named(key)} is no text: put it into quotes.")
    return data


def parse_ttl(text: str) -> int | None:
    """Seconds, None of an empty text. Raises `NotUnderstood`; the store checks the range."""
    if not text.strip():
        return None
    if not _SECONDS.fullmatch(text.strip()):
        raise NotUnderstood("The ttl is a whole number of seconds, for example 60.")
    return int(text)


def _split(text: str) -> tuple[str, str]:
    match = _WORD.fullmatch(text)
    assert match is not None  # it matches everything
    return match[1], match[2]


def _set(rest: str) -> Set | Draft:
    key, rest = _key(rest)
    value, ttl = _without_ttl(rest)
    return Set(key, value, ttl) if value else Draft(key, ttl)


def _only_key(rest: str) -> str:
    key, rest = _key(rest)
    if rest:
        raise NotUnderstood('A key with spaces goes into quotes: "my key".')
    return key


def _key(text: str) -> tuple[str, str]:
    """The key that `text` begins with, and what follows it."""
    if not text:
        raise NotUnderstood("The key is missing.")
    if not text.startswith(('"', "“")):
        return _split(text)
    match = _QUOTED.match(text)
    if match is None:
        raise NotUnderstood("The quotes around the key do not end.")
    key = match[2] if match[1] is None else _ESCAPED.sub(r"\1", match[1])
    return key, text[match.end() :].lstrip()


def _without_ttl(text: str) -> tuple[str, int | None]:
    """What stands before `--ttl SECONDS` at the end, and the seconds."""
    match = _TTL.search(text)
    if match is None:
        return text, None
    if match[1] is None:
        raise NotUnderstood("The seconds are missing behind `--ttl`.")
    return text[: match.start()].rstrip(), parse_ttl(match[1])


def _no_json(text: str, error: Exception) -> str:
    if "“" in text or "”" in text:
        return 'These quotes are typographic (“ ”), and JSON needs straight ones (").'
    where = f" at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
    return f'The values are no JSON{where}. They look like this: `{{"greeting": "hello", "answer": "42"}}`.'
