"""Requests to users: the calls that wait for them, and the protocols that store and show them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bot.chat.events import Json, Turn
from bot.chat.parts import Approval, Question, Request
from bot.chat.platform import Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Tool call that waits for an approval, with its description for the approver.

    `title`, `action`, `language` and `effect` are as in `Approval`; `facts` is data that the tool needs when
    it carries the call out. Plain data: it is stored as JSON.
    """

    id: str
    tool: str
    arguments: Mapping[str, Json]
    title: str
    action: str
    effect: str
    language: str = ""
    facts: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """Tool call that waits for an answer; `text`, `options` and `anyone` are as in `Question`. Plain data."""

    id: str
    tool: str
    arguments: Mapping[str, Json]
    text: str
    options: tuple[str, ...] = ()
    anyone: bool = False


WaitingCall = Proposal | Inquiry
"""Tool call that waits for the decision of a request."""


class Requests(Protocol):
    """Store of requests for approvals and answers. All methods raise `StorageDown`."""

    async def ask(self, turn: Turn, call: WaitingCall) -> Request | None:
        """Request an approval or an answer; a repeated request changes nothing, not even the time left.

        Returns None if a requester has too many requests of this kind open already.
        """

    async def find(self, id: str) -> tuple[Request, WaitingCall] | None:
        """Return the request with that id and its decision, if there is one; None for an unknown id."""

    async def answer(self, turn: Turn, id: str) -> Question | None:
        """Take the words of a turn for the answer to a question; return it with the answer. Idempotent.

        Returns None if nobody who writes in this turn can answer it, or another decision came first.
        """

    async def conclude(self, turn: Turn, id: str) -> Question | None:
        """Close the question that a turn was the answer to, after the turn was ended from outside; return it.

        It is withdrawn unless its answer is stored already. Idempotent. Returns None if the turn is not its
        answer.
        """


class ApprovalDisplay(Protocol):
    """Display of requests to approvers outside of the thread that asks."""

    async def show(self, approval: Approval, receipt: Receipt) -> str | None:
        """Show a request to approvers who do not read the thread that asks; idempotent for the same receipt.

        Returns a sentence about it for the requester, or None if the thread itself is enough. Raises
        `LeaseLost` and `StorageDown`.
        """

    async def settle(self, request: Request, receipt: Receipt) -> None:
        """Store a decision, and add it to the messages that `show` has sent.

        Raises `LeaseLost` and `StorageDown`.
        """
