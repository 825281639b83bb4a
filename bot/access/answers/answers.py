"""Answers with buttons: details of each, feedback on it, and another answer in its place."""

import logging
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
    Refuse,
    StoredValue,
    ThreadId,
    ToolUse,
    Turn,
    Vote,
    well_formed,
)
from bot.commands import answer_texts
from bot.commands.answers import MOST_REASON, OrderAnswer
from bot.config.amounts import money
from bot.storage.errors import storage_errors

log = logging.getLogger(__name__)


_ORDER = "regenerate:"
"""First part of an order's message id, by which the scripts of the inbox know that it is a turn of its own.
There is one id for each answer, so that a repeated press has no effect."""


class AnswerInbox(Protocol):
    """Part of the inbox that takes orders for other answers. Errors of the store pass through."""

    async def put(self, event: Message) -> Outcome:
        """Store an order: `kept`, `duplicate` (as one before), or `removed` (its question was deleted)."""

    async def newest_answer(self, thread: ThreadId) -> tuple[str, bool]:
        """Return the message that was answered last in a thread, and whether others wait for an answer."""


@dataclass(frozen=True, slots=True)
class Answers:
    """A `bot.chat.AnswerRecorder`, `bot.commands.answers.AnswerActions` and `PersonalDataSource`.

    `admission` decides about users who order another answer. Without `budget` no model is counted; prices are
    shown in `currency`, which is None without prices.
    """

    name = "feedback"

    store: AnswerStore
    inbox: AnswerInbox
    admission: Admission
    budget: Budget | None = None
    currency: str | None = None

    def details(self, turn: Turn, tools: Mapping[str, ToolUse], seconds: float) -> StoredValue:
        """Return the details of an answer that has just ended, as they are stored."""
        newest = turn.messages[-1]
        details = AnswerDetails(
            reference=turn.reference,
            thread=turn.thread,
            turn=turn.regenerates or turn.id,
            message=newest.corrects or newest.id,
            at=time.time(),
            seconds=seconds,
            attempts=turn.attempt,
            models=self.budget.take_usage(turn) if self.budget else {},
            tools=tools,
            is_external=any(each.is_external for each in turn.messages),
        )
        return self.store.details_value(turn.answer, details)

    async def rate(self, answer: str, by: str, vote: Vote, reason: str = "") -> None:
        """Store a vote, see `AnswerActions`."""
        words = well_formed(reason.strip())[:MOST_REASON]
        outcome = await self.store.rate(answer, by, vote, words)
        if outcome != "same" or words:
            log.info("answer rated", extra={"answer": answer, "vote": vote, "has_reason": bool(words)})

    async def describe(self, answer: str) -> str:
        """Return the details of an answer, see `AnswerActions`."""
        details = await self.store.details(answer)
        if details is None:
            return answer_texts.FORGOTTEN
        return answer_texts.details(details, self._costs(details))

    def _costs(self, details: AnswerDetails) -> Mapping[str, str]:
        if self.currency is None:
            return {}
        currency = self.currency or UNKNOWN_CURRENCY
        return {name: money(each.cost, currency) for name, each in details.models.items()}

    async def regenerate(self, answer: str, press: Message) -> OrderAnswer:
        """Order another answer, see `AnswerActions`.

        It gets no more rights than the question had: one of an external user stays limited.
        """
        details = await self.store.details(answer)
        if details is None or details.thread.platform != press.thread.platform:
            return OrderAnswer(answer_texts.NOT_KNOWN)
        order = replace(
            press,
            id=f"{_ORDER}{answer}",
            thread=details.thread,
            text=answer_texts.ORDER,
            sent_at=time.time(),
            addressed=True,
            purpose="command",
            corrects=details.message,
            regenerates=details.turn,
            is_guest=press.is_guest or details.is_external,
        )
        if (refusal := await self._refusal(order)) is not None:
            return OrderAnswer(refusal)
        with storage_errors():
            newest, are_others_waiting = await self.inbox.newest_answer(details.thread)
            if newest != details.message:
                return OrderAnswer(answer_texts.ONLY_LAST)
            if are_others_waiting:
                return OrderAnswer(answer_texts.BUSY)
            outcome = await self.inbox.put(order)
        log.info("regeneration ordered", extra={"answer": answer, "by": press.author, "outcome": outcome})
        if outcome == "removed":
            return OrderAnswer(answer_texts.DELETED)
        words = answer_texts.REGENERATING if outcome == "kept" else answer_texts.ALREADY
        return OrderAnswer(words, details.thread)

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
