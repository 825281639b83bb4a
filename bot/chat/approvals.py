"""Approval requests: what is proposed, who keeps it, and who shows it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bot.chat.events import Json, Turn
from bot.chat.parts import Approval
from bot.chat.platform import Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A tool call that waits for a person's approval, and how to tell that person what it would do.

    `title`, `action`, `language` and `effect` are as in `Approval`; `facts` are what the tool wants to know
    again when it is carried out. Plain data: it is stored as JSON.
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
    """Keeps approval requests until they are decided. All methods raise `StorageDown`."""

    async def ask(self, turn: Turn, proposal: Proposal) -> Approval | None:
        """Request an approval; requesting the same again changes nothing, not even the time that is left.

        None when those who ask have as many open requests as a person may have.
        """

    async def find(self, id: str) -> tuple[Approval, Proposal] | None:
        """Return the request of that id, with the decision if there is one; None when it is not known."""


class Showing(Protocol):
    """Shows requests to those who can approve them, wherever these are, beside the answer that asks."""

    async def show(self, approval: Approval, receipt: Receipt) -> str | None:
        """Show a request to an approver who does not read the thread that asks.

        Returns a sentence for the requester about it, or None where the thread itself is enough. Doing it
        again with the same receipt shows nothing twice. Raises `LeaseLost` and `StorageDown`.
        """

    async def settle(self, approval: Approval, receipt: Receipt) -> None:
        """Let what `show` has shown say what was decided. Raises `LeaseLost` and `StorageDown`."""
