"""Copies of a request, for approvers who do not read the thread that asks for it."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from bot.access.requests.requests import Requests
from bot.chat import (
    Approval,
    InboxLookup,
    Json,
    Platform,
    PlatformError,
    Receipt,
    Request,
    ThreadId,
    Turn,
    Unreachable,
)
from bot.commands import approval_texts
from bot.commands.approval_texts import MOST_NAMES

log = logging.getLogger(__name__)

_TRIES = 2
"""Attempts to send one message while its platform is unreachable; the requester waits meanwhile."""


@dataclass(frozen=True, slots=True)
class Copies:
    """Copies of approval requests; a `bot.chat.ApprovalDisplay`.

    `channel` is APPROVALS_CHANNEL, empty for direct messages. Each copy has a separate receipt, stored under
    `copies` in the receipt of the turn that asks.
    """

    requests: Requests
    platform: Callable[[str], Platform]
    lookup: InboxLookup
    channel: str = ""

    async def show(self, approval: Approval, receipt: Receipt) -> str | None:
        """Show a request in the approvals channel, or else to approvers in direct messages.

        Approvers who cannot be reached are skipped.
        """
        is_seen = _is_seen(approval, receipt.turn)
        reached: list[str] = []
        if self.channel and (receipt.turn.direct or not is_seen):
            reached = [self.channel] if await self._show(approval, self.channel, receipt) else []
        is_in_channel = bool(reached)
        for approver in [] if is_seen or is_in_channel else _away(approval, receipt.turn):
            if len(reached) < MOST_NAMES and await self._show(approval, approver, receipt):
                reached.append(approver)
        copies = receipt.state.get("copies", {})
        threads = [copies[_key(approval, each)].get("thread") for each in reached]
        await self.requests.note_shown(approval.id, [ThreadId(**each) for each in threads if each])
        if is_in_channel:
            return approval_texts.SHOWN_IN_CHANNEL
        if reached:
            return approval_texts.shown_directly(reached)
        return None if is_seen else approval_texts.shown_to_nobody(approval.id)

    async def _show(self, approval: Approval, to: str, receipt: Receipt) -> bool:
        """Show one copy; return whether it is shown."""
        own = _own_receipt(receipt, _key(approval, to))
        if own.state.get("shown"):
            return True
        for _ in range(_TRIES):
            try:
                platform = self.platform(to.partition(":")[0])
                thread = await platform.show_request(approval, to, own, is_channel=to == self.channel)
            except PlatformError as error:
                log.warning("approval request not shown", extra={"request": approval.id, "error": str(error)})
                if not isinstance(error, Unreachable):
                    break
            else:
                await own.save(shown=True, **({"thread": asdict(thread)} if thread else {}))
                log.info("approval request shown", extra={"request": approval.id, "to": to})
                return True
        return False

    async def settle(self, request: Request, receipt: Receipt) -> None:
        """Store the decision, in case a crash prevented that, and show it in each copy."""
        await self.requests.note(request)
        if isinstance(request, Approval):
            await self._settle_copies(request, receipt)

    async def _settle_copies(self, approval: Approval, receipt: Receipt) -> None:
        asked = await self.lookup.receipt_of(approval.asked_in) or {}
        copies: Mapping[str, Mapping[str, Json]] = asked.get("copies", {})
        for key, state in copies.items():
            id, _, to = key.partition(" ")
            if id != approval.id or not state.get("shown"):
                continue
            # the receipt of another turn is only read
            own = Receipt(receipt.turn, None, dict(state), receipt.hold)
            try:
                await self.platform(to.partition(":")[0]).settle_request(approval, own)
            except PlatformError as error:
                log.warning("approval copy not updated", extra={"request": id, "error": str(error)})


def _is_seen(approval: Approval, turn: Turn) -> bool:
    """Return whether an approver reads the thread that asks for the approval, for as long as it is open."""
    if any(each.is_private for each in turn.messages):
        return False  # Discord removes a private answer when its user starts their app again
    if turn.direct:
        return not set(approval.askers).isdisjoint(approval.approvers)
    return any(each.startswith(f"{turn.thread.platform}:") for each in approval.approvers)


def _away(approval: Approval, turn: Turn) -> Sequence[str]:
    """Return the approvers to notify, those on the thread's platform first, except HTTP callers."""
    away = [each for each in approval.approvers if not each.startswith("http:")]
    return sorted(away, key=lambda each: not each.startswith(f"{turn.thread.platform}:"))


def _key(approval: Approval, to: str) -> str:
    return f"{approval.id} {to}"


def _own_receipt(receipt: Receipt, key: str) -> Receipt:
    async def keep(state: Mapping[str, Json]) -> None:
        await receipt.save(copies=receipt.state.get("copies", {}) | {key: dict(state)})

    return Receipt(receipt.turn, keep, dict(receipt.state.get("copies", {}).get(key, {})), receipt.hold)
