"""Foreign text, made fit for the model and for people. Pure."""

from bot.chat import well_formed
from bot.tools.hidden import is_hidden


def plain(text: str, limit: int) -> str:
    """`text` without what cannot be seen, at most `limit` characters of it."""
    seen = "".join(" " if is_hidden(each) else each for each in text[: 2 * limit]).strip()
    return seen if len(seen) <= limit else seen[: limit - 1] + "…"


def line(text: str, limit: int) -> str:
    """The same in one line."""
    return " ".join(plain(text, limit).split())


def bounded(text: str, limit: int) -> str:
    """The beginning of a result, fit to be stored, with a word to the model when there was more."""
    storable = well_formed(text[:limit].replace("\0", " "))
    if len(text) <= limit:
        return storable
    return f"{storable}\n[cut here: {len(text) - limit:,} more characters; ask for less]"
