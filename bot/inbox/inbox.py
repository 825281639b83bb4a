"""The inbox's keys and steps; `worker.py` decides when which step is taken.

Design: Redis Streams with a consumer group whose pending entry is the lease on a thread. The consumer's name
holds a number that grows with each start, so that a process cannot be mistaken for its own earlier self.
"""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from bot.chat import Event, Health, Json, LeaseLost, Message, Turn
from bot.inbox import scripts

log = logging.getLogger(__name__)

_TAG = "{bot}"
_READY, _LATER, _ACTIVE, _DEAD = (f"{_TAG}:{name}" for name in ("ready", "later", "active", "dead"))
_GROUP = "workers"
_DAY = 86_400
_SEEN_SECONDS = 3 * _DAY  # longer than any platform redelivers
_TURN_SECONDS = 3 * _DAY


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run the turns of one thread; `entry` is its id in the stream `ready`."""

    entry: str
    thread: str


@dataclass(frozen=True, slots=True)
class Begun:
    """A turn that may run now, with the receipt that an earlier attempt left."""

    turn: Turn
    receipt: dict[str, Json]


class Inbox:
    """Keeps messages until they are answered. Errors of redis-py pass through."""

    def __init__(self, redis: Redis, *, name: str, follow_days: int) -> None:
        self._redis = redis
        self._name = name
        self._consumer = name
        self._follow_seconds = follow_days * _DAY
        self._put = redis.register_script(scripts.PUT)
        self._begin = redis.register_script(scripts.BEGIN)
        self._keep = redis.register_script(scripts.KEEP)
        self._finish = redis.register_script(scripts.FINISH)
        self._renew = redis.register_script(scripts.RENEW)
        self._postpone = redis.register_script(scripts.POSTPONE)
        self._wake = redis.register_script(scripts.WAKE)
        self._take_back = redis.register_script(scripts.TAKE_BACK)
        self._hand_over = redis.register_script(scripts.HAND_OVER)

    async def put(self, event: Event) -> str:
        """Store a message for good: `kept`, `duplicate`, or `ignored` (not addressed, thread not joined)."""
        thread = str(event.thread)
        outcome = await self._put(
            keys=[f"{_TAG}:seen:{event.id}", _mailbox(thread), _ACTIVE, _READY, f"{_TAG}:joined:{thread}"],
            args=[
                thread,
                event.id,
                json.dumps(event.to_json()),
                int(event.addressed),
                _SEEN_SECONDS,
                self._follow_seconds,
            ],
        )
        return _text(outcome)

    async def enter(self) -> list[Lease]:
        """Join the workers under a new consumer name; returns the leases that our earlier self left."""
        await self.ensure_group()
        start = await self._redis.incr(f"{_TAG}:starts:{self._name}")
        self._consumer = f"{self._name}.{start}"
        leases: list[Lease] = []
        for consumer in await self._redis.xinfo_consumers(_READY, _GROUP):
            earlier = _text(consumer["name"])
            if earlier.rsplit(".", 1)[0] == self._name:
                leases += await self._take_from(earlier)
        return leases

    async def _take_from(self, earlier: str) -> list[Lease]:
        taken = [_text(each) for each in await self._take_back(keys=[_READY], args=[earlier, self._consumer])]
        return [Lease(entry, thread) for entry, thread in zip(taken[::2], taken[1::2], strict=True)]

    async def ensure_group(self) -> None:
        """Make the consumer group; again, too, after Redis came back empty."""
        try:
            await self._redis.xgroup_create(_READY, _GROUP, "0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def take(self, count: int, block_ms: int) -> list[Lease]:
        """Lease up to `count` threads that have messages, waiting up to `block_ms` milliseconds for one."""
        answer = await self._redis.xreadgroup(
            _GROUP, self._consumer, {_READY: ">"}, count=count, block=block_ms
        )
        streams = answer.items() if isinstance(answer, Mapping) else answer or []
        return [lease for _, entries in streams for lease in _leases(entries)]

    async def take_over(self, idle_ms: int, count: int) -> list[Lease]:
        """Lease threads whose holder has not renewed for `idle_ms` milliseconds."""
        answer = await self._redis.xautoclaim(_READY, _GROUP, self._consumer, idle_ms, "0-0", count=count)
        return _leases(answer[1])

    async def begin(self, lease: Lease) -> Begun | None:
        """Start, or start again, the thread's next turn; None when nothing waits.

        Raises `LeaseLost`. Messages that cannot be read go to `dead`, or they would block their thread.
        """
        begun = await self._begin(
            keys=[_READY, _mailbox(lease.thread), _ACTIVE],
            args=[self._consumer, lease.entry, lease.thread, f"{_TAG}:turn:"],
        )
        if begun is None:
            raise LeaseLost(lease.thread)
        if not begun:
            return None
        turn_id, attempt, receipt, *stored = begun
        try:
            messages = tuple(Message.from_json(json.loads(each)) for each in stored)
            state = json.loads(receipt) if receipt else {}
        except (ValueError, TypeError, KeyError) as error:
            log.exception("message cannot be read", extra={"thread_id": lease.thread, "turn": _text(turn_id)})
            await self._end(lease, _text(turn_id), f"unreadable: {error!r}")
            return None
        turn = Turn(id=_text(turn_id), thread=messages[0].thread, messages=messages, attempt=int(attempt))
        return Begun(turn, state)

    async def keep(self, lease: Lease, turn: Turn, receipt: Mapping[str, Json]) -> None:
        """Store the turn's receipt. Raises `LeaseLost`."""
        kept = await self._keep(
            keys=[_READY, _turn(turn.id)], args=[self._consumer, lease.entry, json.dumps(receipt)]
        )
        _check(kept, lease)

    async def finish(self, lease: Lease, turn: Turn, dead: str = "") -> None:
        """Take the turn's messages out and free the thread; `dead` is why nobody will answer them.

        Raises `LeaseLost`.
        """
        await self._end(lease, turn.id, dead)

    async def _end(self, lease: Lease, turn_id: str, dead: str) -> None:
        finished = await self._finish(
            keys=[_READY, _mailbox(lease.thread), _ACTIVE, _turn(turn_id), _DEAD],
            args=[self._consumer, lease.entry, lease.thread, _TURN_SECONDS, dead],
        )
        _check(finished, lease)

    async def postpone(self, lease: Lease, seconds: float) -> None:
        """Give the thread up and try its turn again in `seconds`. Raises `LeaseLost`."""
        due = time.time() + seconds
        postponed = await self._postpone(
            keys=[_READY, _LATER], args=[self._consumer, lease.entry, lease.thread, due]
        )
        _check(postponed, lease)

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        """Renew leases; returns those that are no longer ours."""
        lost = await self._renew(keys=[_READY], args=[self._consumer, *(lease.entry for lease in leases)])
        entries = {_text(entry) for entry in lost}
        return [lease for lease in leases if lease.entry in entries]

    async def wake(self) -> int:
        """Make postponed threads that are due ready again; returns how many."""
        return int(await self._wake(keys=[_READY, _LATER], args=[time.time()]))

    async def hand_over(self) -> int:
        """Leave the workers; what we still hold can be taken by others at once. Returns how many threads."""
        return int(await self._hand_over(keys=[_READY], args=[self._consumer]))

    async def health(self) -> Health:
        """How much waits, runs and was given up, over all processes."""
        await self.ensure_group()  # there may be no worker yet, or an empty Redis
        ready, pending, later, dead = await self._counts()
        evidence = {"waiting": ready - pending, "running": pending, "postponed": later, "dead": dead}
        return Health(name="inbox", state="degraded" if dead else "ok", evidence=evidence)

    async def _counts(self) -> tuple[int, int, int, int]:
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.xlen(_READY)
            pipe.xpending(_READY, _GROUP)
            pipe.zcard(_LATER)
            pipe.xlen(_DEAD)
            ready, pending, later, dead = await pipe.execute()
        return ready, pending["pending"], later, dead


def _mailbox(thread: str) -> str:
    return f"{_TAG}:mailbox:{thread}"


def _turn(turn_id: str) -> str:
    return f"{_TAG}:turn:{turn_id}"


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _leases(entries: Sequence[Any]) -> list[Lease]:
    return [Lease(_text(entry), _text(fields[b"thread"])) for entry, fields in entries if fields]


def _check(held: int, lease: Lease) -> None:
    if not held:
        raise LeaseLost(lease.thread)
