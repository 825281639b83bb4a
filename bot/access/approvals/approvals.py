"""Approval requests: created once, decided once, by an authorised user.

A decision is put into the inbox under the request's id, so that of two concurrent decisions the second is a
duplicate. The stored record has the approvers, the places that show the request, and later the decision.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace

from bot.access.approvals.record import RequestRecord, askers_of
from bot.access.approvals.request_store import MOST_OPEN, RequestStore
from bot.chat import (
    Approval,
    Author,
    Decision,
    Health,
    Json,
    Message,
    Outcome,
    Proposal,
    StorageDown,
    TextDecision,
    ThreadId,
    Turn,
    Verdict,
    well_formed,
    with_decision,
)
from bot.commands import approval_texts
from bot.commands.decisions import DecisionAnswer, unknown_request
from bot.storage.errors import storage_errors

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Approvals:
    """Approval requests and their decisions; a `bot.chat.Requests` and `PersonalDataSource`.

    All methods raise `StorageDown`. `approvers` are authors as in `Message`. A request expires after `hours`.
    With `four_eyes` nobody can approve a request of their own.
    """

    name = "approvals"

    requests: RequestStore
    put: Callable[[Decision], Awaitable[Outcome]]
    """Function that puts a decision into the inbox: `kept`, or `duplicate` if there was one before."""
    approvers: Set[str]
    hours: float
    four_eyes: bool
    same_person: Callable[[str, str], Awaitable[Set[str]]] | None = None
    """Function that returns the authors that are the same person as an author in a space; None: no accounts
    are linked."""
    is_current: Callable[[Mapping[str, float]], Awaitable[bool]] | None = None
    """Function that returns whether the messages of `RequestRecord.questions` are unchanged."""

    async def ask(self, turn: Turn, proposal: Proposal) -> Approval | None:
        """Request an approval, see `bot.chat.Requests`."""
        askers = askers_of(turn)
        people = await self._same(askers, turn.thread)
        before = await self.requests.read(turn.decision.request) if turn.decision else None
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
            names={**(before.approval.names if before else {}), **_names(turn)},
        )
        questions = before.questions if before else _questions(turn)
        record = RequestRecord.of(turn, approval, proposal, sorted(people), questions)
        outcome = await self.requests.add(record)
        if outcome == "refused":
            log.info("approval request refused", extra={"request": approval.id, "open": MOST_OPEN})
            return None
        if outcome == "new":
            log.info("approval requested", extra={"request": approval.id, "tool": proposal.tool})
        kept = await self.requests.read(approval.id) or record
        if kept.is_open:
            await self._take_back_if_outdated(kept)
        return kept.approval

    async def _take_back_if_outdated(self, record: RequestRecord) -> None:
        """Reject a request whose question has changed since: `withdraw` may have run too early for it."""
        if self.is_current is None:
            return
        with storage_errors():
            is_current = await self.is_current(record.questions)
        if not is_current:
            reason = approval_texts.QUESTION_CHANGED
            await self._settle(record, record.decision("rejected", record.askers[0], reason))

    async def _same(self, askers: Sequence[str], thread: ThreadId) -> set[str]:
        """Return the requesters with all of their linked accounts."""
        if self.same_person is None:
            return set(askers)
        return set().union(*[await self.same_person(asker, thread.space) for asker in askers])

    async def note_shown(self, id: str, threads: Sequence[ThreadId]) -> None:
        """Store further threads that show a request, so that a typed decision counts there, too."""
        if threads:
            await self.requests.note_shown(id, threads)

    async def find(self, id: str) -> tuple[Approval, Proposal] | None:
        """Return a request with its proposal, see `bot.chat.Requests`."""
        record = await self.requests.read(id)
        return (record.approval, record.proposal) if record else None

    async def decide(
        self, id: str, by: str, *, approve: bool, reason: str = "", name: str = ""
    ) -> DecisionAnswer:
        """Take a decision, see `Decisions`. Requesters can always withdraw their request."""
        record = await self.requests.read(id)
        if record is None:
            return unknown_request(id)
        reason, name = well_formed(reason), well_formed(name)
        return await self._decide(record, by, approve=approve, reason=reason, name=name)

    async def decide_in_words(self, order: TextDecision, message: Message) -> str:
        """Take a typed decision, see `Decisions`."""
        record = await self.requests.read(order.request)
        if record is None:
            return unknown_request(order.request).words
        by = message.author
        if record.is_open and not await self._refusal(record, by, order.approve):
            word = ""
            is_above = record.is_shown_in(message.thread)
            if not record.is_seen_by(message):
                word = await self._word(order.request, message)
                confirmed = order.strip_confirmation(word)
                if confirmed is None:
                    return approval_texts.read_back(record.approval, order, word, is_above=is_above)
                order = confirmed
            if not order.is_certain:
                return approval_texts.read_back(record.approval, order, word, is_above=is_above)
        reason, name = order.reason, message.author_name
        return (await self._decide(record, by, approve=order.approve, reason=reason, name=name)).words

    async def _word(self, id: str, message: Message) -> str:
        """Return the word that confirms a decision of this user in this place."""
        thread = message.thread
        # in a direct message on Slack each message starts a new thread
        place = replace(thread, thread="") if message.direct else thread
        return await self.requests.confirmation(id, message.author, place)

    async def _decide(
        self, record: RequestRecord, by: str, *, approve: bool, reason: str, name: str
    ) -> DecisionAnswer:
        if record.approval.state != "asked":
            if by not in self.approvers and by not in record.askers:
                return unknown_request(record.approval.id)
            return DecisionAnswer(approval_texts.too_late(record.approval), record.thread)
        if refusal := await self._refusal(record, by, approve):
            return DecisionAnswer(refusal)
        if record.approval.expires_at <= time.time():
            return await self._settle(record, record.decision("expired"))
        verdict: Verdict = "approved" if approve else "rejected"
        return await self._settle(record, record.decision(verdict, by, reason, name))

    async def _refusal(self, record: RequestRecord, by: str, approve: bool) -> str | None:
        """Return why this user cannot take this decision, or None."""
        if not approve and by in record.askers:
            return None
        if self.four_eyes:
            # accounts at the time of the request count, too: unlinking one must not make it a second person
            same = await self._same(record.askers, record.thread)
            if by in same.union(record.people):
                return approval_texts.refusal_of_asker(record.approval)
        if by not in self.approvers:
            return approval_texts.refusal(record.approval)
        return None

    async def _settle(self, record: RequestRecord, decision: Decision) -> DecisionAnswer:
        with storage_errors():
            outcome = await self.put(decision)
        if outcome != "kept":  # another decision came first
            found = await self.requests.read(record.approval.id)
            approval = found.approval if found else record.approval
            return DecisionAnswer(approval_texts.too_late(approval), record.thread)
        log.info(
            "request decided",
            extra={"request": decision.request, "verdict": decision.verdict, "by": decision.by},
        )
        approval = with_decision(record.approval, decision)
        await self.note(approval)
        return DecisionAnswer(approval_texts.confirmation(approval), record.thread)

    async def note(self, approval: Approval) -> None:
        """Store the decision of a request, which closes it."""
        record = await self.requests.read(approval.id)
        if record is None:
            return
        await self.requests.note_decision(record, approval)

    async def keep_expiring(self, seconds: float) -> None:
        """Let requests expire that nobody has decided in time, until cancelled; look every few `seconds`."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.expire()
            except StorageDown as error:
                log.info("approval expiry check failed", extra={"error": str(error)})

    async def expire(self) -> int:
        """Let due requests expire once; return their number. Several processes may do so at the same time."""
        due = await self.requests.due()
        for id in due:
            record = await self.requests.read(id)
            if record and record.approval.state == "asked":
                await self._settle(record, record.decision("expired"))
            await self.requests.close(id)
        return len(due)

    async def withdraw(self, message_id: str, reason: str, *, before: float = math.inf) -> None:
        """Reject the requests of a message whose wording is older than `before`.

        An edit may be reported again at any time, and must not reject the request of its own answer.
        """
        for record in await self.requests.undecided():
            if record.questions.get(message_id, math.inf) < before:
                await self._settle(record, record.decision("rejected", record.askers[0], reason))

    async def export(self, user: Sequence[Author]) -> Mapping[str, Json]:
        """Return the requests that a user has made."""
        records = await self.requests.by_authors({each.id for each in user})
        return {"requests": [asdict(each.approval) for each in records]}

    async def erase(self, user: Sequence[Author]) -> None:
        """Remove the requests that a user has made, alone or with others."""
        for record in await self.requests.by_authors({each.id for each in user}):
            await self.requests.remove(record)

    async def health(self) -> Health:
        """Return the number of waiting requests and of approvers. Never raises."""
        try:
            waiting, next_due = await self.requests.count()
        except StorageDown:
            return Health(name=self.name, state="down", evidence={"error": "redis does not answer"})
        evidence: dict[str, Json] = {"waiting": waiting, "approvers": len(self.approvers)}
        if next_due is not None:
            evidence["next_expires_in_s"] = round(next_due - time.time())
        return Health(name=self.name, state="ok" if self.approvers else "off", evidence=evidence)


def _questions(turn: Turn) -> Mapping[str, float]:
    return {each.corrects or each.id: each.edited_at for each in turn.messages}


def _names(turn: Turn) -> Mapping[str, str]:
    return {each.author: each.author_name for each in turn.messages if each.author_name}
