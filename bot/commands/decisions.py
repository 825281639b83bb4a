"""Decisions of requests: the protocol, and the answer to the user who decides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from bot.chat import Message, Request, TextDecision, ThreadId, WaitingCall
from bot.commands import approval_texts


@dataclass(frozen=True, slots=True)
class DecisionAnswer:
    """Reply to a user who decides. `thread` is set if there is a decision, also of another user."""

    words: str
    thread: ThreadId | None = None
    is_known: bool = True


@dataclass(frozen=True, slots=True)
class Chooser:
    """User who presses a button or submits a form: an author with a name and roles, as in `Message`."""

    author: str
    name: str = ""
    roles: tuple[str, ...] = ()
    is_external: bool = False


class Decisions(Protocol):
    """Decisions of approval requests, and answers to questions. All methods raise `StorageDown`."""

    async def decide(
        self, id: str, by: str, *, approve: bool, reason: str = "", name: str = ""
    ) -> DecisionAnswer:
        """Take the decision of a user who sees the request, if they are authorised.

        `id` is the request's; `by` is the user (an author as in `Message`, with the display name `name`).
        """

    async def decide_in_words(self, order: TextDecision, message: Message) -> str:
        """Take a typed decision; return the reply.

        If the decision is ambiguous, or the request is not shown there, the reply shows the request and asks
        for a confirmation.
        """

    async def choose(self, id: str, answer: int | str, by: Chooser) -> DecisionAnswer:
        """Take the answer of a user, if the question is for them: the number of an option, or words."""

    async def find(self, id: str) -> tuple[Request, WaitingCall] | None:
        """Return a request as it is now, for a user who sees it; None for an unknown id."""


class WaitingRequest(NamedTuple):
    """Request that waits for a user, with the threads that show it, as text; it expires at a Unix time."""

    id: str
    kind: Literal["approval", "question"]
    text: str
    threads: Sequence[str]
    expires_at: float


class RequestsOfUser(Protocol):
    """Look-up of requests by the users for whom they wait."""

    async def waiting_for(self, by: str) -> Sequence[WaitingRequest]:
        """Return the approvals that an author can give, and the questions to them. Raises `StorageDown`."""


def unknown_request(id: str) -> DecisionAnswer:
    """Return the answer for an unknown request."""
    return DecisionAnswer(approval_texts.unknown_request(id), is_known=False)
