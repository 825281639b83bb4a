"""Steps of the inbox; `worker.py` decides when to take them.

Design: Redis Streams with a consumer group whose pending entry is the lease on a thread. The consumer's name
ends with a number that grows with each start, so that a restarted process differs from its predecessor.
"""

import asyncio
import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from redis.asyncio import Redis

from bot.access.origin import scopes_of
from bot.chat import (
    Correction,
    Decision,
    Event,
    Health,
    Json,
    LeaseLost,
    Message,
    Outcome,
    Stop,
    StopPolicy,
    StopRefused,
    Turn,
    Withdrawal,
)
from bot.inbox import keys, queries, scripts
from bot.inbox.fence import FencingToken
from bot.inbox.keys import ACTIVE, DEAD, GROUP, LATER, READY, TAG
from bot.inbox.lease import Lease, TurnStart
from bot.inbox.queries import SEEN_SECONDS, ensure_group
from bot.inbox.replica import MOST, Replica
from bot.inbox.stops import EARLY_SECONDS, Reason, Stops

log = logging.getLogger(__name__)

_DAY = 86_400
_TURN_SECONDS = 3 * _DAY
_RECENT_SECONDS = _DAY
"""An edit of an unknown message counts as a new message if that is not older."""


class Inbox:
    """Store of messages until they are answered. Errors of redis-py pass through."""

    name = "inbox"

    def __init__(
        self,
        redis: Redis,
        *,
        name: str,
        follow_days: int,
        stop_policy: StopPolicy | None = None,
        most_replicated: int = MOST,
    ) -> None:
        self._redis = redis
        self._stops = Stops(redis, stop_policy)
        self._name = name
        self._consumer = name
        self._follow_seconds = follow_days * _DAY
        self._replica = Replica(redis, self._follow_seconds, most_replicated)
        self._under_way: set[str] = set()
        self._puts: dict[str, asyncio.Future[bool]] = {}
        """Messages that are being stored, by their ids; the results tell whether Redis has them."""
        self._put = redis.register_script(scripts.PUT)
        self._correct = redis.register_script(scripts.CORRECT)
        self._begin = redis.register_script(scripts.BEGIN)
        self._keep = redis.register_script(scripts.KEEP)
        self._finish = redis.register_script(scripts.FINISH)
        self._renew = redis.register_script(scripts.RENEW)
        self._postpone = redis.register_script(scripts.POSTPONE)
        self._defer = redis.register_script(scripts.DEFER)
        self._wake = redis.register_script(scripts.WAKE)
        self._take_back = redis.register_script(scripts.TAKE_BACK)
        self._hand_over = redis.register_script(scripts.HAND_OVER)

    @property
    def consumer(self) -> str:
        """Return the name under which this process holds its leases."""
        return self._consumer

    async def put(self, event: Event) -> Outcome:
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

    async def _put_message(self, message: Message) -> Outcome:
        # Slack delivers a mention as two events: the second one waits, and is stored itself only if the first
        # one has failed or was ignored.
        while earlier := self._puts.get(message.id):
            if await asyncio.shield(earlier):
                return "duplicate"
        if self._replica.is_done(message.id):  # Redis may have lost an unfinished one
            return "duplicate"
        self._puts[message.id] = put = asyncio.get_running_loop().create_future()
        outcome: Outcome = "ignored"
        try:
            outcome = await self._store(message.well_formed())
        finally:
            del self._puts[message.id]
            put.set_result(outcome != "ignored")
        return outcome

    async def _store(self, message: Message) -> Outcome:
        outcome = _outcome(await self._put(keys=_put_keys(message), args=self._put_args(message)))
        if outcome == "kept":
            self._replica.add(message)
        return outcome

    def _put_args(self, message: Message) -> list[str | int | float]:
        return [
            TAG,
            str(message.thread),
            message.id,
            message.author,
            json.dumps(message.to_json()),
            int(message.addressed),
            message.sent_at,
            json.dumps(message.thread.to_json()),
            SEEN_SECONDS,
            self._follow_seconds,
            EARLY_SECONDS,
            scopes_of(message).channel,
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
            outcome: Outcome = "stopped" if await self.stop(stop) else "idle"
        except StopRefused:
            outcome = "refused"
        if stop.id:
            async with self._redis.pipeline(transaction=True) as step:
                step.hset(keys.seen(stop.id), "author", stop.by)
                step.expire(keys.seen(stop.id), SEEN_SECONDS)
                await step.execute()
        return outcome

    async def health(self) -> Health:
        """Return how much waits, runs and was given up, over all processes."""
        return await queries.health(self._redis)

    async def stop(self, stop: Stop) -> int:
        """Stop the turns that `stop` names and return their number. Raises `StopRefused`."""
        return await self._stops.stop(stop)

    async def enter(self) -> list[Lease]:
        """Join the workers under a new consumer name; return the leases of this process's earlier runs."""
        await self.ensure_group()
        async with self._redis.pipeline(transaction=True) as step:
            step.incr(keys.starts(self._name))
            step.expire(keys.starts(self._name), SEEN_SECONDS)
            start, _ = await step.execute()
        self._consumer = f"{self._name}.{start}"
        leases: list[Lease] = []
        for consumer in await self._redis.xinfo_consumers(READY, GROUP):
            earlier = keys.text(consumer["name"])
            if earlier.rsplit(".", 1)[0] == self._name:
                leases += await self._lease_from(earlier)
        return leases

    async def stay(self) -> None:
        """Renew the start counter: it may expire only when no lease of an earlier start can remain."""
        await self._redis.expire(keys.starts(self._name), SEEN_SECONDS)

    async def _lease_from(self, earlier: str) -> list[Lease]:
        taken = await self._take_back(keys=[READY], args=[earlier, self._consumer])
        return _leases((entry, dict(zip(fields[::2], fields[1::2], strict=True))) for entry, fields in taken)

    async def ensure_group(self) -> None:
        """Create the consumer group unless it exists; Redis may have come back empty."""
        await ensure_group(self._redis)

    async def lease(self, count: int, block_ms: int | None) -> list[Lease]:
        """Lease up to `count` threads with messages; wait up to `block_ms` milliseconds for one."""
        answer = await self._redis.xreadgroup(
            GROUP, self._consumer, {READY: ">"}, count=count, block=block_ms
        )
        streams = answer.items() if isinstance(answer, Mapping) else answer or []
        return [lease for _, entries in streams for lease in _leases(entries)]

    async def take_over(self, idle_ms: int, count: int) -> list[Lease]:
        """Lease threads whose holder has not renewed for `idle_ms` milliseconds."""
        leases: list[Lease] = []
        cursor = "0-0"
        while len(leases) < count:  # Redis scans some entries at a time
            cursor, entries, _ = await self._redis.xautoclaim(
                READY, GROUP, self._consumer, idle_ms, cursor, count=count - len(leases)
            )
            leases += _leases(entries)
            if keys.text(cursor) == "0-0":
                break
        return leases

    def fence(self, lease: Lease) -> FencingToken:
        """Return the fence that allows other writes only while `lease` is held."""
        return FencingToken(READY, self._consumer, lease.entry)

    async def begin(self, lease: Lease, *, idle_ms: int = 0) -> TurnStart | None:
        """Start or resume the thread's next turn; return None if nothing waits. Raises `LeaseLost`.

        Renews a lease that was not renewed for `idle_ms` milliseconds. Unreadable messages move to `dead`, or
        they would block their thread.
        """
        recent = int((time.time() - SEEN_SECONDS / 2) * 1000)
        begun = await self._begin(
            keys=[READY, keys.mailbox(lease.thread), keys.messages(lease.thread), ACTIVE],
            args=[TAG, self._consumer, lease.entry, lease.thread, idle_ms, recent],
        )
        if begun is None:
            raise LeaseLost(lease.thread)
        if not begun:
            return None
        id, attempt, failures, crashes, crashed, hangs, stopped, error, receipt, *stored = begun
        turn_id = keys.text(id)
        try:
            messages = tuple(Message.from_json(json.loads(each)) for each in stored[1::2])
            state = json.loads(receipt) if receipt else {}
        except (ValueError, TypeError, KeyError) as problem:
            log.exception("message unreadable", extra={"thread_id": lease.thread, "turn": turn_id})
            ids = [keys.text(each) for each in stored[::2]]
            corrects: Any = await self._redis.hget(keys.seen(ids[-1]), "corrects")
            await self._end(lease, ids, keys.text(corrects or ids[-1]), f"unreadable: {problem!r}")
            return None
        ended = {"failures": failures, "crashes": crashes, "hangs": hangs}
        turn = Turn(id=turn_id, thread=messages[0].thread, messages=messages, attempt=attempt, **ended)
        self._replica.begin(turn, state)
        self._under_way.add(turn.id)
        reason = cast("Reason", keys.text(stopped)) if stopped else None
        return TurnStart(turn, state, bool(crashed), reason, keys.text(error))

    async def keep(self, lease: Lease, turn: Turn, receipt: Mapping[str, Json]) -> None:
        """Store the turn's receipt. Raises `LeaseLost`."""
        self._replica.save_receipt(turn, receipt)
        kept = await self._keep(
            keys=[READY, keys.turn(turn.id)], args=[self._consumer, lease.entry, json.dumps(receipt)]
        )
        _check(kept, lease)

    async def finish(self, lease: Lease, turn: Turn, dead: str = "") -> None:
        """Remove the turn's messages and free the thread. Raises `LeaseLost`.

        `dead` is the reason for giving them up: they are kept as dead letters.
        """
        ids, newest = [message.id for message in turn.messages], turn.messages[-1]
        await self._end(lease, ids, newest.corrects or newest.id, dead)
        self._replica.finish(ids)

    def leave(self, turn: Turn) -> None:
        """Mark a turn as no longer running in this process."""
        self._under_way.discard(turn.id)
        self._replica.leave(turn)

    @property
    def under_way(self) -> list[str]:
        """Return the ids of the turns that run in this process."""
        return sorted(self._under_way)

    async def restore(self) -> int:
        """Restore what Redis has lost of this process's messages; return how many."""
        return await self._replica.restore()

    async def keep_whole(self, seconds: float) -> None:
        """Restore lost messages every few `seconds` until cancelled."""
        await self._replica.keep_whole(seconds)

    async def _end(self, lease: Lease, ids: Sequence[str], answered: str, dead: str) -> None:
        box = [keys.mailbox(lease.thread), keys.messages(lease.thread)]
        held = [TAG, self._consumer, lease.entry, lease.thread]
        finished = await self._finish(
            keys=[READY, *box, ACTIVE, keys.turn(ids[0]), DEAD, keys.joined(lease.thread)],
            args=[*held, _TURN_SECONDS, self._follow_seconds, dead, answered, *ids],
        )
        _check(finished, lease)

    async def postpone(
        self, lease: Lease, turn: Turn, seconds: float, *, error: str = "", failed: bool = False
    ) -> None:
        """Release the thread and retry its turn in `seconds`. Raises `LeaseLost`.

        `failed` counts it as an unexpected failure.
        """
        postponed = await self._postpone(
            keys=[READY, LATER, keys.turn(turn.id)],
            args=[self._consumer, lease.entry, lease.thread, time.time() + seconds, int(failed), error],
        )
        _check(postponed, lease)

    async def defer(self, leases: Sequence[Lease]) -> None:
        """Release leases whose turns have not begun; `wake` makes their threads ready again."""
        pairs = [each for lease in leases for each in (lease.entry, lease.thread)]
        await self._defer(keys=[READY, LATER], args=[self._consumer, time.time(), *pairs])

    async def renew(self, turns: Mapping[Lease, str]) -> tuple[list[Lease], set[str]]:
        """Renew the leases of these turns; return the lost leases, and the ids of turns to stop."""
        pairs = [each for lease, turn in turns.items() for each in (lease.entry, turn)]
        lost, stopped = await self._renew(keys=[READY], args=[TAG, self._consumer, *pairs])
        entries = {keys.text(entry) for entry in lost}
        return [lease for lease in turns if lease.entry in entries], {keys.text(turn) for turn in stopped}

    async def wake(self) -> int:
        """Make postponed threads that are due ready again; return how many."""
        return int(await self._wake(keys=[LATER], args=[time.time(), TAG]))

    async def hand_over(self, keep: Iterable[Lease] = ()) -> int:
        """Release all leases except `keep`, so that others can take them at once; return how many.

        With nothing kept, this process leaves the workers.
        """
        kept = [lease.entry for lease in keep]
        return int(await self._hand_over(keys=[READY], args=[TAG, self._consumer, *kept]))


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
        place=decision.place,
        decision=decision,
    )


def _outcome(answer: bytes) -> Outcome:
    return cast("Outcome", keys.text(answer))


def _put_keys(message: Message) -> list[str]:
    thread = str(message.thread)
    return [
        keys.seen(message.id),
        keys.joined(thread),
        keys.early(thread),
        keys.threads(message.thread.platform),
    ]


def _leases(entries: Iterable[Any]) -> list[Lease]:
    return [
        Lease(
            keys.text(entry),
            *(keys.text(fields.get(each, b"")) for each in (b"thread", b"author", b"channel")),
        )
        for entry, fields in entries
        if fields
    ]


def _check(held: int, lease: Lease) -> None:
    if not held:
        raise LeaseLost(lease.thread)
