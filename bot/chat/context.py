"""Context of a message: what others wrote before it, in places that its author can read."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from bot.chat.events import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class PastMessage:
    """Message that was written earlier; `id` is as in `Message`, `sent_at` in Unix seconds.

    `author` is the name that users see. `files` are the names of its files. `link` opens it on its platform.
    """

    id: str
    author: str
    text: str
    sent_at: float
    files: tuple[str, ...] = ()
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """Earlier messages of one conversation, the oldest first; `source` describes it in a few words.

    `is_cut`: the conversation has further messages, older than the last ones here.
    """

    source: str
    messages: tuple[PastMessage, ...]
    is_cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Passages that belong to a message; `problems` are sentences for its author about unreadable ones.

    `is_unread`: the conversation of the message itself could not be read. `refusal` is the problem that says
    so, if it lasts: later messages there would only repeat it.
    """

    passages: tuple[Passage, ...] = ()
    problems: tuple[str, ...] = ()
    refusal: str = ""
    is_unread: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Person of a chat service, as its users see them; `time_zone` is an IANA name."""

    name: str
    full_name: str = ""
    title: str = ""
    time_zone: str = ""


class Archive(Protocol):
    """Messages and people of a chat service, as far as one user can read them.

    All methods raise `ReadingRefused` and `PlatformError`.
    """

    async def read(self, place: str, most: int) -> Passage:
        """Return the newest messages of a linked thread, of a named channel, or of this thread."""

    async def search(self, query: str, channel: str, most: int) -> Sequence[PastMessage]:
        """Return messages that match, the best first; only of a named channel, if there is a name."""

    async def find_people(self, name: str) -> Sequence[Person]:
        """Return people by a part of their name."""


class ArchiveSource(Protocol):
    """Source of archives: the chat services."""

    def archive(self, message: Message) -> Archive | None:
        """Return what the author of a message can read there; None where nothing is kept."""


class Since(NamedTuple):
    """Begin of what is read of a conversation: after the message with the id `after`, or `at` if earlier.

    `at` is in Unix seconds, 0 for no time. Without both it is the begin of the conversation.
    """

    after: str = ""
    at: float = 0.0


ReadContext = Callable[[int], Awaitable[Context]]
"""Function that reads a context with at most so many messages. It raises only `StorageDown`."""


class ContextSource(Protocol):
    """Source of context: the chat services."""

    def context(self, message: Message, since: Since | None) -> ReadContext | None:
        """Return the function that reads the context of a message, or None if there is none; no request.

        Of the message's own conversation, what was written `since` then is read, and nothing if it is None.
        """
