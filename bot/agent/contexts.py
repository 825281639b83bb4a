"""Contexts of a turn's messages: what was written before them, as the thread memory holds it."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from langchain_core.messages import AnyMessage

from bot.agent import history
from bot.agent.messages import (
    ids_summarised,
    last_read,
    refusals_of,
    stored_id,
    unread_since,
    with_context,
    with_thread_unread,
)
from bot.chat import Context, ContextSource, ReadContext, Since, Turn

log = logging.getLogger(__name__)

_SHARE = 0.5
"""Share of the history's tokens that the contexts of a turn may take."""


class _Reading(NamedTuple):
    """Message with the function that reads its context: its links, and its thread unless `since` is None."""

    message: AnyMessage
    read: ReadContext
    since: Since | None


@dataclass(frozen=True, slots=True)
class ContextReader:
    """Reader of contexts, each with at most `most` messages."""

    source: ContextSource
    most: int
    history_tokens: int

    def may_find(self, turn: Turn) -> bool:
        """Return whether there may be something to read, which depends on what the thread memory holds."""
        return any(self.source.context(each, Since()) for each in turn.messages)

    async def add(
        self, turn: Turn, messages: Sequence[AnyMessage], stored: Sequence[AnyMessage]
    ) -> list[AnyMessage]:
        """Return the messages of a turn with what was written before; `stored` are those of its thread."""
        readings = _readings(self.source, turn, [*stored, *messages])
        chars = int(_SHARE * self.history_tokens * history.CHARS_PER_TOKEN) // max(len(readings), 1)
        ids = {message.id or "" for message in (*stored, *messages)}
        known = ids | {id.rpartition(":")[0] for id in ids}  # a replayed message has a number behind its id
        refusals = refusals_of(stored)
        changed: dict[str | None, AnyMessage] = {}
        is_unread = False  # once it is, also for later messages: their readings begin after the unread one
        for message, read, since in readings:
            context = await read(self.most)
            found = (each.id for passage in context.passages for each in passage.messages)
            context = _without(context, known | ids_summarised(found, stored), refusals)
            refusals.add(context.refusal)
            is_unread = is_unread or (since is not None and context.is_unread)
            log.info(
                "context read",
                extra={
                    "messages": sum(len(each.messages) for each in context.passages),
                    "problems": len(context.problems),
                },
            )
            changed[message.id] = with_context(message, replace(context, is_unread=is_unread), chars, since)
        return [changed.get(each.id, each) for each in messages]

    def mark_unread(self, turn: Turn, messages: Sequence[AnyMessage]) -> list[AnyMessage]:
        """Return the messages of an ended turn that have a context; the next one reads it if that did not.

        `messages` are those of the thread, with those of the turn.
        """
        readings = _readings(self.source, turn, messages)
        return [with_thread_unread(each.message, each.since) for each in readings if each.since is not None]


def _without(context: Context, known: Collection[str], told: Collection[str]) -> Context:
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

    The bot learns of some messages late, and of others never. A reading therefore goes back to the last one,
    and not to the first message that is known to be missing.
    """
    ids = {stored_id(each) for each in turn.messages}
    new = {each.id: each for each in messages if each.id in ids}
    earlier = [each for each in messages if each.id not in ids and each.type == "human"]
    oldest = earlier[0].id or "" if earlier else turn.messages[0].id
    read_until, missing = last_read(earlier), unread_since(earlier)
    readings = []
    for message in turn.messages:
        begins = [at for at in (missing, turn.gaps.get(message.id)) if at is not None]
        since = _begin(read_until, oldest, begins, is_all_unread=missing == 0) if begins else None
        if (read := source.context(message, since)) and (stored := new.get(stored_id(message))):
            readings.append(_Reading(stored, read, since))
        read_until, missing = (message.id if begins else read_until), None
    return readings


def _begin(read_until: str, oldest: str, begins: Sequence[float], *, is_all_unread: bool) -> Since:
    """Return the begin of a reading: the last one, else the memory's, or what is missing before."""
    if read_until:
        return Since(read_until)
    return Since() if is_all_unread else Since(oldest, min(begins))
