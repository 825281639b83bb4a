"""Recordings of speech that users send, and their transcripts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bot.chat.events import Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcripts:
    """Transcripts of a turn's recordings, stored with the turn: no later attempt transcribes them again.

    `texts` and `problems` (the reasons why there is no text) are by the address of the file. `notices` are
    sentences for the user.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


class Recordings(Protocol):
    """Reader of the recordings that are attached to messages."""

    async def transcribe(self, turn: Turn) -> Transcripts | None:
        """Return the transcripts of a turn, or None if it has no recordings.

        Raises `BudgetExceeded`, `StorageDown` and `PlatformError`.
        """

    def insert(self, turn: Turn, transcripts: Transcripts) -> Turn:
        """Return the turn with transcripts in place of its recordings."""
