"""Messages of a reply as its receipt stores them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from bot.chat import Json


@dataclass(slots=True)
class Page:
    """One message, as the receipt stores it.

    `digest` is of the text and buttons that Slack has confirmed; empty while it is not known what the message
    shows.
    `open`: it is being streamed.
    """

    ts: str
    digest: str = ""
    open: bool = False


@dataclass(frozen=True, slots=True)
class Extra:
    """Message with blocks beside the answer's text; `key` is unique in the turn."""

    key: str
    text: str
    blocks: Sequence[Json]


def digest(text: str, buttons: Sequence[Json] = ()) -> str:
    """Return a digest of a page's text and buttons; an empty string if there is no text."""
    shown = text + (str(buttons) if buttons else "")
    return hashlib.sha256(shown.encode("utf-8", "surrogatepass")).hexdigest()[:16] if text else ""
