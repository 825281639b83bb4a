"""Catch-up: read channel history after a lost connection, so that no message is missed."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from bot.chat import Deliver, Shared, StorageDown, Unreachable
from bot.concurrency.tasks import cancel

log = logging.getLogger(__name__)

Read = Callable[[float, float, Deliver], Awaitable[float]]
"""Hands over what was written since a time (Unix seconds), in threads that had a message since a second one.
Returns how many seconds old the oldest message for the bot was that nobody had taken; 0 without one."""

OVERLAP_SECONDS = 600.0
"""How much further back is read than seems needed: Slack repeats an event for some six minutes."""

SWEEP_SECONDS = 600.0
"""Between two looks into the history while all seems well."""

DEAF_SECONDS = 60.0
"""A message that is found this old in the history was not heard: by then Slack has repeated it, too."""

UNDERWAY_SECONDS = 3.0
"""How long a message may be on its way to us."""

LEASE_SECONDS = 20.0
"""How long nobody else begins to read the same history after a process that died in its midst."""

_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Division:
    """How `whole` is divided into the sources `parts`.

    When it is divided in another way, the new parts have been heard as long as all the old ones had been.
    """

    whole: str
    parts: Sequence[str]


class CatchUp:
    """Catch-up of one source, from the last moment until which all was heard.

    `hours` is how far back may be read at most. `division`, if there is one, has the source among its parts.
    """

    def __init__(self, shared: Shared, hours: float, division: Division | None = None) -> None:
        self._shared = shared
        self._reach = hours * _HOUR
        self._division = division
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
        """Whether we listen to the source."""
        return self._connected.is_set()

    def mark_connected(self, source: str, read: Read) -> None:
        """Listen to `source` (as in `Shared.heard_until`) from now on; `read` reads its history."""
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
        """Note that something was missed if the body fails."""
        try:
            yield
        except BaseException:  # a cancellation, too, leaves open what became of the event
            self.mark_missed()
            raise

    async def wait_until_deaf(self) -> None:
        """Raise `Unreachable` once it turns out that no events come although we are connected."""
        await self._is_deaf.wait()
        raise Unreachable(f"{self._source}: connected, but what people write does not come")

    async def run(self, deliver: Deliver) -> None:
        """See `bot.chat.Platform.catch_up`."""
        await self._connected.wait()
        now = time.time()
        is_sweep = not self._missing
        if self._missing or time.monotonic() - self._swept_at > SWEEP_SECONDS:
            async with self._alone() as is_alone:
                if not is_alone:
                    return  # another process reads it, and hands over the same
                began = time.monotonic()
                missed = await self._read_since_heard(now, deliver)
            self._swept_at = began
            if is_sweep and missed > DEAF_SECONDS:
                log.warning("connection is deaf", extra={"source": self._source, "oldest_s": round(missed)})
                await self._shared.set_heard_until(self._deafness, time.time())
        if not self._missing:
            await self._note(now)
        # found by us or by another process: nobody knows whose connection it is, so all are built anew
        found_at = await self._shared.heard_until(self._deafness)
        if found_at is not None and found_at > self._connected_at:
            self._is_deaf.set()

    @property
    def _deafness(self) -> str:
        return f"{self._source}:deaf"

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[bool]:
        """Whether nobody else reads the same history; nor will while the body runs, be it for hours."""
        lease = f"{self._source}:history"
        if not await self._shared.lease(lease, LEASE_SECONDS):
            yield False
            return
        keeper = asyncio.create_task(self._keep(lease))
        try:
            yield True
        finally:
            await cancel(keeper)
            with contextlib.suppress(StorageDown):  # then it ends by itself
                await self._shared.release(lease)

    async def _keep(self, lease: str) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            with contextlib.suppress(StorageDown):
                await self._shared.lease(lease, LEASE_SECONDS)

    async def _note(self, now: float) -> None:
        await self._shared.set_heard_until(self._source, now)
        self._is_known = True
        if self._division:
            until = await self._shared.heard_until(*self._division.parts)
            if until is not None:
                await self._shared.set_heard_until(self._division.whole, until)

    async def _read_since_heard(self, now: float, deliver: Deliver) -> float:
        missed_at, self._missing = self._missed_at, False
        try:
            since = await self._unheard_since(missed_at)
            if since is None:
                return 0.0
            assert self._read is not None  # set by mark_connected
            reach = now - self._reach
            since = max(since, reach)
            return await self._read(since, min(since, reach), deliver)
        except BaseException:  # a cancellation, too, leaves it to be read again
            self._missing, self._missed_at = True, missed_at
            raise

    async def _unheard_since(self, missed_at: float) -> float | None:
        """From when on to read (Unix seconds); None at the very first start: the past was not said to us."""
        sources = [self._source, *([self._division.whole] if self._division else [])]
        known = [await self._shared.heard_until(each) for each in sources]
        heard_until = max((each for each in known if each is not None), default=None)
        if heard_until is not None:
            return heard_until - OVERLAP_SECONDS
        # a Redis that came back empty knows no duplicates any more: what was taken must not be read again
        return missed_at - UNDERWAY_SECONDS if self._is_known else None
