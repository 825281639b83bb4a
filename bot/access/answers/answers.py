"""Answers with buttons: details of each, feedback on it, and another answer in its place."""

import hashlib
import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Protocol

from bot.access.answers.answer_store import AnswerStore
from bot.access.budget import Budget
from bot.access.texts import UNKNOWN_CURRENCY
from bot.chat import (
    Admission,
    Admit,
    AnswerDetails,
    Author,
    Json,
    Message,
    Outcome,
    PressRefused,
    QuestionState,
    Refuse,
    Space,
    StoredDetails,
    ThreadId,
    ToolUse,
    Turn,
    Vote,
    answer_id,
    readers_in,
    well_formed,
)
from bot.commands import answer_texts
from bot.commands.answers import MOST_COUNTED, MOST_REASON, Opinion, OrderAnswer
from bot.config.amounts import money
from bot.storage.errors import storage_errors

log = logging.getLogger(__name__)

_ORDER = "regenerate:"
"""First part of an order's message id, by which the scripts of the inbox know that it is a turn of its own;
the others are the answer that it replaces, and what makes it different from an order that has failed."""

_DECISION = "decision:"
"""First part of the id of a message that is the decision about a request; the other one is the request."""

_GENERAL = "bot-"
"""First part of the id under which feedback about the bot is stored; those of answers have no hyphen."""

_LOOKED_AT = 50
"""Newest answers with votes among which those with a reason are looked for."""

_REFUSALS: Mapping[Outcome, str] = {
    "ignored": answer_texts.ONLY_LAST,
    "refused": answer_texts.BUSY,
    "removed": answer_texts.DELETED,
}
"""Reasons for which the inbox takes no order."""


class AnswerInbox(Protocol):
    """Part of the inbox that takes orders for other answers. Errors of the store pass through."""

    async def put(self, event: Message) -> Outcome:
        """Store an order, or return why not: `ignored` (the question is not the last one of its thread, was
        edited, or has another answer by now), `refused` (a message waits there), `removed` (the question was
        deleted)."""

    async def question(self, message_id: str) -> QuestionState | None:
        """Return the state of an answered question, or None if it is not known any more."""

    async def newest_answer(self, thread: ThreadId) -> str:
        """Return the message that was answered last in a thread, or an empty string."""

    async def newest_order(self, answer: str, thread: ThreadId) -> tuple[str, bool] | None:
        """Return the newest order for an answer, and whether it is open or known to have succeeded.

        None if there is none, or it was refused, stopped or has failed.
        """

    async def first_turns(self, within: ThreadId) -> Sequence[str]:
        """Return a thread's turn that runs, or is next; without `channel` those of leased threads."""


class DecidedRequests(Protocol):
    """Store of the requests that decisions are about."""

    async def questions(self, id: str) -> Sequence[str]:
        """Return the messages that a request is about; nothing for an unknown one. Raises `StorageDown`."""


@dataclass(frozen=True, slots=True)
class Answers:
    """A `bot.chat.AnswerRecorder`, `bot.commands.answers.AnswerActions` and `PersonalDataSource`.

    `admission` decides about users who order another answer; `requests` tells what was asked before a
    decision. Without `budget` no model is counted; prices are shown in `currency`, which is None without
    prices.
    """

    name = "feedback"

    store: AnswerStore
    inbox: AnswerInbox
    admission: Admission
    requests: DecidedRequests | None = None
    budget: Budget | None = None
    currency: str | None = None

    def details(
        self, turn: Turn, tools: Mapping[str, ToolUse], seconds: float, *, has_failed: bool
    ) -> StoredDetails:
        """Return the details of an answer that has just ended, as they are stored."""
        *earlier, newest = turn.messages
        is_order = bool(turn.regenerates)
        details = AnswerDetails(
            reference=turn.reference,
            thread=turn.thread,
            turn=turn.regenerates or turn.id,
            message=newest.corrects or newest.id,
            replaces=turn.id.split(":")[1] if is_order else turn.answer,
            earlier=tuple(each.corrects or each.id for each in earlier),
            edited_at=newest.edited_at,
            at=time.time(),
            seconds=seconds,
            attempts=turn.attempt,
            models=self.budget.take_usage(turn) if self.budget else {},
            tools=tools,
            is_external=any(each.is_external for each in turn.messages),
            readers=readers_in(newest.place),
            locale=newest.locale,
        )
        # a failed edit has no answer of its own, but that of its earlier wording does not stand any more
        return self.store.details_value(turn.answer, details, has_failed=has_failed and is_order)

    async def rate(self, answer: str, press: Message, vote: Vote, reason: str = "") -> None:
        """Store a vote, see `AnswerActions`. An answer that grows has its buttons already."""
        if await self._find(answer, press) is None:
            is_growing = await self._is_growing(answer, press.thread)
            if not is_growing and await self._details_in(press.thread, answer) is None:  # it may end now
                raise PressRefused(answer_texts.FORGOTTEN, status=404)
        await self._store_vote(answer, press.author, vote, reason)

    async def explain(self, answer: str, by: str, reason: str) -> None:
        """Add a reason to a vote, see `AnswerActions`."""
        if not await self.store.has_vote(answer, by):
            raise PressRefused(answer_texts.FORGOTTEN, status=404)
        await self._store_vote(answer, by, "down", reason)

    async def rate_bot(self, form: str, by: str, vote: Vote, words: str) -> None:
        """Store feedback about the bot, see `AnswerActions`: a vote on an answer that nobody has given."""
        about = _GENERAL + hashlib.sha256(f"{form} {by}".encode()).hexdigest()[:16]
        await self._store_vote(about, by, vote, words)

    async def newest_opinions(self, most: int) -> Sequence[Opinion]:
        """Return the newest votes with a reason, see `AnswerActions`."""
        newest = [each for each in await self.store.newest(_LOOKED_AT) if each.reason][:most]
        return [Opinion(each.vote, each.reason, each.at, each.answer.startswith(_GENERAL)) for each in newest]

    async def count_votes(self, by: str) -> Mapping[Vote, int]:
        """Return the number of a user's votes, see `AnswerActions`."""
        return await self.store.count_by(by, MOST_COUNTED)

    async def _store_vote(self, answer: str, by: str, vote: Vote, reason: str) -> None:
        words = well_formed(reason.strip())[:MOST_REASON]
        outcome = await self.store.rate(answer, by, vote, words)
        if outcome == "late":
            raise PressRefused(answer_texts.TOO_OLD, status=404)
        if outcome != "same" or words:
            log.info("answer rated", extra={"answer": answer, "vote": vote, "has_reason": bool(words)})

    async def _find(self, answer: str, press: Message) -> AnswerDetails | None:
        """Return the details of an answer if it was given in the space of a press. Raises `PressRefused`."""
        if (refusal := await self._refusal(press)) is not None:
            raise PressRefused(refusal, status=403)
        return await self._details_in(press.thread, answer)

    async def _details_in(self, thread: ThreadId, answer: str) -> AnswerDetails | None:
        """Return the details of an answer if it was given in the space of a thread."""
        details = await self.store.details(answer)
        is_there = details and _space_of(details.thread) == _space_of(thread)
        return details if is_there else None

    async def _is_growing(self, answer: str, thread: ThreadId) -> bool:
        with storage_errors():
            turns = await self.inbox.first_turns(thread)
        return answer in map(answer_id, turns)

    async def describe(self, answer: str, press: Message) -> str:
        """Return the details of an answer, see `AnswerActions`."""
        details = await self._find(answer, press)
        if details is None:
            raise PressRefused(answer_texts.FORGOTTEN, status=404)
        return answer_texts.details(details, self._costs(details))

    def _costs(self, details: AnswerDetails) -> Mapping[str, str]:
        if self.currency is None:
            return {}
        currency = self.currency or UNKNOWN_CURRENCY
        return {name: money(each.cost, currency) for name, each in details.models.items()}

    async def regenerate(self, answer: str, press: Message) -> OrderAnswer:
        """Order another answer, see `AnswerActions`.

        It gets no more rights than the question had: one of an external user stays limited. It is in the
        language of the user who asked. Each order has an id of its own; there is another one only if the one
        before has brought no answer.
        """
        details = await self._details_in(press.thread, answer)
        if details is None:
            return OrderAnswer(answer_texts.NOT_KNOWN)
        with storage_errors():
            question = await self._question(answer, details)
        standing = (question.answer if question else "") or answer_id(details.turn)
        order = _order(press, details, standing)
        if (refusal := await self._refusal(order)) is not None:
            return OrderAnswer(refusal)
        with storage_errors():
            if await self.inbox.newest_answer(details.thread) != details.message:
                return OrderAnswer(answer_texts.ONLY_LAST)
            if before := await self._find_order(answer, details):
                return OrderAnswer(answer_texts.ALREADY, details.thread, before)
            if words := _outdated(answer, details, question, standing):
                return OrderAnswer(words)
            outcome = await self.inbox.put(order)
        log.info("regeneration ordered", extra={"answer": answer, "by": press.author, "outcome": outcome})
        if refusal := _REFUSALS.get(outcome):
            return OrderAnswer(refusal)
        return OrderAnswer(answer_texts.REGENERATING, details.thread, order.id)

    async def _question(self, answer: str, details: AnswerDetails) -> QuestionState | None:
        """Return the state of the question of an answer: deleted if one of its messages was.

        After a decision these are the messages that it is about.
        """
        question = await self.inbox.question(details.message)
        _, is_decision, request = details.message.partition(_DECISION)
        about = await self.requests.questions(request) if is_decision and self.requests else ()
        asked = [await self.inbox.question(each) for each in (*about, *await self._earlier(answer, details))]
        if question is None or None in asked:
            return None
        is_deleted = any(each.is_deleted for each in (question, *asked) if each)
        return replace(question, is_deleted=is_deleted)

    async def _earlier(self, answer: str, details: AnswerDetails) -> Sequence[str]:
        """Return the messages that were answered with the newest one; an order knows only that one."""
        first = answer_id(details.turn)
        asked = details if answer == first else await self.store.details(first)
        return asked.earlier if asked else ()

    async def _find_order(self, answer: str, details: AnswerDetails) -> str:
        """Return the order for an answer that is open or has succeeded, or an empty string.

        One that has failed shares the next order with the answer that it was to replace.
        """
        for each in dict.fromkeys((answer, details.replaces)):
            newest = await self.inbox.newest_order(each, details.thread)
            if newest is None or answer_id(newest[0]) == answer:
                continue
            if newest[1] or await self._has_answer(newest[0]):
                return newest[0]
        return ""

    async def _has_answer(self, order: str) -> bool:
        return await self.store.details(answer_id(order)) is not None

    async def _refusal(self, order: Message) -> str | None:
        match await self.admission.check(order):
            case Admit():
                return None
            case Refuse(sentence):
                return sentence
            case _:
                return answer_texts.NOT_ALLOWED

    async def export(self, user: Sequence[Author]) -> Mapping[str, Json]:
        """Return the votes of a user, with their reasons."""
        return {"feedback": [asdict(each) for each in await self.store.by(each.id for each in user)]}

    async def erase(self, user: Sequence[Author]) -> None:
        """Remove a user from their votes, which still count, and their reasons."""
        await self.store.forget([each.id for each in user])

    async def erase_space(self, space: Space) -> None:
        """Remove the details of the answers in a space, and the votes on them."""
        await self.store.erase_space(space)


def _order(press: Message, details: AnswerDetails, standing: str) -> Message:
    """Return the message that orders another answer in place of the one that stands."""
    return replace(
        press,
        id=f"{_ORDER}{standing}:{secrets.token_hex(8)}",
        thread=details.thread,
        text=answer_texts.ORDER,
        sent_at=time.time(),
        addressed=True,
        purpose="command",
        corrects=details.message,
        edited_at=details.edited_at,
        regenerates=details.turn,
        is_guest=press.is_guest or details.is_external,
        place={**press.place, **details.readers},
        locale=details.locale,
    )


def _outdated(answer: str, details: AnswerDetails, question: QuestionState | None, standing: str) -> str:
    """Return why an answer is not that of a question as it is now, or an empty string."""
    if question is None:  # nor is it known whether it was deleted
        return answer_texts.NOT_KNOWN
    if question.is_deleted:
        return answer_texts.DELETED
    # of an order that has failed before another one has succeeded; the inbox knows of edits
    if standing not in (answer, details.replaces):
        return answer_texts.ONLY_LAST
    return ""


def _space_of(thread: ThreadId) -> tuple[str, str]:
    return thread.platform, thread.space
