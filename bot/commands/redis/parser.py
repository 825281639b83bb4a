"""Parser of `/agent-redis` lines, driven by the table of operations. Pure."""

from collections.abc import Mapping
from typing import Any

from bot.commands.redis import texts
from bot.commands.redis.arguments import parse_data
from bot.commands.redis.operations import OPERATIONS, Mset, Operation
from bot.storage.key_value import InvalidArgument

_BY_WORD = {word: kind for kind in OPERATIONS for word in (kind.word, kind.name)}


def _help(kind: type[Operation]) -> str:
    usage = " ".join([kind.word, *(each.usage for each in kind.arguments().values())])
    return f"- `{usage}`: {kind.summary}" + (f"; {kind.hint}" if kind.hint else "")


HELP = "\n".join([*map(_help, OPERATIONS), texts.KEY_NOT_QUOTED])


def parse(text: str) -> Operation:
    """Return the operation of `get KEY`, `set KEY VALUE --ttl 60` and so on. Raises `InvalidArgument`."""
    word, rest = [*text.split(None, 1), "", ""][:2]
    if word.lower() in ("", "help"):
        raise InvalidArgument("command", texts.COMMANDS)
    kind = _BY_WORD.get(word.lower())
    if kind is None:
        raise InvalidArgument("command", texts.UNKNOWN_COMMAND.format(name=texts.inline_code(word)))
    rest, values = rest.rstrip(), {}
    for name, argument in kind.arguments().items():
        values[name], rest = argument.read(rest)
    if rest:
        raise InvalidArgument(
            "key", texts.KEY_NOT_QUOTED if values else texts.NO_ARGUMENTS.format(name=kind.word)
        )
    return build(kind, values)


def build(kind: type[Operation], values: Mapping[str, Any]) -> Operation:
    """Return an operation with arguments as users enter them. Raises `InvalidArgument`."""
    if kind is Mset:
        values = {**values, "data": parse_data(values["data"])}
    return kind(**values)
