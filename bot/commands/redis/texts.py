"""Sentences of `/agent-redis`, as Markdown in which keys and values have no effect as markup. Pure."""

import json
import re
from collections.abc import Iterable, Mapping

from bot.chat import Json
from bot.chat.text import count
from bot.storage.key_value import Listing, Value

COMMANDS = "Commands for Redis:"
KEY_NOT_QUOTED = 'Put a key with spaces in quotes: `get "my key"`.'
UNKNOWN_COMMAND = "There is no command {name}."
NO_ARGUMENTS = "`{name}` takes no arguments."
KEY_MISSING = "The key is missing."
KEY_NOT_CLOSED = "The closing quote of the key is missing."
TTL_MISSING = "The seconds after `--ttl` are missing."
TTL_NOT_A_NUMBER = "The TTL must be a whole number of seconds, for example 60."
DATA_NOT_JSON = (
    'The values are not valid JSON{where}. Write them as `{{"greeting": "hello", "answer": "42"}}`.'
)
DATA_WITH_CURLY_QUOTES = 'These quotes are typographic (“ ”), and JSON needs straight ones (").'
DATA_NOT_AN_OBJECT = 'The values must be a JSON object, for example `{"greeting": "hello"}`.'
DATA_NOT_TEXT = "The value of {key} is not a text: put it in quotes."

DELETED, NOT_FOUND = "Deleted {key}.", "There is no {key}."
NOTHING = "There is nothing under {key}."
NOT_SHOWN = "{key} holds a {type}: I can delete it, but show only text and JSON documents."
CUT = "This is only the beginning of {length:,} characters. `POST /redis/direct` returns the whole value."

NOT_FOR_EXTERNAL = "Only administrators can do this, and never guests or users from other organisations."
NOT_ADMIN = (
    "Only administrators can do this, and {user} is not one. Ask the bot's operator to add {user} to "
    "ADMIN_USERS."
)

GROUP = "Keys and values in Redis, for administrators of the bot"
FORM, FORM_KEY, FORM_VALUE = "Store a value", "Key", "Value"
FORM_TTL = "Seconds until it is deleted (empty: never)"
FORM_STORE, FORM_CANCEL = "Store", "Cancel"
FORM_NOT_OPENED = "The form for the value could not be opened. Please try again. ({error})"

KEY = "The key, without the prefix that the bot adds"
VALUE = "The value; without it a form with several lines opens"
DATA = 'A JSON object of texts, such as {"greeting": "hello"}'
TTL = "Seconds after which the value is deleted; without them it stays"
PATTERN = "A pattern with the wildcards *, ? and [ab]; without it all keys"

MOST_SHOWN = 3_000
"""Most characters of a value or a listing: a message on Discord has 2,000, and Slack cuts very long ones."""

_MAX_LINE = 120
_MAX_PARSED = 100_000
_INVISIBLE = "\u200b"


def line(text: str) -> str:
    """Return `text` cut to one line, as a JSON string if it has invisible characters or a backtick."""
    cut = text[:_MAX_LINE]
    is_plain = cut.isprintable() and cut == cut.strip() != "" and "`" not in cut
    shown = cut if is_plain else json.dumps(cut).replace("`", "\\u0060")
    return shown + ("…" if len(text) > _MAX_LINE else "")


def inline_code(text: str) -> str:
    """Return `text` for a sentence, as inline code."""
    return f"`{line(text)}`"


def code_block(text: str) -> str:
    """Return a code block that `text` cannot end: runs of backticks are broken up."""
    return "```\n" + re.sub("`(?=``)", "`" + _INVISIBLE, text) + "\n```"


def as_text(value: Json) -> str:
    """Return a text as it is, any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def stored(subject: str, ttl: int | None) -> str:
    """Return a sentence about stored values, and the seconds until they expire."""
    return f"Stored {subject}." if ttl is None else f"Stored {subject} for {count(ttl, 'second')}."


def describe_value(key: str, value: Value) -> str:
    """Return a description of the value under a key."""
    if value.text is None:
        return NOT_SHOWN.format(key=inline_code(key), type=line(value.type))
    about = inline_code(key) + (" (a JSON document)" if value.type == "json" else "")
    about += "" if value.ttl is None else f", {count(value.ttl, 'second')} left"
    if not value.text:
        return f"{about}: an empty text."
    readable = _pretty(value.text)
    shown = f"{about}:\n{code_block(readable[:MOST_SHOWN])}"
    return shown if len(readable) <= MOST_SHOWN else f"{shown}\n{CUT.format(length=len(value.text))}"


def format_list(title: str, found: Listing, lines: Iterable[str]) -> str:
    """Return as many lines as can be shown, and a note about the others."""
    notes = [f"{count(found.left_out, 'key')} left out: not text."] if found.left_out else []
    if not found.values:
        return " ".join([f"There are no {title[:1].lower()}{title[1:]}.", *notes])
    shown: list[str] = []
    left = MOST_SHOWN
    for each in lines:
        left -= len(each) + 1
        if left < 0:
            break
        shown.append(each)
    if len(shown) < len(found.values) or found.is_cut:
        notes.insert(0, f"Shown: the first {len(shown):,}. Use `keys PATTERN` to narrow them down.")
    total = f"{'more than ' if found.is_cut else ''}{len(found.values):,}"
    return "\n".join([f"{title} ({total}):", code_block("\n".join(shown)), *notes])


def facts(values: Mapping[str, Json]) -> str:
    """Return facts about the server as a list."""
    shown = {key: ", ".join(each) if isinstance(each, list) else each for key, each in values.items()}
    return "\n".join(f"- **{key.replace('_', ' ')}** {each}" for key, each in shown.items())


def _pretty(text: str) -> str:
    """Return JSON on several lines if that changes only white space; any other text as it is."""
    if len(text) > _MAX_PARSED or not text.lstrip().startswith(("{", "[")):
        return text
    try:
        pretty = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
    return pretty if "".join(pretty.split()) == "".join(text.split()) else text
