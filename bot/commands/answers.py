"""Buttons below answers: the protocol for the platforms that show them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from bot.chat import Message, ThreadId, Vote

MOST_REASON = 1_000
"""Most characters of a reason for a vote that are stored."""

MOST_COUNTED = 1_000
"""Most answers of which the votes of one user are counted, the newest."""


@dataclass(frozen=True, slots=True)
class OrderAnswer:
    """Reply to a user who orders another answer.

    If there is an order, or was one before, its `thread` is set, and `message` is its id in the inbox.
    """

    words: str
    thread: ThreadId | None = None
    message: str = ""


class Opinion(NamedTuple):
    """Vote with a reason, given at a Unix time; `is_general` if it is about the bot and not on an answer."""

    vote: Vote
    reason: str
    at: float
    is_general: bool


class AnswerActions(Protocol):
    """Actions of the buttons below an answer, which everybody whom the bot answers there can press.

    A `press` is a message without text in the place of the answer, by the user who has pressed the button.
    All methods raise `StorageDown`; a press can be repeated, and has its effect once.
    """

    async def rate(self, answer: str, press: Message, vote: Vote, reason: str = "") -> None:
        """Store the vote of a user in place of their earlier one. Raises `PressRefused`.

        A `reason` is added to it, cut to `MOST_REASON` characters.
        """

    async def explain(self, answer: str, by: str, reason: str) -> None:
        """Add a reason to the vote of a user against an answer. Raises `PressRefused` if they have none.

        `by` is an author as in `Message`.
        """

    async def rate_bot(self, form: str, by: str, vote: Vote, words: str) -> None:
        """Store feedback of a user about the bot, once for each form. Raises `PressRefused`.

        `form` is the id of what they have filled in; `words` are cut to `MOST_REASON` characters.
        """

    async def newest_opinions(self, most: int) -> Sequence[Opinion]:
        """Return the newest votes with a reason, of all users."""

    async def count_votes(self, by: str) -> Mapping[Vote, int]:
        """Return the number of a user's votes by their kind, of at most `MOST_COUNTED` answers."""

    async def describe(self, answer: str, press: Message) -> str:
        """Return the details of an answer in Markdown. Raises `PressRefused`."""

    async def regenerate(self, answer: str, press: Message) -> OrderAnswer:
        """Order another answer in place of this one."""
