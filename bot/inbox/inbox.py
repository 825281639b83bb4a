"""Steps of the inbox; `worker.py` decides when to take them.

Design: Redis Streams with a consumer group whose pending entry is the lease on a thread. The consumer's name
ends with a number that grows with each start, so that a restarted process differs from its predecessor.
"""

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from redis.asyncio import Redis

from bot.chat import (
    SAME_EVERYWHERE,
    Channels,
    Filing,
    Health,
    Json,
    LeaseLost,
    Message,
    Outcome,
    QuestionState,
    Receipt,
    Stop,
    StopPolicy,
    StoredDetails,
    StoredEntry,
    ThreadEvent,
    ThreadId,
    Turn,
)
from bot.inbox import keys, queries, scripts
from bot.inbox.fence import FencingToken
from bot.inbox.intake import FirstReads, Intake
from bot.inbox.keys import ACTIVE, DEAD, GROUP, LATER, READY, TAG
from bot.inbox.lease import Begun, Desk, Lease, TurnStart, read_lease, read_leases
from bot.inbox.queries import SEEN_SECONDS, ensure_group
from bot.inbox.replica import MOST, Replica
from bot.inbox.stops import Reason, Stops, is_current

log = logging.getLogger(__name__)

_DAY = 86_400
_TURN_SECONDS = 3 * _DAY


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
        channels: Channels = SAME_EVERYWHERE,
        most_replicated: int = MOST,
        first_reads: FirstReads = lambda _: (),
    ) -> None:
        self._redis = redis
        self._first_reads = first_reads
        self._stops = Stops(redis, stop_policy)
        self._name = name
        self._consumer = name
        self._follow_seconds = follow_days * _DAY
        self._replica = Replica(redis, self._follow_seconds, most_replicated)
        self.beginning: list[str] = []
        """Threads whose next turn this process has requested, and Redis may have begun: one a request."""
        self._under_way: set[str] = set()
        self._intake = Intake(redis, self._replica, self._stops, self._follow_seconds, channels, first_reads)
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

    async def put(self, event: ThreadEvent) -> Outcome:
        """Store an event durably and return the outcome."""
        return await self._intake.put(event)

    @contextmanager
    def open_desk(self, desk: Desk) -> Iterator[None]:
        """Let messages that are put meanwhile begin their turns at a worker's desk, if it has a place."""
        self._intake.desk = desk
        try:
            yield
        finally:
            self._intake.desk = None

    async def claim(self, request: str, turn: Turn) -> bool:
        """Let a turn stand for the decision of a request; return whether it does. Idempotent."""
        return await self._intake.claim(request, turn)

    async def has_claimed(self, request: str, turn: Turn) -> bool:
        """Return whether a turn stands for the decision of a request."""
        return await self._intake.has_claimed(request, turn)

    async def expect_answer(
        self, thread: ThreadId, question: str, respondents: Sequence[str], seconds: float
    ) -> None:
        """Take messages of these authors in a thread for addressed, for a time; without any, those of all."""
        await self._intake.expect_answer(thread, question, respondents, seconds)

    async def expect_no_answer(self, thread: ThreadId, question: str) -> None:
        """End `expect_answer` for a question."""
        await self._intake.expect_no_answer(thread, question)

    async def is_current(self, wordings: Mapping[str, float]) -> bool:
        """Return whether none of these messages was edited or deleted since; see `bot.inbox.stops`."""
        return await is_current(self._redis, wordings)

    async def newest_answer(self, thread: ThreadId) -> str:
        """Return the message that was answered last in a thread, or an empty string."""
        return await queries.newest_answer(self._redis, thread)

    async def question(self, message_id: str) -> QuestionState | None:
        """Return the state of an answered question, or None if it is not known any more."""
        return await queries.question(self._redis, message_id)

    async def first_turns(self, within: ThreadId) -> Sequence[str]:
        """Return a thread's turn that runs, or is next; without `channel` those of leased threads."""
        return await queries.first_turns(self._redis, within)

    async def newest_order(self, answer: str, thread: ThreadId) -> tuple[str, bool] | None:
        """Return the newest order for an answer, and whether it is open or known to have succeeded.

        None if there is none, or it was refused, stopped or has failed.
        """
        return await queries.newest_order(self._redis, answer, thread)

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

    async def find_leases(self, idle_ms: int) -> list[Lease]:
        """Return own leases that were not renewed for `idle_ms` milliseconds, and renew them."""
        return await self._lease_from(self._consumer, idle_ms)

    async def _lease_from(self, earlier: str, idle_ms: int = 0) -> list[Lease]:
        taken = await self._take_back(keys=[READY], args=[earlier, self._consumer, idle_ms])
        return [read_lease(*each) for each in taken]

    async def ensure_group(self) -> None:
        """Create the consumer group unless it exists; Redis may have come back empty."""
        await ensure_group(self._redis)

    async def lease(self, count: int, block_ms: int | None) -> list[Lease]:
        """Lease up to `count` threads with messages; wait up to `block_ms` milliseconds for one."""
        answer = await self._redis.xreadgroup(
            GROUP, self._consumer, {READY: ">"}, count=count, block=block_ms
        )
        streams = answer.items() if isinstance(answer, Mapping) else answer or []
        return [lease for _, entries in streams for lease in read_leases(entries)]

    async def take_over(self, idle_ms: int, count: int) -> list[Lease]:
        """Lease threads whose holder has not renewed for `idle_ms` milliseconds."""
        leases: list[Lease] = []
        cursor = "0-0"
        while len(leases) < count:  # Redis scans some entries at a time
            cursor, entries, _ = await self._redis.xautoclaim(
                READY, GROUP, self._consumer, idle_ms, cursor, count=count - len(leases)
            )
            leases += read_leases(entries)
            if keys.text(cursor) == "0-0":
                break
        return leases

    def fence(
        self, lease: Lease, receipt: Receipt | None = None, read: Mapping[str, bytes | None] | None = None
    ) -> FencingToken:
        """Return the fence of other writes: they need `lease`, and store what was noted in `receipt`.

        `read` are values that the turn need not read again.
        """
        return FencingToken(READY, self._consumer, lease.entry, receipt, dict(read or {}))

    async def begin(self, lease: Lease, *, idle_ms: int = 0) -> TurnStart | None:
        """Start or resume the thread's next turn; return None if nothing waits. Raises `LeaseLost`.

        Renews a lease that was not renewed for `idle_ms` milliseconds.
        """
        self.beginning.append(lease.thread)
        wanted = self._first_reads(lease.thread)
        try:
            begun = await self._begin(
                keys=[READY, keys.mailbox(lease.thread), keys.messages(lease.thread), ACTIVE],
                args=[TAG, self._consumer, lease.entry, lease.thread, idle_ms, SEEN_SECONDS, *wanted],
            )
        finally:
            self.beginning.remove(lease.thread)
        if begun is None:
            raise LeaseLost(lease.thread)
        return await self.read_start(lease, begun) if begun else None

    async def read_start(self, lease: Lease, begun: Begun) -> TurnStart | None:
        """Return the turn that Redis has begun; None if it is unreadable. Raises `LeaseLost`.

        Unreadable messages move to `dead`, or they would block their thread.
        """
        id, attempt, failures, crashes, crashed, hangs, stopped, error, receipt, values, *stored = begun
        turn_id = keys.text(id)
        try:
            messages = tuple(Message.from_json(json.loads(each)) for each in stored[1::3])
            state = json.loads(receipt) if receipt else {}
        except (ValueError, TypeError, KeyError) as problem:
            log.exception("message unreadable", extra={"thread_id": lease.thread, "turn": turn_id})
            ids = [keys.text(each) for each in stored[::3]]
            corrects: Any = await self._redis.hget(keys.seen(ids[-1]), "corrects")
            answered, dead = keys.text(corrects or ids[-1]), f"unreadable: {problem!r}"
            await self._end(lease, ids, answered, dead, gap=0.0)
            return None
        ended = {"failures": failures, "crashes": crashes, "hangs": hangs}
        gaps = {each.id: float(at) for each, at in zip(messages, stored[2::3], strict=True) if at}
        thread = messages[0].thread
        turn = Turn(id=turn_id, thread=thread, messages=messages, gaps=gaps, attempt=attempt, **ended)
        self._replica.begin(turn, state)
        self._under_way.add(turn.id)
        reason = cast("Reason", keys.text(stopped)) if stopped else None
        read = dict(zip(self._first_reads(lease.thread), values, strict=True))
        return TurnStart(turn, state, bool(crashed), reason, keys.text(error), read)

    async def keep(self, lease: Lease, turn: Turn, receipt: Mapping[str, Json]) -> None:
        """Store the turn's receipt. Raises `LeaseLost`."""
        self._replica.save_receipt(turn, receipt)
        kept = await self._keep(
            keys=[READY, keys.turn(turn.id)], args=[self._consumer, lease.entry, json.dumps(receipt)]
        )
        _check(kept, lease)

    def replicate(self, turn: Turn, receipt: Mapping[str, Json]) -> None:
        """Keep the turn's receipt in this process only."""
        self._replica.save_receipt(turn, receipt)

    async def finish(
        self,
        lease: Lease,
        turn: Turn,
        dead: str = "",
        receipt: Json = None,
        filing: Filing | None = None,
        *,
        gap: float | None = None,
        details: StoredDetails | None = None,
        entry: StoredEntry | None = None,
    ) -> None:
        """Remove the turn's messages and free the thread. Raises `LeaseLost`.

        `dead` is the reason for giving them up: they are kept as dead letters. A `receipt`, `details` and
        `entry` are stored, and `filing` is added to its stream. `gap` is as in `Receipt`.
        """
        ids, newest = [message.id for message in turn.messages], turn.messages[-1]
        result = json.dumps(receipt) if receipt else ""
        answered = "" if turn.regenerates else newest.corrects or newest.id
        await self._end(lease, ids, answered, dead, result, filing, gap, details, newest.corrects, entry)
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

    async def _end(
        self,
        lease: Lease,
        ids: Sequence[str],
        answered: str,
        dead: str,
        receipt: str = "",
        filing: Filing | None = None,
        gap: float | None = None,
        details: StoredDetails | None = None,
        question: str = "",
        entry: StoredEntry | None = None,
    ) -> None:
        box = [keys.mailbox(lease.thread), keys.messages(lease.thread)]
        held = [TAG, self._consumer, lease.entry, lease.thread]
        stream, filed, most = ([filing.stream], filing.text, filing.most) if filing else ([], "", 0)
        kept = details or StoredDetails(keys.turn(ids[0]), "", 0)
        rest: list[str | float] = [dead, answered, receipt, filed, most, "" if gap is None else gap]
        rest += [kept.text, kept.ttl_seconds, question, kept.stands if question else ""]
        rest += [entry.key, entry.field, entry.text, entry.revision] if entry else ["", "", "", 0]
        of_turn = [keys.turn(ids[0]), DEAD, keys.joined(lease.thread), kept.key]
        finished = await self._finish(
            keys=[READY, *box, ACTIVE, *of_turn, *stream],
            args=[*held, _TURN_SECONDS, self._follow_seconds, *rest, *ids],
        )
        _check(finished, lease)
        if filing:
            filing.added(keys.text(finished))

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


def _check(held: int, lease: Lease) -> None:
    if not held:
        raise LeaseLost(lease.thread)
