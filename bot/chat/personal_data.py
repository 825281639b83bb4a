"""Personal data: export and removal of the data that each part of the bot stores about a user."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from bot.chat.events import Json, ThreadId


@dataclass(frozen=True, slots=True)
class Author:
    """Account of a user: an author, as in `Message`, in one space, or in all spaces if `space` is empty."""

    id: str
    space: str

    def wrote(self, author: str, thread: str) -> bool:
        """Return whether this is the author of a message; `thread` is a `ThreadId` as text."""
        if author != self.id or not thread:  # of a stop that was typed, only the author is known
            return author == self.id
        platform = author.partition(":")[0]
        known = str(ThreadId(platform, self.space, "")).split(":")
        return not self.space or thread.split(":")[:2] == known[:2]


@dataclass(frozen=True, slots=True)
class Space:
    """Slack's workspace or Discord's server, with all accounts and threads in it."""

    platform: str
    id: str

    def has(self, thread: str) -> bool:
        """Return whether a thread belongs to the space; `thread` is a `ThreadId` as text."""
        return thread.split(":")[:2] == str(ThreadId(self.platform, self.id, "")).split(":")[:2]

    def wrote(self, author: str, thread: str) -> bool:
        """Return whether a message was written there."""
        return self.has(thread)


class SpaceData(Protocol):
    """Part of the bot that stores data of spaces. Raises `StorageDown`, or the errors of its store."""

    async def erase_space(self, space: Space) -> None:
        """Remove the data of a space. Raises `StillBusy` if running turns use some of it."""


class PersonalDataSource(Protocol):
    """Part of the bot that stores data about users. Raises `StorageDown`, or the errors of its store."""

    @property
    def name(self) -> str:
        """Return the name of the part, for the log."""

    async def export(self, user: Sequence[Author]) -> Mapping[str, Json]:
        """Return the data about a user with these accounts, as sections of a JSON document."""

    async def erase(self, user: Sequence[Author]) -> None:
        """Remove the data about a user with these accounts.

        Raises `StillBusy` if running turns use some of it; the rest is removed.
        """


class Mailboxes(Protocol):
    """Part of the inbox that erases data from threads. Errors of redis-py pass through."""

    async def withdraw(self, author: Author | Space) -> int:
        """Remove a user's waiting messages, and stop turns without other users; return their number.

        Of a space all are removed.
        """

    def pause(self, thread: str, patience: float) -> AbstractAsyncContextManager[None]:
        """Return a context in which no turn of a thread runs.

        Entering raises `StillBusy` if the running turn has not ended after `patience` seconds.
        """

    async def leave(self, thread: str) -> Sequence[ThreadId]:
        """Leave a thread, as if the bot had never joined it; return its id if it is known."""


class ForgottenThreads(Protocol):
    """Platforms, as far as they show that a thread was forgotten."""

    def forget_thread(self, id: ThreadId) -> None:
        """Start to show that the memory of a thread was removed. Returns at once, and never raises."""
