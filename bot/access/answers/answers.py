"""Answers with buttons: details of each, feedback on it, and another answer in its place."""

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
    Refuse,
    Space,
    StoredValue,
    ThreadId,
    ToolUse,
    Turn,
    Vote,
    readers_in,
    well_formed,
)
from bot.commands import answer_texts
from bot.commands.answers import MOST_REASON, OrderAnswer
from bot.config.amounts import money
from bot.storage.errors import storage_errors

log = logging.getLogger(__name__)

_ORDER = "regenerate:"
"""First part of an order's message id, by which the scripts of the inbox know that it is a turn of its own;
the others are the answer, and what makes it different from an order that has failed."""

_REFUSALS: Mapping[Outcome, str] = {
    "ignored": answer_texts.ONLY_LAST,
    "refused": answer_texts.BUSY,
    "removed": answer_texts.DELETED,
}
"""Reasons for which the inbox takes no order."""


class AnswerInbox(Protocol):
    """Part of the inbox that takes orders for other answers. Errors of the store pass through."""

    async def put(self, event: Message) -> Outcome:
        """Store an order, or return why not: `ignored` (the question is not the last one of its thread),
        `refused` (a message waits there), `removed` (the question was deleted)."""

    async def newest_answer(self, thread: ThreadId) -> str:
        """Return the message that was answered last in a thread, or an empty string."""

    async def newest_order(self, answer: str, thread: ThreadId) -> tuple[str, bool] | None:
        """Return the newest order for an answer, and whether it is open or known to have succeeded.

        None if there is none, or it was refused, stopped or has failed.
        """

    async def first_turn(self, thread: ThreadId) -> str:
        """Return the turn of a thread that runs, or will run next; empty if none waits."""


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
            edited_at=newest.edited_at,
            at=time.time(),
            seconds=seconds,
            attempts=turn.attempt,
            models=self.budget.take_usage(turn) if self.budget else {},
            tools=tools,
            is_external=any(each.is_external for each in turn.messages),
            readers=readers_in(newest.place),
        )
        return self.store.details_value(turn.answer, details)

    async def rate(self, answer: str, press: Message, vote: Vote, reason: str = "") -> None:
        """Store a vote, see `AnswerActions`. An answer that grows has its buttons already."""
        is_growing = await self._is_growing(answer, press.thread)  # first: it may end now
        if await self._find(answer, press) is None and not is_growing:
            raise PressRefused(answer_texts.FORGOTTEN, status=404)
        await self._store_vote(answer, press.author, vote, reason)

    async def explain(self, answer: str, by: str, reason: str) -> None:
        """Add a reason to a vote, see `AnswerActions`."""
        if not await self.store.has_vote(answer, by):
            raise PressRefused(answer_texts.FORGOTTEN, status=404)
        await self._store_vote(answer, by, "down", reason)

    async def _store_vote(self, answer: str, by: str, vote: Vote, reason: str) -> None:
        words = well_formed(reason.strip())[:MOST_REASON]
        outcome = await self.store.rate(answer, by, vote, words)
        if outcome != "same" or words:
            log.info("answer rated", extra={"answer": answer, "vote": vote, "has_reason": bool(words)})

    async def _find(self, answer: str, press: Message) -> AnswerDetails | None:
        """Return the details of an answer if it was given in the space of a press. Raises `PressRefused`."""
        if (refusal := await self._refusal(press)) is not None:
            raise PressRefused(refusal, status=403)
        details = await self.store.details(answer)
        is_there = details and _space_of(details.thread) == _space_of(press.thread)
        return details if is_there else None

    async def _is_growing(self, answer: str, thread: ThreadId) -> bool:
        with storage_errors():
            first = await self.inbox.first_turn(thread)
        return bool(first) and Turn(id=first, thread=thread, messages=()).answer == answer

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

        It gets no more rights than the question had: one of an external user stays limited. Each order has an
        id of its own; there is another one only if the one before has brought no answer.
        """
        details = await self.store.details(answer)
        if details is None or _space_of(details.thread) != _space_of(press.thread):
            return OrderAnswer(answer_texts.NOT_KNOWN)
        order = replace(
            press,
            id=f"{_ORDER}{answer}:{secrets.token_hex(8)}",
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
        )
        if (refusal := await self._refusal(order)) is not None:
            return OrderAnswer(refusal)
        with storage_errors():
            if await self.inbox.newest_answer(details.thread) != details.message:
                return OrderAnswer(answer_texts.ONLY_LAST)
            before = await self.inbox.newest_order(answer, details.thread)
            if before and (before[1] or await self._has_answer(before[0], details.thread)):
                return OrderAnswer(answer_texts.ALREADY, details.thread, before[0])
            outcome = await self.inbox.put(order)
        log.info("regeneration ordered", extra={"answer": answer, "by": press.author, "outcome": outcome})
        if refusal := _REFUSALS.get(outcome):
            return OrderAnswer(refusal)
        return OrderAnswer(answer_texts.REGENERATING, details.thread, order.id)

    async def _has_answer(self, order: str, thread: ThreadId) -> bool:
        return await self.store.details(Turn(id=order, thread=thread, messages=()).answer) is not None

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


def _space_of(thread: ThreadId) -> tuple[str, str]:
    return thread.platform, thread.space
