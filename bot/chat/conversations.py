"""Conversations that users see as a list: their titles, and what was asked and answered in each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bot.chat.events import ThreadId


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """Field of a conversation's hash in Redis, which the inbox stores in the step that ends a turn.

    A conversation that was removed meanwhile stays removed.
    """

    key: str
    field: str
    text: str
    revision: int


@dataclass(frozen=True, slots=True)
class ConversationTitle:
    """Conversation in a list; `updated_at` is the time of its last question (Unix seconds)."""

    thread: ThreadId
    title: str
    updated_at: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """One conversation: questions by the ids of their messages, and answers by those of their turns, as JSON.

    The questions are in their order; `has_earlier` says whether there are older ones.
    """

    title: str
    updated_at: float
    questions: Mapping[str, str]
    answers: Mapping[str, str]
    has_earlier: bool = False


class ConversationStore(Protocol):
    """Store of the conversations of each user in each space. All methods raise `StorageDown`.

    The owner of a conversation is the space of its thread.
    """

    async def add(self, thread: ThreadId, message: str, words: str, entry: str) -> None:
        """Add a question with its id; the first one is the title. The first entry with an id stays.

        A conversation that was deleted is restored.
        """

    async def replace(self, thread: ThreadId, message: str, words: str, entry: str) -> None:
        """Replace a question, if it is still kept."""

    def ending(self, thread: ThreadId, turn: str, entry: str) -> StoredEntry:
        """Return the entry of an answer, for the step that ends its turn."""

    async def find(self, thread: ThreadId) -> Transcript | None:
        """Return a conversation, or None if there is none, or it is deleted."""

    async def revision(self, thread: ThreadId) -> str | None:
        """Return a text that changes with each change of a conversation, or None as `find` does."""

    async def titles(
        self, owner: ThreadId, words: str, before: float | None, limit: int
    ) -> Sequence[ConversationTitle]:
        """Return the newest conversations with these words in the title or in a question.

        `owner` is any thread of the owner; `before` is the time of the last question.
        """

    async def rename(self, thread: ThreadId, title: str) -> bool:
        """Set the title; return False if there is no such conversation."""

    async def delete(self, thread: ThreadId, *, restores: bool = False) -> bool:
        """Delete a conversation, or restore it; return False if that is not possible any more."""

    async def expired(self) -> Sequence[ThreadId]:
        """Return deleted conversations that cannot be restored any more."""

    async def remove(self, thread: ThreadId) -> None:
        """Remove a deleted conversation, unless it was restored meanwhile."""


class ThreadEraser(Protocol):
    """Part of the bot that removes everything that is remembered of one thread."""

    async def forget_thread(self, thread: ThreadId) -> None:
        """Remove a thread's memory. Idempotent.

        Raises `StillBusy` while a turn of it runs, and `StorageDown`.
        """
