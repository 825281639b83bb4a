"""Requests to users, for approvals and answers: made once, decided once, by a user who can decide them.

A decision is put into the inbox under the request's id, so that of two concurrent decisions the second is a
duplicate. An answer in words is the message itself: its turn claims the decision there, under the same id.
The stored record has the request, the places that show it, and later the decision.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Protocol

from bot.access.requests.approvals import ApprovalRules
from bot.access.requests.questions import QuestionRules
from bot.access.requests.record import RequestRecord
from bot.access.requests.request_store import RequestStore, most_open
from bot.chat import (
    Approval,
    Author,
    Decision,
    Health,
    Inquiry,
    Json,
    Message,
    Outcome,
    Proposal,
    Question,
    Request,
    Space,
    Stop,
    StopPolicy,
    StopRefused,
    StorageDown,
    TextDecision,
    ThreadId,
    Turn,
    Verdict,
    WaitingCall,
    well_formed,
    with_decision,
)
from bot.commands import approval_texts, question_texts
from bot.commands.decisions import Chooser, DecisionAnswer, unknown_request
from bot.commands.question_texts import MOST_WORDS
from bot.storage.errors import storage_errors

log = logging.getLogger(__name__)


class DecisionInbox(Protocol):
    """Part of the inbox in which decisions are unique. Errors of the store pass through."""

    async def put(self, event: Decision) -> Outcome:
        """Store a decision: `kept`, or `duplicate` if there was one before."""

    async def claim(self, request: str, turn: Turn) -> bool:
        """Let a turn stand for the decision of a request; return whether it does. Idempotent."""

    async def has_claimed(self, request: str, turn: Turn) -> bool:
        """Return whether a turn stands for the decision of a request."""

    async def is_current(self, wordings: Mapping[str, float]) -> bool:
        """Return whether the messages of `RequestRecord.questions` are unchanged."""

    async def expect_answer(
        self, thread: ThreadId, question: str, respondents: Sequence[str], seconds: float
    ) -> None:
        """Take messages of these authors in a thread for addressed, for a time; without any, those of all."""

    async def expect_no_answer(self, thread: ThreadId, question: str) -> None:
        """End `expect_answer` for a question."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests and their decisions; a `bot.chat.Requests`, a `Decisions` and a `PersonalDataSource`.

    All methods raise `StorageDown`.
    """

    name = "approvals"

    store: RequestStore
    inbox: DecisionInbox
    approvals: ApprovalRules
    questions: QuestionRules
    stop_policy: StopPolicy | None = None

    async def ask(self, turn: Turn, call: WaitingCall) -> Request | None:
        """Request an approval or an answer, see `bot.chat.Requests`."""
        before = await self.store.read(turn.decision.request) if turn.decision else None
        request: Request
        people: Sequence[str] = ()
        match call:
            case Proposal():
                request, people = await self.approvals.request(turn, call, before)
            case Inquiry():
                request = self.questions.request(turn, call, before)
        wordings = before.questions if before else _wordings(turn)
        record = RequestRecord.of(turn, request, call, people, wordings)
        outcome = await self.store.add(record)
        if outcome == "refused":
            log.info("request refused", extra={"request": request.id, "open": most_open(request)})
            return None
        if outcome == "new":
            event = "approval requested" if isinstance(request, Approval) else "question asked"
            log.info(event, extra={"request": request.id, "tool": call.tool})
        kept = await self.store.read(request.id) or record
        if kept.is_open:
            await self._expect_words(kept)
            await self._take_back_if_outdated(kept)
        return kept.request

    async def _expect_words(self, record: RequestRecord) -> None:
        """Let those who are asked answer in words, without a mention, whomever the bot follows."""
        question = record.request
        if not isinstance(question, Question):
            return
        respondents = () if question.anyone else question.respondents
        with storage_errors():
            seconds = question.expires_at - time.time()
            await self.inbox.expect_answer(record.thread, question.id, respondents, seconds)

    async def _expect_no_words(self, record: RequestRecord) -> None:
        if isinstance(record.request, Question):
            with storage_errors():
                await self.inbox.expect_no_answer(record.thread, record.request.id)

    async def _take_back_if_outdated(self, record: RequestRecord) -> None:
        """End a request whose messages have changed since: `withdraw` may have run too early for it."""
        with storage_errors():
            is_current = await self.inbox.is_current(record.questions)
        if not is_current:
            await self._end(record, record.withdrawal(record.askers[0], approval_texts.QUESTION_CHANGED))

    async def note_shown(self, id: str, threads: Sequence[ThreadId]) -> None:
        """Store further threads that show a request, so that a typed decision counts there, too."""
        if threads:
            await self.store.note_shown(id, threads)

    async def find(self, id: str) -> tuple[Request, WaitingCall] | None:
        """Return a request with its call, see `bot.chat.Requests`."""
        record = await self.store.read(id)
        return (record.request, record.call) if record else None

    async def decide(
        self, id: str, by: str, *, approve: bool, reason: str = "", name: str = ""
    ) -> DecisionAnswer:
        """Take the decision of an approval request, see `Decisions`."""
        record = await self.store.read(id)
        if record is None or not isinstance(record.request, Approval):
            return unknown_request(id)
        reason, name = well_formed(reason), well_formed(name)
        return await self._decide(record, record.request, by, approve=approve, reason=reason, name=name)

    async def decide_in_words(self, order: TextDecision, message: Message) -> str:
        """Take a typed decision of an approval request, see `Decisions`."""
        record = await self.store.read(order.request)
        if record is None or not isinstance(record.request, Approval):
            return unknown_request(order.request).words
        approval, by = record.request, message.author
        if record.is_open and not await self.approvals.refusal(record, approval, by, approve=order.approve):
            word = ""
            is_above = record.is_shown_in(message.thread)
            if not record.is_seen_by(message):
                word = await self._word(order.request, message)
                confirmed = order.strip_confirmation(word)
                if confirmed is None:
                    return approval_texts.read_back(approval, order, word, is_above=is_above)
                order = confirmed
            if not order.is_certain:
                return approval_texts.read_back(approval, order, word, is_above=is_above)
        reason, name = order.reason, message.author_name
        decided = await self._decide(record, approval, by, approve=order.approve, reason=reason, name=name)
        return decided.words

    async def _word(self, id: str, message: Message) -> str:
        """Return the word that confirms a decision of this user in this place."""
        thread = message.thread
        # in a direct message on Slack each message starts a new thread
        place = replace(thread, thread="") if message.direct else thread
        return await self.store.confirmation(id, message.author, place)

    async def _decide(
        self, record: RequestRecord, approval: Approval, by: str, *, approve: bool, reason: str, name: str
    ) -> DecisionAnswer:
        if approval.state != "asked":
            if by not in self.approvals.approvers and by not in record.askers:
                return unknown_request(approval.id)
            return DecisionAnswer(approval_texts.too_late(approval), record.thread)
        if refusal := await self.approvals.refusal(record, approval, by, approve=approve):
            return DecisionAnswer(refusal)
        if approval.expires_at <= time.time():
            return await self._settle(record, record.decision("expired"))
        verdict: Verdict = "approved" if approve else "rejected"
        return await self._settle(record, record.decision(verdict, by, reason, name))

    async def choose(self, id: str, answer: int | str, by: Chooser) -> DecisionAnswer:
        """Take the answer to a question by a button or in a form, see `Decisions`."""
        record = await self.store.read(id)
        question = record.request if record else None
        words = _words(question, answer) if isinstance(question, Question) else ""
        if record is None or not isinstance(question, Question) or not words:
            return DecisionAnswer(question_texts.UNKNOWN, is_known=False)
        in_words = isinstance(answer, str)
        if refusal := await self.questions.refusal(record, question, by, in_words=in_words):
            return DecisionAnswer(refusal)
        if question.state != "asked":
            return DecisionAnswer(question_texts.too_late(question), record.thread)
        if question.expires_at <= time.time():
            return await self._settle(record, record.decision("expired"))
        return await self._settle(record, record.decision("answered", by.author, words, well_formed(by.name)))

    async def answer(self, turn: Turn, id: str) -> Question | None:
        """Take the words of a turn for the answer to a question, see `bot.chat.Requests`."""
        record = None if turn.decision else await self.store.read(id)
        question = record.request if record else None
        if not record or not isinstance(question, Question) or question.state not in ("asked", "answered"):
            return None
        answered = self.questions.answered(question, turn)
        if answered is None:
            return None
        with storage_errors():
            is_over = not record.is_open and not await self.inbox.has_claimed(id, turn)
            is_ours = not is_over and await self.inbox.claim(id, turn)
        if not is_ours:  # another decision came first, or comes now: nobody has answered in time
            if is_over and question.state == "asked":
                await self._end(record, record.decision("expired"))
            return None
        log.info("question answered", extra={"request": id, "by": answered.by})
        await self.note(answered)
        return answered

    async def conclude(self, turn: Turn, id: str) -> Question | None:
        """Close the question that a turn has claimed before it was ended, see `bot.chat.Requests`."""
        record = None if turn.decision else await self.store.read(id)
        question = record.request if record else None
        if not isinstance(question, Question):
            return None
        with storage_errors():
            is_ours = await self.inbox.has_claimed(id, turn)
        if not is_ours:
            return None
        if question.state == "asked":
            question = replace(question, state="withdrawn", answer=question_texts.ANSWER_STOPPED)
            log.info("question withdrawn", extra={"request": id})
            await self.note(question)
        return question

    async def _settle(self, record: RequestRecord, decision: Decision) -> DecisionAnswer:
        """Make a decision unless another one came first; return the answer to its user."""
        request = await self._end(record, decision)
        if request:
            return DecisionAnswer(_confirmation(request), record.thread)
        found = await self.store.read(record.request.id)
        return DecisionAnswer(_too_late(found.request if found else record.request), record.thread)

    async def _end(self, record: RequestRecord, decision: Decision) -> Request | None:
        """Make a decision and return the request with it, or None if another one came first."""
        with storage_errors():
            outcome = await self.inbox.put(decision)
        if outcome != "kept":
            return None
        log.info(
            "request decided",
            extra={"request": decision.request, "verdict": decision.verdict, "by": decision.by},
        )
        request = with_decision(record.request, decision)
        await self.note(request)
        return request

    async def note(self, request: Request) -> None:
        """Store the decision of a request, which closes it."""
        record = await self.store.read(request.id)
        if record is None:
            return
        await self.store.note_decision(record, request)
        await self._expect_no_words(record)

    async def keep_expiring(self, seconds: float) -> None:
        """Let requests expire that nobody has decided in time, until cancelled; look every few `seconds`."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.expire()
            except StorageDown as error:
                log.info("request expiry check failed", extra={"error": str(error)})

    async def expire(self) -> int:
        """Let due requests expire once; return their number. Several processes may do so at the same time."""
        due = await self.store.due()
        for id in due:
            record = await self.store.read(id)
            if record and record.request.state == "asked":
                await self._end(record, record.decision("expired"))
            await self.store.close(id)
        return len(due)

    async def withdraw(self, message_id: str, reason: str, *, before: float = math.inf) -> None:
        """End the requests of a message whose wording is older than `before`.

        An edit may be reported again at any time, and must not end the request of its own answer.
        """
        for record in await self.store.undecided_about(message_id):
            if record.questions.get(message_id, math.inf) < before:
                await self._end(record, record.withdrawal(record.askers[0], reason))

    async def halt(self, stop_turns: Callable[[Stop], Awaitable[int]], stop: Stop) -> int:
        """Stop the turns and end the questions that `stop` names; return their number.

        Raises `StopRefused`.
        """
        try:
            stopped = await stop_turns(stop)
        except StopRefused:
            if ended := await self.stop(stop):
                return ended
            raise
        return stopped + await self.stop(stop, in_channel=not stopped)

    async def stop(self, stop: Stop, *, in_channel: bool = False) -> int:
        """End the open questions that `stop` names, and return their number. Approvals are not affected.

        Respondents can end a question, and users who can stop the answers of others. `in_channel`: if there
        is none in the thread, those to `by` in the whole channel end. A stop may be delivered late and more
        than once: it does not affect questions that were asked after it.
        """
        is_of_message = stop.message_id and not (stop.thread or stop.channel)  # such as a reaction
        undecided = self.store.undecided_about(stop.message_id) if is_of_message else self.store.undecided()
        waiting = [each for each in await undecided if self.questions.can_stop(stop, each)]
        named = [each for each in waiting if each.is_named_by(stop)]
        if in_channel and not named:
            named = [each for each in waiting if each.is_in_channel_of(stop)]
        ended = [each for each in named if stop.by in each.askers or await self._overrules(stop, each.thread)]
        # one that is being answered ends with the turn of the answer, see `conclude`
        return sum([await self._end(each, each.withdrawal(stop.by, "")) is not None for each in ended])

    async def _overrules(self, stop: Stop, thread: ThreadId) -> bool:
        if self.stop_policy is None or stop.is_external:
            return False
        return await self.stop_policy.can_stop(stop.by, str(thread))

    async def export(self, user: Sequence[Author]) -> Mapping[str, Json]:
        """Return the requests that a user has made."""
        records = await self.store.by_authors({each.id for each in user})
        return {"requests": [asdict(each.request) for each in records]}

    async def erase(self, user: Sequence[Author]) -> None:
        """Remove the requests that a user has made, alone or with others."""
        for record in await self.store.by_authors({each.id for each in user}):
            await self.store.remove(record)
            await self._expect_no_words(record)

    async def erase_space(self, space: Space) -> None:
        """Remove the requests that were made in a space."""
        for record in await self.store.in_space(space):
            await self.store.remove(record)

    async def health(self) -> Health:
        """Return the number of waiting requests and of approvers. Never raises."""
        try:
            waiting, next_due = await self.store.count()
        except StorageDown:
            return Health(name=self.name, state="down", evidence={"error": "redis does not answer"})
        approvers = self.approvals.approvers
        evidence: dict[str, Json] = {"waiting": waiting, "approvers": len(approvers)}
        if next_due is not None:
            evidence["next_expires_in_s"] = round(next_due - time.time())
        return Health(name=self.name, state="ok" if approvers else "off", evidence=evidence)


def _too_late(request: Request) -> str:
    match request:
        case Approval():
            return approval_texts.too_late(request)
        case Question():
            return question_texts.too_late(request)


def _words(question: Question, answer: int | str) -> str:
    """Return the words of an answer by its number or in a form; nothing if there is no such answer."""
    if isinstance(answer, str):
        return well_formed(answer).strip()[:MOST_WORDS]
    return question.options[answer] if answer in range(len(question.options)) else ""


def _confirmation(request: Request) -> str:
    match request:
        case Approval():
            return approval_texts.confirmation(request)
        case Question():
            return question_texts.confirmation(request)


def _wordings(turn: Turn) -> Mapping[str, float]:
    return {each.corrects or each.id: each.edited_at for each in turn.messages}
