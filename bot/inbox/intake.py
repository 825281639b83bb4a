"""Intake of events: each is stored in Redis before the chat service hears that it was received."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

from redis.asyncio import Redis

from bot.access.origin import scopes_of
from bot.chat import (
    Channels,
    Correction,
    Decision,
    Message,
    Outcome,
    Stop,
    StopRefused,
    ThreadEvent,
    ThreadId,
    Turn,
    Withdrawal,
)
from bot.inbox import keys, scripts
from bot.inbox.keys import TAG
from bot.inbox.lease import Desk, Lease, read_lease
from bot.inbox.queries import LISTED_SECONDS, ORDERED_SECONDS, SEEN_SECONDS
from bot.inbox.replica import Replica
from bot.inbox.stops import EARLY_SECONDS, Stops

_RECENT_SECONDS = 86_400
"""An edit of an unknown message counts as a new message if that is not older."""

FirstReads = Callable[[str], Sequence[str]]
"""Returns the keys that each turn of a thread reads first: the step that begins it reads them."""

_MOST_LISTED = 1_000
"""Most threads of which this process knows their place in the list."""


class Intake:
    """Intake of this process. Errors of redis-py pass through."""

    desk: Desk | None = None
    """Place of this process's worker, if it has one."""

    def __init__(
        self,
        redis: Redis,
        replica: Replica,
        stops: Stops,
        follow_seconds: int,
        channels: Channels,
        first_reads: FirstReads,
    ) -> None:
        self._channels = channels
        self._first_reads = first_reads
        self._redis = redis
        self._replica = replica
        self._stops = stops
        self._follow_seconds = follow_seconds
        self._puts: dict[str, asyncio.Future[bool]] = {}
        """Messages that are being stored, by their ids; the results tell whether Redis has them."""
        self._listed: dict[str, float] = {}
        """Times until which threads are listed (Unix seconds)."""
        self._put = redis.register_script(scripts.PUT)
        self._correct = redis.register_script(scripts.CORRECT)
        self._claim = redis.register_script(scripts.CLAIM)

    async def put(self, event: ThreadEvent) -> Outcome:
        """Store an event durably and return the outcome."""
        match event:
            case Message():
                return await self._put_message(event)
            case Correction():
                return await self._put_correction(replace(event, message=event.message.well_formed()))
            case Withdrawal():
                return await self._stops.withdraw(event.message_id)
            case Decision():
                return await self._put_message(as_message(event))
            case Stop():
                return await self._put_stop(event)

    async def claim(self, request: str, turn: Turn) -> bool:
        """Let a turn stand for the decision of a request; return whether it does. Idempotent."""
        key = keys.seen(keys.decision(request))
        return bool(await self._claim(keys=[key], args=[turn.id, str(turn.thread), SEEN_SECONDS]))

    async def has_claimed(self, request: str, turn: Turn) -> bool:
        """Return whether a turn stands for the decision of a request."""
        claimed: Any = await self._redis.hget(keys.seen(keys.decision(request)), "turn")
        return claimed is not None and keys.text(claimed) == turn.id

    async def expect_answer(
        self, thread: ThreadId, question: str, respondents: Sequence[str], seconds: float
    ) -> None:
        """Take messages of these authors in a thread for addressed, for a time; without any, those of all."""
        authors = "\n".join(["", *respondents, ""]) if respondents else "*"
        async with self._redis.pipeline(transaction=True) as step:
            step.hset(keys.asked(str(thread)), question, authors)
            step.expire(keys.asked(str(thread)), max(1, round(seconds)))  # the newest ends last
            await step.execute()

    async def expect_no_answer(self, thread: ThreadId, question: str) -> None:
        """End `expect_answer` for a question."""
        await self._redis.hdel(keys.asked(str(thread)), question)

    async def _put_message(self, message: Message) -> Outcome:
        # Slack delivers a mention as two events: the second one waits, and is stored itself only if the first
        # one has failed or was ignored. It waits for one only, or time-outs would add up while Redis hangs.
        earlier = self._puts.get(message.id)
        if earlier is not None and await asyncio.shield(earlier):
            return "duplicate"
        if self._replica.is_taken(message.id):  # Redis may have lost one that waits
            return "duplicate"
        self._puts[message.id] = put = asyncio.get_running_loop().create_future()
        outcome: Outcome = "ignored"
        try:
            outcome = await self._store(message.well_formed())
        finally:
            if self._puts.get(message.id) is put:
                del self._puts[message.id]
            put.set_result(outcome != "ignored")
        return outcome

    async def _store(self, message: Message) -> Outcome:
        wish = Lease("", str(message.thread), message.author, scopes_of(message).channel)
        if self.desk and not message.regenerates and self.desk.reserve(wish):
            outcome = await self._store_and_begin(message, self.desk, wish)
        else:
            outcome = _outcome(await self._run_put(message, ""))
        if outcome == "kept":
            self._replica.add(message)
            self._note_listed(message)
        return outcome

    async def _store_and_begin(self, message: Message, desk: Desk, wish: Lease) -> Outcome:
        """Store a message, and pass the lease that comes with it on to the worker, perhaps with its turn."""
        lease, begun, reads = None, None, self._first_reads(wish.thread)
        try:
            outcome, leased, begun = await self._run_put(message, desk.consumer, *reads)
            lease = read_lease(*leased) if leased else None
        finally:
            await desk.settle(wish, lease, begun)
        return _outcome(outcome)

    async def _run_put(self, message: Message, consumer: str, *reads: str) -> Any:
        question = message.corrects if message.regenerates else ""
        order: list[str | float] = [question, ORDERED_SECONDS, message.edited_at]
        args = [*self._put_args(message), *order, consumer, *reads]
        return await self._put(keys=_put_keys(message), args=args)

    def _is_listed(self, message: Message) -> bool:
        return message.sent_at <= self._listed.get(str(message.thread), 0.0)

    def _note_listed(self, message: Message) -> None:
        if self._is_listed(message):
            return
        self._listed[str(message.thread)] = message.sent_at + LISTED_SECONDS
        if len(self._listed) > _MOST_LISTED:
            del self._listed[next(iter(self._listed))]

    def _put_args(self, message: Message) -> list[str | int | float]:
        return [
            TAG,
            str(message.thread),
            message.id,
            message.author,
            json.dumps(message.to_json()),
            int(message.addressed),
            message.sent_at,
            json.dumps(message.thread.to_json()) if message.place else "",  # else it has no history
            SEEN_SECONDS,
            self._follow_seconds,
            EARLY_SECONDS,
            scopes_of(message).channel,
            "" if message.direct else self._channels.settings_of(message).follow_up,
            message.purpose,
            LISTED_SECONDS,
            int(self._is_listed(message)),
        ]

    async def _put_correction(self, correction: Correction) -> Outcome:
        message = replace(correction.message, edited_at=correction.edited_at)
        again = replace(message, id=f"{message.id}:edit:{correction.edited_at}", corrects=message.id)
        is_recent = time.time() - message.sent_at < _RECENT_SECONDS
        outcome = _outcome(
            await self._correct(
                keys=[*_put_keys(message), keys.messages(str(message.thread))],
                args=[
                    *self._put_args(message),
                    correction.edited_at,
                    again.id,
                    json.dumps(again.to_json()),
                    int(is_recent),
                ],
            )
        )
        if outcome in ("kept", "replaced", "corrected"):
            self._replica.add(again if outcome == "corrected" else message)
        return outcome

    async def _put_stop(self, stop: Stop) -> Outcome:
        # a typed stop is a message that catch-up delivers again: it must not stop later turns
        if stop.id and await self._redis.exists(keys.seen(stop.id)):
            return "duplicate"
        try:
            outcome: Outcome = "stopped" if await self._stops.stop(stop) else "idle"
        except StopRefused:
            outcome = "refused"
        if stop.id:
            async with self._redis.pipeline(transaction=True) as step:
                step.hset(keys.seen(stop.id), "author", stop.by)
                step.expire(keys.seen(stop.id), SEEN_SECONDS)
                await step.execute()
        return outcome


def as_message(decision: Decision) -> Message:
    """Return a decision as a message; its id is derived from the request, so that there can be only one."""
    return Message(
        id=keys.decision(decision.request),
        thread=decision.thread,
        author=decision.asker,
        text=decision.summary,
        sent_at=decision.at,
        addressed=True,
        direct=decision.direct,
        channel=decision.channel,
        parent=decision.parent,
        is_private_thread=decision.is_private_thread,
        is_guest=decision.is_external,
        place=decision.place,
        decision=decision,
        purpose="command",
        locale=decision.locale,
    )


def _outcome(answer: bytes) -> Outcome:
    return cast("Outcome", keys.text(answer))


def _put_keys(message: Message) -> list[str]:
    thread, platform = str(message.thread), message.thread.platform
    of_thread = [keys.joined(thread), keys.early(thread), keys.threads(platform), keys.partner(thread)]
    return [keys.seen(message.id), *of_thread]
