"""Sanitising of foreign text for the model and for users. Pure."""

from bot.chat import well_formed
from bot.tools.hidden import is_hidden


def plain(text: str, limit: int) -> str:
    """Return `text` without invisible characters, cut to `limit` characters."""
    seen = "".join(" " if is_hidden(each) else each for each in text[: 2 * limit]).strip()
    return seen if len(seen) <= limit else seen[: limit - 1] + "…"


def line(text: str, limit: int) -> str:
    """Return `text` without invisible characters on one line, cut to `limit` characters."""
    return " ".join(plain(text, limit).split())


def bounded(text: str, limit: int) -> str:
    """Return the first `limit` characters of a result, storable, with a note to the model if it was cut."""
    storable = well_formed(text[:limit].replace("\0", " "))
    if len(text) <= limit:
        return storable
    return f"{storable}\n[cut here: {len(text) - limit:,} more characters; ask for less]"
