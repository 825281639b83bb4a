"""Access decisions: which messages are answered, and which users can stop the answers of others."""

from dataclasses import dataclass
from typing import Protocol

from bot.chat.events import Message


@dataclass(frozen=True, slots=True)
class Admit:
    """Outcome: the message is answered."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Outcome: the message is not answered; `sentence` (Markdown) tells its author why."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Ignore:
    """Outcome: the message is not answered, and its author gets no reply."""


class Admission(Protocol):
    """Access control: decides which messages are answered."""

    async def check(self, message: Message) -> Admit | Refuse | Ignore:
        """Decide about a message; a repeated check is not counted again. Raises `StorageDown`."""


class StopPolicy(Protocol):
    """Rule for stopping the answers of other users."""

    async def can_stop(self, author: str, thread: str) -> bool:
        """Return whether an author can stop the answers of others in the thread of that name."""
