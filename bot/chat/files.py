"""Storage of file contents, so that parts and messages need only name the files."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from bot.chat.events import Attachment, Message
from bot.chat.parts import File

Keep = Callable[[str, str, bytes, str], Awaitable[File]]
"""Type of `Files.keep`: name, media type, content and alternative text in, the file out."""


class Files(Protocol):
    """Store of files for one day, shared by all processes. All methods raise `StorageDown`."""

    async def keep(self, name: str, media_type: str, content: bytes, alt: str = "") -> File:
        """Store a file, or extend the life of a stored one. Raises `FileTooLarge`."""

    async def find(self, id: str) -> tuple[File, bytes] | None:
        """Return a file with its content, or None if it does not exist or has expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentContent:
    """Content of a message's files for the model.

    `text` is their content, marked as data; `pictures` are stored as files and sent with it. `problems` are
    sentences for the user about files that could not be read.
    """

    text: str = ""
    pictures: tuple[File, ...] = ()
    problems: tuple[str, ...] = ()


class FileSource(Protocol):
    """Source of attached files: the chat services."""

    async def fetch(self, message: Message, attachment: Attachment, most_bytes: int) -> bytes:
        """Return the content of an attached file. Raises `FileRefused` and `PlatformError`."""
