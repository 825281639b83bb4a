"""Approval requests: the proposal, and the protocols that store and show it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bot.chat.events import Json, Turn
from bot.chat.parts import Approval
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


class Requests(Protocol):
    """Store of approval requests. All methods raise `StorageDown`."""

    async def ask(self, turn: Turn, proposal: Proposal) -> Approval | None:
        """Request an approval; a repeated request changes nothing, not even the time that is left.

        Returns None if a requester has too many open requests already.
        """

    async def find(self, id: str) -> tuple[Approval, Proposal] | None:
        """Return the request with that id and its decision, if there is one; None for an unknown id."""


class ApprovalDisplay(Protocol):
    """Display of requests to approvers outside of the thread that asks."""

    async def show(self, approval: Approval, receipt: Receipt) -> str | None:
        """Show a request to approvers who do not read the thread that asks; idempotent for the same receipt.

        Returns a sentence about it for the requester, or None if the thread itself is enough. Raises
        `LeaseLost` and `StorageDown`.
        """

    async def settle(self, approval: Approval, receipt: Receipt) -> None:
        """Add the decision to the messages that `show` has sent. Raises `LeaseLost` and `StorageDown`."""
