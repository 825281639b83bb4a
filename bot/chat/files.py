"""Storage of file contents, so that parts and messages need only name the files."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from bot.chat.events import Attachment, Message
from bot.chat.parts import File

Keep = Callable[[str, str, bytes, str], Awaitable[File]]
"""`Files.keep`: name, media type, content and alternative text in, the file out."""


class Files(Protocol):
    """Files for a day, known to all processes. All raise `StorageDown`."""

    async def keep(self, name: str, media_type: str, content: bytes, alt: str = "") -> File:
        """Keep a file, or keep it for longer. Raises `FileTooLarge`."""

    async def find(self, id: str) -> tuple[File, bytes] | None:
        """Return a file with its content; None when there is none (any more)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enclosed:
    """Content of the files of one message, as the model gets it.

    `text` is their content, marked as data; `pictures` are kept as files and shown beside it. `problems` are
    sentences for the person: which files could not be read, and why.
    """

    text: str = ""
    pictures: tuple[File, ...] = ()
    problems: tuple[str, ...] = ()


class FileSource(Protocol):
    """The chat services, as far as files come from them."""

    async def fetch(self, message: Message, attachment: Attachment, most_bytes: int) -> bytes:
        """Return the content of a file that came with a message. Raises `FileRefused` and `PlatformError`."""
