"""Filing of finished turns, so that they are found by later searches."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bot.chat.events import Turn


@dataclass(frozen=True, slots=True)
class Filing:
    """Entry of a stream in Redis, which the inbox adds in the step that ends a turn.

    `added` is then called with the id of the entry. Of more than about `most` entries the oldest are removed.
    """

    stream: str
    text: str
    most: int
    added: Callable[[str], None]


class MemoryWriter(Protocol):
    """Long-term memory, as the end of a turn writes it."""

    def filing(self, turn: Turn, answer: str) -> Filing:
        """Return the entry with which a finished turn and the text of its answer are filed for searches."""
