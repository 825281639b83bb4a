"""Decisions about users: whose messages are answered, and who can stop what others have asked."""

from dataclasses import dataclass
from typing import Protocol

from bot.chat.events import Message


@dataclass(frozen=True, slots=True)
class Admit:
    """The message is answered."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The message is not answered; `sentence` tells its author why, in Markdown."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Ignore:
    """The message is not answered, and its author is told nothing."""


class Admission(Protocol):
    """Access control: decides which messages are answered."""

    async def check(self, message: Message) -> Admit | Refuse | Ignore:
        """Decide about a message; asking again counts nothing twice. Raises `StorageDown`."""


class StopPolicy(Protocol):
    """Rule about turns of other users."""

    async def can_stop(self, author: str, thread: str) -> bool:
        """Return whether an author can stop what others have asked in the thread of that name."""
