"""Requests that wait for a user: approvals that they can give, and questions to them."""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.access.requests.approvals import ApprovalRules
from bot.access.requests.record import RequestRecord
from bot.access.requests.request_store import RequestStore
from bot.chat import Approval, harmless
from bot.chat.text import one_line
from bot.commands.decisions import WaitingRequest

_MOST = 20
"""Most requests that are returned, those first that expire first."""

_EXCERPT = 200


@dataclass(frozen=True, slots=True)
class WaitingRequests:
    """Look-up of waiting requests; a `bot.commands.decisions.RequestsOfUser`."""

    store: RequestStore
    rules: ApprovalRules

    async def waiting_for(self, by: str) -> Sequence[WaitingRequest]:
        """Return the requests that wait for an author. Raises `StorageDown`."""
        waiting = [*await self.store.asked_of(by), *await self._approvals(by)]
        waiting.sort(key=lambda each: each.request.expires_at)
        return [_described(each) for each in waiting[:_MOST]]

    async def _approvals(self, by: str) -> Sequence[RequestRecord]:
        if by not in self.rules.approvers:  # only a few users are, and only they cost a look at all requests
            return []
        return [
            each
            for each in await self.store.undecided()
            if each.is_open
            and isinstance(each.request, Approval)
            and await self.rules.refusal(each, each.request, by, approve=True) is None
        ]


def _described(record: RequestRecord) -> WaitingRequest:
    request = record.request
    text = f"{request.title}: {request.action}" if isinstance(request, Approval) else request.text
    return WaitingRequest(
        id=request.id,
        kind="approval" if isinstance(request, Approval) else "question",
        text=harmless(one_line(text, _EXCERPT)),
        threads=(str(record.thread), *record.shown),
        expires_at=request.expires_at,
    )
