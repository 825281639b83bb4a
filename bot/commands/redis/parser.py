"""Parser of `/agent-redis` lines, driven by the table of operations. Pure."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from bot.chat import BotError
from bot.commands.redis.format import named
from bot.commands.redis.operations import ARGUMENTS, TABLE, Command, Mset, Operation, Set

_WORD = re.compile(r"(\S*)\s*(.*)", re.DOTALL)
# keyboards make “ of ", and a long dash of --
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"(?!\S)|“([^”]*)”(?!\S)', re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\])')
_TTL = re.compile(r"(?:^|(?<=\s))(?:--|[\u2013\u2014])ttl(?:(?:\s+|=)(\S+))?\s*$")
_SECONDS = re.compile(r"-?[0-9]{1,18}")


def _help(command: Command) -> str:
    usage = " ".join([command.word, *(ARGUMENTS[name].usage for name in command.arguments)])
    return f"- `{usage}`: {command.summary}" + (f"; {command.hint}" if command.hint else "")


HELP = "\n".join([*map(_help, TABLE), 'Put a key with spaces in quotes: `get "my key"`.'])


class NotUnderstood(BotError):
    """Line that is not an operation; `str()` says what is missing."""


@dataclass(frozen=True, slots=True)
class Draft:
    """`Set` without its value, which a form asks for."""

    name: ClassVar[str] = Set.name
    key: str
    ttl: int | None = None


def parse(text: str) -> Operation | Draft:
    """Return the operation of `get KEY`, `set KEY VALUE --ttl 60` and so on. Raises `NotUnderstood`."""
    word, rest = _split(text.strip())
    if word.lower() in ("", "help"):
        raise NotUnderstood("Commands for Redis:")
    command = _COMMANDS.get(word.lower())
    if command is None:
        raise NotUnderstood(f"There is no command {named(word)}.")
    values: dict[str, Any] = {}
    for name in command.arguments:
        values[name], rest = _READERS[name](rest)
    if rest and command.arguments:
        raise NotUnderstood('Put a key with spaces in quotes: "my key".')
    if rest:
        raise NotUnderstood(f"`{command.word}` takes no arguments.")
    return build(command, values)


def build(command: Command, values: Mapping[str, Any]) -> Operation | Draft:
    """Return the operation of a command with its typed arguments. Raises `NotUnderstood`."""
    if command.operation is Set and not values["value"]:
        return Draft(values["key"], values["ttl"])
    if command.operation is Mset:
        return Mset(parse_data(values["data"]), values["ttl"])
    return command.operation(**values)


def parse_data(text: str) -> Mapping[str, str]:
    """Return the values of an `mset`: a JSON object of texts. Raises `NotUnderstood`."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotUnderstood(_no_json(text, error)) from error
    if not isinstance(data, dict):
        raise NotUnderstood('The values must be a JSON object, for example `{"greeting": "hello"}`.')
    for key, value in data.items():
        if not isinstance(value, str):
            raise NotUnderstood(f"The value of {named(key)} is not a text: put it in quotes.")
    return data


def parse_ttl(text: str) -> int | None:
    """Return the seconds, or None for an empty text. Raises `NotUnderstood`; the store checks the range."""
    if not text.strip():
        return None
    if not _SECONDS.fullmatch(text.strip()):
        raise NotUnderstood("The TTL must be a whole number of seconds, for example 60.")
    return int(text)


def _split(text: str) -> tuple[str, str]:
    match = _WORD.fullmatch(text)
    assert match is not None  # it matches everything
    return match[1], match[2]


def _key(text: str) -> tuple[str, str]:
    if not text:
        raise NotUnderstood("The key is missing.")
    if not text.startswith(('"', "“")):
        return _split(text)
    match = _QUOTED.match(text)
    if match is None:
        raise NotUnderstood("The closing quote of the key is missing.")
    key = match[2] if match[1] is None else _ESCAPED.sub(r"\1", match[1])
    return key, text[match.end() :].lstrip()


def _pattern(text: str) -> tuple[str, str]:
    return _key(text) if text else ("*", "")


def _value(text: str) -> tuple[str, str]:
    """Return everything before a `--ttl SECONDS` at the end."""
    match = _TTL.search(text)
    return (text, "") if match is None else (text[: match.start()].rstrip(), match[0])


def _ttl(text: str) -> tuple[int | None, str]:
    match = _TTL.search(text)
    if match is not None and match[1] is None:
        raise NotUnderstood("The seconds after `--ttl` are missing.")
    return (None if match is None else parse_ttl(match[1])), ""


_COMMANDS = {word: each for each in TABLE for word in (each.word, each.operation.name)}
_READERS: Mapping[str, Callable[[str], tuple[Any, str]]] = {
    "key": _key,
    "value": _value,
    "data": _value,
    "ttl": _ttl,
    "pattern": _pattern,
}
"""Parsers of arguments: each returns its argument and the rest of the line."""


def _no_json(text: str, error: Exception) -> str:
    if "“" in text or "”" in text:
        return 'These quotes are typographic (“ ”), and JSON needs straight ones (").'
    where = f" at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
    return f'The values are not valid JSON{where}. Write them as `{{"greeting": "hello", "answer": "42"}}`.'
