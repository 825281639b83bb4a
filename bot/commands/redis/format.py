"""Results as Markdown in which keys and values have no effect as markup. Pure."""

import json
import re
from collections.abc import Mapping, Sequence

from bot.chat import Json

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


def named(text: str) -> str:
    """Return `text` for a sentence, as inline code."""
    return f"`{line(text)}`"


def fenced(text: str) -> str:
    """Return a code block that `text` cannot end: runs of backticks are broken up."""
    return "```\n" + re.sub("`(?=``)", "`" + _INVISIBLE, text) + "\n```"


def as_text(value: Json) -> str:
    """Return a text as it is, any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def count(number: int, noun: str) -> str:
    """Return a number with its noun, as `2 keys`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def duration(ttl: int | None) -> str:
    """Return the words for a lifetime in seconds, for the end of a sentence."""
    return "" if ttl is None else f" for {count(ttl, 'second')}"


def describe_value(key: str, text: str | None, kind: str, ttl: int | None) -> str:
    """Return the value under a key; `kind` is `string`, `json` or another type of Redis without a text."""
    if text is None and kind == "string":
        return f"There is nothing under {named(key)}."
    if text is None:
        return f"{named(key)} holds a {line(kind)}: I can delete it, but show only text and JSON documents."
    about = named(key) + (" (a JSON document)" if kind == "json" else "")
    about += "" if ttl is None else f", {count(ttl, 'second')} left"
    if not text:
        return f"{about}: an empty text."
    readable = _pretty(text)
    shown = f"{about}:\n{fenced(readable[:MOST_SHOWN])}"
    if len(readable) <= MOST_SHOWN:
        return shown
    return (
        f"{shown}\nThis is only the beginning of {len(text):,} characters. "
        "`POST /redis/direct` returns the whole value."
    )


def listing(title: str, lines: Sequence[str], result: Mapping[str, Json]) -> str:
    """Return as many lines as can be shown, and a note about the others."""
    left_out, is_cut = result.get("left_out"), result["truncated"]
    notes = [f"{count(left_out, 'key')} left out: not text."] if left_out else []
    if not lines:
        return " ".join([f"There are no {title[:1].lower()}{title[1:]}.", *notes])
    shown, size = 0, 0
    while shown < len(lines) and size + len(lines[shown]) < MOST_SHOWN:
        size += len(lines[shown]) + 1
        shown += 1
    if shown < len(lines) or is_cut:
        notes.insert(0, f"Shown: the first {shown:,}. Use `keys PATTERN` to narrow them down.")
    total = f"{'more than ' if is_cut else ''}{len(lines):,}"
    return "\n".join([f"{title} ({total}):", fenced("\n".join(lines[:shown])), *notes])


def _pretty(text: str) -> str:
    """Return JSON on several lines if that changes only white space; any other text as it is."""
    if len(text) > _MAX_PARSED or not text.lstrip().startswith(("{", "[")):
        return text
    try:
        pretty = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
    return pretty if _without_space(pretty) == _without_space(text) else text


def _without_space(text: str) -> str:
    return re.sub(r"\s+", "", text)
