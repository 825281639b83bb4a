"""The result of an operation as Markdown for the person who asked. Pure."""

import json
import re
from collections.abc import Mapping, Sequence

from bot.chat import Json
from bot.commands.redis.markdown import fenced, line, named
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

MOST_SHOWN = 3_000
"""Characters of a value or a listing. A message of Discord has 2,000, and Slack cuts very long ones."""

_MOST_PARSED = 100_000


def describe(operation: Operation, result: Mapping[str, Json]) -> str:
    """What came of it; `result` is what `operation.run` returned."""
    outcome = result["result"]
    match operation:
        case Set(key=key, ttl=ttl):
            return f"Stored {named(key)}{_for(ttl)}."
        case Get(key=key):
            return _value(key, result)
        case Delete(key=key):
            return f"Deleted {named(key)}." if outcome else f"There is no {named(key)}."
        case Keys(pattern=pattern):
            where = "" if pattern == "*" else f" that match {named(pattern)}"
            return _listing([line(key) for key in outcome], f"Keys{where}", result)
        case All():
            lines = [f"{line(key)} = {line(_as_text(value))}" for key, value in outcome.items()]
            return _listing(lines, "Keys with text", result)
        case Mset(ttl=ttl):
            return f"Stored {_count(outcome, 'value')}{_for(ttl)}."
        case Info():
            return "\n".join(f"- **{name.replace('_', ' ')}** {_fact(outcome[name])}" for name in outcome)


def _value(key: str, result: Mapping[str, Json]) -> str:
    text, kind, ttl = result["result"], result.get("type", "string"), result.get("ttl")
    if text is None and kind == "string":
        return f"There is nothing under {named(key)}."
    if text is None:
        return f"{named(key)} holds a {line(kind)}: I can show only text and JSON documents, and delete it."
    about = f"{named(key)}{' (a JSON document)' if kind == 'json' else ''}"
    if ttl is not None:
        about += f", {_count(ttl, 'second')} left"
    if not text:
        return f"{about}: an empty text."
    readable = _readable(text)
    if len(readable) <= MOST_SHOWN:
        return f"{about}:\n{fenced(readable)}"
    return (
        f"{about}:\n{fenced(readable[:MOST_SHOWN])}\n"
        f"This is only its beginning: it has {len(text):,} characters. `POST /redis/direct` gives it whole."
    )


def _as_text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _readable(text: str) -> str:
    """JSON over several lines, where that changes nothing but white space; any other text as it stands."""
    if len(text) > _MOST_PARSED or not text.lstrip().startswith(("{", "[")):
        return text
    try:
        pretty = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
    return pretty if _without_space(pretty) == _without_space(text) else text


def _without_space(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _listing(lines: Sequence[str], what: str, result: Mapping[str, Json]) -> str:
    left_out = result.get("left_out")
    notes = [f"{_count(left_out, 'key')} left out: no text."] if left_out else []
    if not lines:
        return " ".join([f"There are no {what[:1].lower()}{what[1:]}.", *notes])
    shown, size = 0, 0
    while shown < len(lines) and size + len(lines[shown]) < MOST_SHOWN:
        size += len(lines[shown]) + 1
        shown += 1
    if shown < len(lines) or result["truncated"]:
        notes.insert(0, f"Shown: the first {shown:,}. `keys PATTERN` finds fewer.")
    count = f"{'more than ' if result['truncated'] else ''}{len(lines):,}"
    return "\n".join([f"{what} ({count}):", fenced("\n".join(lines[:shown])), *notes])


def _fact(value: Json) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _for(ttl: int | None) -> str:
    return "" if ttl is None else f" for {_count(ttl, 'second')}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
