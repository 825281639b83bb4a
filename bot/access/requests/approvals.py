"""Rules of approval requests: the approvers, the expiry, and the users who can decide."""

import time
from collections.abc import Awaitable, Callable, Sequence, Set
from dataclasses import dataclass

from bot.access.requests.record import RequestRecord, askers_of
from bot.chat import Approval, Proposal, ThreadId, Turn
from bot.commands import approval_texts


@dataclass(frozen=True, slots=True)
class ApprovalRules:
    """Rules from the settings. `approvers` are authors as in `Message`; a request expires after `hours`.

    With `four_eyes` nobody can approve a request of their own.
    """

    approvers: Set[str]
    hours: float
    four_eyes: bool
    same_person: Callable[[str, str], Awaitable[Set[str]]] | None = None
    """Function that returns the authors that are the same person as an author in a space; None: no accounts
    are linked."""

    async def request(
        self, turn: Turn, proposal: Proposal, before: RequestRecord | None
    ) -> tuple[Approval, Sequence[str]]:
        """Return the request for a call, and the accounts of all requesters.

        `before` is the request whose decision began the turn.
        """
        askers = askers_of(turn)
        people = await self._same(askers, turn.thread)
        approval = Approval(
            id=proposal.id,
            title=proposal.title,
            action=proposal.action,
            language=proposal.language,
            effect=proposal.effect,
            expires_at=time.time() + self.hours * 3600,
            approvers=tuple(sorted(set(self.approvers) - (people if self.four_eyes else set()))),
            asked_in=turn.id,
            askers=askers,
            names={**(before.request.names if before else {}), **turn.names},
        )
        return approval, sorted(people)

    async def refusal(
        self, record: RequestRecord, approval: Approval, by: str, *, approve: bool
    ) -> str | None:
        """Return why this user cannot take this decision, or None. Requesters can always withdraw."""
        if not approve and by in record.askers:
            return None
        if self.four_eyes:
            # accounts at the time of the request count, too: unlinking one must not make it a second person
            same = await self._same(record.askers, record.thread)
            if by in same.union(record.people):
                return approval_texts.refusal_of_asker(approval)
        if by not in self.approvers:
            return approval_texts.refusal(approval)
        return None

    async def _same(self, askers: Sequence[str], thread: ThreadId) -> set[str]:
        """Return the requesters with all of their linked accounts."""
        if self.same_person is None:
            return set(askers)
        return set().union(*[await self.same_person(asker, thread.space) for asker in askers])
