"""Protocols of the agent, and of the parts of the bot that it uses."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from bot.chat.events import Message, Turn
from bot.chat.files import AttachmentContent
from bot.chat.parts import Part


class Agent(Protocol):
    """Answers turns, and remembers what was said in their threads."""

    def answer(self, turn: Turn) -> AsyncIterator[Part]:
        """Return the parts of the answer; a repeated attempt yields the parts of earlier attempts first.

        The iterator raises `AnswerError` when no answer is possible, and `StorageDown`.
        """

    async def find_answer(self, turn: Turn) -> str | None:
        """Return the text of the answer if an earlier attempt has completed it. Raises `StorageDown`."""

    async def conclude(self, turn: Turn, answer: str) -> Sequence[Part]:
        """Record in the thread memory that the turn was ended from outside, with `answer`. Idempotent.

        Returns the parts to show before the end: the outcome of an approved action that was carried out
        nevertheless, and questions that the turn was the answer to. Raises `StorageDown`.
        """


class Attachments(Protocol):
    """Reader of the files that are attached to messages."""

    async def read(self, message: Message) -> AttachmentContent:
        """Return the content of a message's files as text and pictures. Raises `StorageDown`."""
