"""Personal data: what each part of the bot keeps about a user, to be exported or erased."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from bot.chat.events import Json, ThreadId


@dataclass(frozen=True, slots=True)
class Writer:
    """One account of a user: an author, as in `Message`, in a space, or in all spaces if that is empty."""

    author: str
    space: str

    def wrote(self, author: str, thread: str) -> bool:
        """Return whether this is the author of a message in a thread, as text."""
        if author != self.author or not thread:  # of a stop that was typed, only the author is known
            return author == self.author
        platform = author.partition(":")[0]
        known = str(ThreadId(platform, self.space, "")).split(":")
        return not self.space or thread.split(":")[:2] == known[:2]


class PersonalDataSource(Protocol):
    """A part of the bot that keeps data about users. Raises `StorageDown`, or what its store raises."""

    @property
    def name(self) -> str:
        """The name of the part, for the log."""

    async def export(self, user: Sequence[Writer]) -> Mapping[str, Json]:
        """Return the data about a user with these accounts, as sections of a JSON document."""

    async def erase(self, user: Sequence[Writer]) -> None:
        """Remove the data about a user with these accounts.

        Raises `StillBusy` when some of it belongs to turns under way, and the rest is removed.
        """


class Mailboxes(Protocol):
    """The inbox, as far as data is erased from its threads. Errors of redis-py pass through."""

    async def withdraw(self, writer: Writer) -> int:
        """Take out what waits, and stop the turns that only this user wants; returns how many messages."""

    def held(self, thread: str, patience: float) -> AbstractAsyncContextManager[None]:
        """Keep turns of a thread from beginning, once it has none.

        Raises `StillBusy` when its turn has not ended after `patience` seconds.
        """

    async def leave(self, thread: str) -> None:
        """Take part in a thread no more, as if the bot had never joined it."""
