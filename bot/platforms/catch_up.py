"""Catch-up: read channel history after a lost connection, so that no message is missed."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from bot.chat import Coordination, Deliver, StorageDown, Unreachable
from bot.concurrency.tasks import cancel

log = logging.getLogger(__name__)

Read = Callable[[float, float, Deliver], Awaitable[float]]
"""Function that delivers what was written after a first time (Unix seconds), in threads that had a message
after a second one. Returns the age in seconds of the oldest message for the bot that was not known yet; 0
without one."""

OVERLAP_SECONDS = 600.0
"""Seconds that are read in addition: Slack repeats an event for about six minutes."""

SWEEP_SECONDS = 600.0
"""Seconds between two readings of the history while nothing seems missing."""

DEAF_SECONDS = 60.0
"""Age in seconds from which a message in the history counts as missed: by then Slack has also repeated it."""

UNDERWAY_SECONDS = 3.0
"""Seconds that a message may take to arrive."""

LEASE_SECONDS = 20.0
"""Seconds until another process may read the same history after a crash."""

_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Division:
    """Division of the source `whole` into the sources `parts`.

    After a new division, every part counts as heard until the earliest time of the old parts.
    """

    whole: str
    parts: Sequence[str]


class CatchUp:
    """Catch-up of one source, from the time until which all messages were received.

    `hours` limits how far back is read. The source is one of the parts of `division`, if there is one.
    """

    def __init__(
        self,
        coordination: Coordination,
        hours: float,
        division: Division | None = None,
        *,
        sweep_seconds: float = SWEEP_SECONDS,
        deaf_seconds: float = DEAF_SECONDS,
    ) -> None:
        self._coordination = coordination
        self._reach = hours * _HOUR
        self._division = division
        self._sweep_seconds = sweep_seconds
        self._deaf_seconds = deaf_seconds
        self._source = ""
        self._read: Read | None = None
        self._connected = asyncio.Event()
        self._is_deaf = asyncio.Event()
        self._missing = True
        self._missed_at = self._connected_at = time.time()
        self._is_known = False
        self._swept_at = 0.0

    @property
    def is_connected(self) -> bool:
        """Return whether the source is connected."""
        return self._connected.is_set()

    @property
    def has_missed(self) -> bool:
        """Return whether the history has to be read, because an event may have been missed."""
        return self._missing

    @property
    def is_deaf(self) -> bool:
        """Return whether no events arrive although the source is connected."""
        return self._is_deaf.is_set()

    def mark_connected(self, source: str, read: Read) -> None:
        """Mark `source` (as in `Coordination.get_cursor`) as connected; `read` reads its history."""
        self._source, self._read = source, read
        self._connected_at = time.time()
        self.mark_missed()
        self._is_deaf.clear()
        self._connected.set()

    def mark_lost(self) -> None:
        """Mark the connection as lost."""
        self._connected.clear()
        self._is_deaf.clear()
        self.mark_missed()

    def mark_missed(self) -> None:
        """Note that an event may have been missed."""
        if not self._missing:
            self._missed_at = time.time()
        self._missing = True

    @contextlib.contextmanager
    def unless_delivered(self) -> Iterator[None]:
        """Note that an event was missed if the body fails."""
        try:
            yield
        except BaseException:  # raised again; a cancelled delivery may have failed: read the history
            self.mark_missed()
            raise

    async def wait_until_deaf(self) -> None:
        """Raise `Unreachable` once no events arrive although the source is connected."""
        await self._is_deaf.wait()
        raise Unreachable(f"{self._source}: connected, but no messages arrive")

    async def run(self, deliver: Deliver) -> None:
        """Read the history if messages may have been missed, or if the last reading is long ago."""
        await self._connected.wait()
        now = time.time()
        is_sweep = not self._missing
        if self._missing or time.monotonic() - self._swept_at > self._sweep_seconds:
            async with self._alone() as is_alone:
                if not is_alone:
                    return  # another process reads it, and delivers the same
                began = time.monotonic()
                missed = await self._read_since_cursor(now, deliver)
            self._swept_at = began
            if is_sweep and missed > self._deaf_seconds:
                log.warning(
                    "gateway receives no events", extra={"source": self._source, "oldest_s": round(missed)}
                )
                await self._coordination.set_cursor(self._deafness, time.time())
        if not self._missing:
            await self._note(now)
        # found here or by another process: it is not known whose connection failed, so all are opened again
        found_at = await self._coordination.get_cursor(self._deafness)
        if found_at is not None and found_at > self._connected_at:
            self._is_deaf.set()

    @property
    def _deafness(self) -> str:
        return f"{self._source}:deaf"

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[bool]:
        """Yield whether this process may read the history; if so, no other one does until the body ends."""
        lease = f"{self._source}:history"
        if not await self._coordination.lease(lease, LEASE_SECONDS):
            yield False
            return
        keeper = asyncio.create_task(self._keep(lease))
        try:
            yield True
        finally:
            await cancel(keeper)
            with contextlib.suppress(StorageDown):  # then the lease expires
                await self._coordination.release(lease)

    async def _keep(self, lease: str) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            with contextlib.suppress(StorageDown):
                await self._coordination.lease(lease, LEASE_SECONDS)

    async def _note(self, now: float) -> None:
        await self._coordination.set_cursor(self._source, now)
        self._is_known = True
        if self._division:
            until = await self._coordination.get_cursor(*self._division.parts)
            if until is not None:
                await self._coordination.set_cursor(self._division.whole, until)

    async def _read_since_cursor(self, now: float, deliver: Deliver) -> float:
        missed_at, self._missing = self._missed_at, False
        try:
            since = await self._read_from(missed_at)
            if since is None:
                return 0.0
            assert self._read is not None  # set by mark_connected
            reach = now - self._reach
            since = max(since, reach)
            return await self._read(since, min(since, reach), deliver)
        except BaseException:  # raised again; also a cancelled read is incomplete, and its gap must stay open
            self._missing, self._missed_at = True, missed_at
            raise

    async def _read_from(self, missed_at: float) -> float | None:
        """Return the time to read from (Unix seconds); None at the first start, when nothing was missed."""
        sources = [self._source, *([self._division.whole] if self._division else [])]
        known = [await self._coordination.get_cursor(each) for each in sources]
        cursor = max((each for each in known if each is not None), default=None)
        if cursor is not None:
            return cursor - OVERLAP_SECONDS
        # a Redis that lost its data knows no duplicates: what was answered must not be read again
        return missed_at - UNDERWAY_SECONDS if self._is_known else None
