"""Where the content of files is, so that parts and messages need only name them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from bot.chat.events import Attachment
from bot.chat.parts import File

Keep = Callable[[str, str, bytes, str], Awaitable[File]]
"""`Files.keep`: name, media type, content and alternative text in, the file out."""


class Files(Protocol):
    """Files for a day, known to all processes. All raise `StorageDown`."""

    async def keep(self, name: str, media_type: str, content: bytes, alt: str = "") -> File:
        """Keep a file, or keep it for longer. Raises `FileTooLarge`."""

    async def find(self, id: str) -> tuple[File, bytes] | None:
        """A file with its content; None when there is none (any more)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enclosed:
    """What the files of one message say to the model.

    `text` is their content, marked as data; `pictures` are kept as files and shown beside it. `problems` are
    sentences for the person: which files could not be read, and why.
    """

    text: str = ""
    pictures: tuple[File, ...] = ()
    problems: tuple[str, ...] = ()


Fetch = Callable[[Attachment, int], Awaitable[bytes]]
"""The content of a file that a person sent, of so many bytes at most. Raises `FileRefused`."""
