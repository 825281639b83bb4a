"""The agent as the rest of the bot sees it, and what it needs of the rest."""

from collections.abc import AsyncIterator
from typing import Protocol

from bot.chat.events import Message, Turn
from bot.chat.files import Enclosed
from bot.chat.parts import Part


class Agent(Protocol):
    """Answers turns, and remembers what was said in their threads."""

    def answer(self, turn: Turn) -> AsyncIterator[Part]:
        """Return the parts of the answer; a repeated attempt yields those of the earlier ones again.

        The iterator raises `AnswerError` when there is no answer to be had, and `StorageDown`.
        """

    async def conclude(self, turn: Turn, answer: str) -> str | None:
        """Note in the thread's memory that the turn ended with `answer`, which the agent did not end itself.

        Returns what users must know of an action that was carried out all the same, if there was one. Doing
        it again changes nothing. Raises `StorageDown`.
        """


class Attachments(Protocol):
    """Reader of the files that come with messages."""

    async def read(self, message: Message) -> Enclosed:
        """Return the files of a message in words and pictures. Raises `StorageDown`."""


class MemoryWriter(Protocol):
    """Long-term memory, as the agent fills it. Errors of its store pass through."""

    async def note(self, memory: str, turn: Turn) -> None:
        """Note who writes in a thread's memory, of that name, before they do."""

    async def remember(self, turn: Turn, answer: str) -> None:
        """Keep a finished turn and the text of its answer searchable."""
