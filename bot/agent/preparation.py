"""Steps of the graph before the model thinks: earlier messages are read, and old ones summarised."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from langchain_core.messages import AnyMessage, RemoveMessage
from langgraph.runtime import get_runtime

from bot.agent import history
from bot.agent.messages import (
    last_read,
    refusals_of,
    stored_id,
    unread_since,
    with_context,
    with_thread_unread,
)
from bot.agent.models.metering import call_meter
from bot.agent.models.model import Model
from bot.agent.state import Context, State, Update
from bot.chat import AnswerError, BudgetExceeded, ContextSource, Meter, Notice, ReadContext, Since, Turn
from bot.chat import Context as ChatContext

log = logging.getLogger(__name__)

_CONTEXT_SHARE = 0.5
"""Share of the history's tokens that the context of a turn may take."""


class _Reading(NamedTuple):
    """Message with the function that reads its context: its links, and its thread unless `since` is None."""

    message: AnyMessage
    read: ReadContext
    since: Since | None


@dataclass(frozen=True, slots=True)
class Preparation:
    """Nodes of the graph. A summary takes at most `history_tokens`, a context `most_context` messages.

    The context is read in a step of its own, so that the checkpoint keeps it: a repeated attempt sees the
    same.
    """

    model: Model
    history_tokens: int
    meter: Meter | None
    contexts: ContextSource | None
    most_context: int

    async def first_step(self, state: State) -> str:
        """Return the name of the turn's first node."""
        return "read_context" if self._readings(state) else await self.next_step(state)

    async def next_step(self, state: State) -> str:
        """Return the name of the node after the context is read."""
        budget = history.room(self.history_tokens, state.get("summary", ""))
        too_long = history.is_too_long(state["messages"], budget)
        return "summarise" if too_long and history.count_to_summarise(state["messages"], budget) else "think"

    async def read_context(self, state: State) -> Update:
        """Add what was written before to the messages of the turn."""
        emit = get_runtime(Context).context.emit
        readings = self._readings(state)
        chars = int(_CONTEXT_SHARE * self.history_tokens * history.CHARS_PER_TOKEN) // max(len(readings), 1)
        ids = {message.id or "" for message in state["messages"]}
        known = ids | {id.rpartition(":")[0] for id in ids}  # a replayed message has a number behind its id
        refusals = refusals_of(state["messages"])
        changed: list[AnyMessage] = []
        is_unread = False  # once it is, also for later messages: their readings begin after the unread one
        for message, read, since in readings:
            of_thread = since is not None
            context = _without(await read(self.most_context), known, refusals)
            refusals.add(context.refusal)
            is_unread = is_unread or (of_thread and context.is_unread)
            context = replace(context, is_unread=is_unread)
            log.info(
                "context read",
                extra={
                    "messages": sum(len(each.messages) for each in context.passages),
                    "problems": len(context.problems),
                },
            )
            for problem in context.problems:
                emit(Notice(problem))
            at = since.at if since else 0.0
            changed.append(with_context(message, context, chars, of_thread=of_thread, since=at))
        return {"messages": changed}

    def _readings(self, state: State) -> list[_Reading]:
        """Return what has to be read for the new messages."""
        # no context of the run while a user's messages are removed
        run: Context | None = getattr(get_runtime(Context), "context", None)
        if self.contexts is None or not self.most_context or run is None or run.turn.decision:
            return []
        return _readings(self.contexts, run.turn, state["messages"])

    async def summarise(self, state: State) -> Update:
        """Replace the older messages by a summary; if that fails, drop them rather than fail the turn."""
        context = get_runtime(Context).context
        summary = history.limit_summary(state.get("summary", ""), self.history_tokens)
        budget = history.room(self.history_tokens, summary)
        older = state["messages"][: history.count_to_summarise(state["messages"], budget)]
        try:
            request = history.transcript(older, summary, self.history_tokens)
            meter = call_meter(self.meter, context.turn, context.emit)
            answer = await self.model.answer(request, lambda _: None, meter, "plain")
            summary = history.limit_summary(answer.text.strip(), self.history_tokens) or summary
        except BudgetExceeded:
            raise  # the turn fails too, so nothing may be dropped for it
        except AnswerError as error:
            log.warning("history cut without a summary", extra={"error": str(error)})
        return {"messages": [RemoveMessage(id=message.id or "") for message in older], "summary": summary}


def mark_unread(source: ContextSource, turn: Turn, messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Return the messages of an ended turn that have a context; the next one reads it if that did not.

    `messages` are those of the thread, with those of the turn.
    """
    readings = _readings(source, turn, messages)
    return [with_thread_unread(each.message, each.since.at) for each in readings if each.since is not None]


def _without(context: ChatContext, known: Collection[str], told: Collection[str]) -> ChatContext:
    """Return a context without messages that the agent was given already, or that are in the same turn.

    A refusal that was `told` in an earlier turn is no problem of this one.
    """
    passages = [
        replace(each, messages=tuple([message for message in each.messages if message.id not in known]))
        for each in context.passages
    ]
    problems = tuple(each for each in context.problems if each not in told)
    return replace(context, passages=tuple(passages), problems=problems)


def _readings(source: ContextSource, turn: Turn, messages: Sequence[AnyMessage]) -> list[_Reading]:
    """Return what has to be read: what could not be read before, and what was written in the turn's gaps.

    A gap begins with the earliest message of it, however many others were answered before the bot learned of
    that one; but what was written before the last reading is known.
    """
    ids = {stored_id(each) for each in turn.messages}
    new = {each.id: each for each in messages if each.id in ids}
    earlier = [each for each in messages if each.id not in ids and each.type == "human"]
    read_until, missing = last_read(earlier), unread_since(earlier)
    readings = []
    for message in turn.messages:
        begins = [at for at in (missing, turn.gaps.get(message.id)) if at is not None]
        since = Since(read_until, min(begins)) if begins else None
        if (read := source.context(message, since)) and (stored := new.get(stored_id(message))):
            readings.append(_Reading(stored, read, since))
        read_until, missing = (message.id if begins else read_until), None
    return readings
