"""Where the content of files is, so that parts and messages need only name them."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from bot.chat.parts import File

Keep = Callable[[str, str, bytes, str], Awaitable[File]]
"""`Files.keep`: name, media type, content and alternative text in, the file out."""


class Files(Protocol):
    """Files for a day, known to all processes. All raise `StorageDown`."""

    async def keep(self, name: str, media_type: str, content: bytes, alt: str = "") -> File:
        """Keep a file, or keep it for longer. Raises `FileTooLarge`."""

    async def find(self, id: str) -> tuple[File, bytes] | None:
        """A file with its content; None when there is none (any more)."""
