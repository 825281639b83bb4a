"""Fair queue of leases: one user or one channel never takes all turns of a process."""

from collections import Counter
from collections.abc import Iterator

from bot.inbox.lease import Lease

ROOM = 10
"""Leases that may wait in a process for each concurrent turn; the rest waits in Redis."""


class FairQueue:
    """Waiting leases, and the number of running turns by user and by channel. Pure.

    At most `limit` turns run at once, `user` of one user and `channel` in one channel (None: no bound), but
    at most `limit - 1`. Indistinguishable callers share `limit - 1`.
    """

    def __init__(self, limit: int, user: int | None = None, channel: int | None = None) -> None:
        self._limit = limit
        self._bounds = {"user": user, "channel": channel}
        self._waiting: dict[Lease, None] = {}
        self._running: set[Lease] = set()
        self._turns: Counter[tuple[str, str]] = Counter()

    def __contains__(self, lease: Lease) -> bool:
        return lease in self._waiting

    def __iter__(self) -> Iterator[Lease]:
        return iter(tuple(self._waiting))

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def free(self) -> int:
        """Return the number of turns that can start now."""
        return self._limit - len(self._running)

    @property
    def is_short(self) -> bool:
        """Return True if at least half of the room is empty."""
        return len(self._waiting) <= ROOM * self._limit // 2

    @property
    def demand(self) -> int:
        """Return how many leases to take now; while no turn is free, one at a time until a newcomer waits."""
        return self.free or (0 if any(map(self._is_newcomer, self._waiting)) else 1)

    def add(self, lease: Lease) -> bool:
        """Add a lease; return False if there is no room for it."""
        can_begin = self._has_share(lease) and (self.free > 0 or self._is_newcomer(lease))
        if not can_begin and len(self._waiting) >= ROOM * self._limit:
            return False
        self._waiting[lease] = None
        return True

    def discard(self, lease: Lease) -> None:
        """Remove a waiting lease."""
        self._waiting.pop(lease, None)

    def clear(self) -> None:
        """Remove all waiting leases."""
        self._waiting.clear()

    def next(self) -> Lease | None:
        """Return the lease whose turn begins now, the first of the user with the fewest turns, or None."""
        ready = [lease for lease in self._waiting if self._has_share(lease)] if self.free > 0 else []
        if not ready:
            return None
        lease = min(ready, key=self._turns_of_user)
        del self._waiting[lease]
        self.begin(lease)
        return lease

    def reserve(self, lease: Lease) -> bool:
        """Begin a turn if it has a place and overtakes nothing; one turn stays free for other leases."""
        has_place = self.free > 1 and not self._waiting and lease not in self._running
        can_begin = has_place and self._has_share(lease)
        if can_begin:
            self.begin(lease)
        return can_begin

    def begin(self, lease: Lease) -> None:
        """Record that a turn has begun."""
        self._running.add(lease)
        self._turns.update(self._shares(lease).keys())

    def end(self, lease: Lease) -> None:
        """Record that a turn has ended."""
        self._running.remove(lease)
        self._turns.subtract(self._shares(lease).keys())
        self._turns += Counter()  # drops the zeros

    def _shares(self, lease: Lease) -> dict[tuple[str, str], int]:
        """Return the bound of each owner of a lease; entries of older versions have no owner."""
        most = max(self._limit - 1, 1)
        if lease.author and lease.author == lease.channel:  # HTTP callers
            return {("surface", lease.author): most}
        owners = {"user": lease.author, "channel": lease.channel}
        return {
            (kind, name): min(bound, most)
            for kind, name in owners.items()
            if name and (bound := self._bounds[kind]) is not None
        }

    def _has_share(self, lease: Lease) -> bool:
        return all(self._turns[owner] < most for owner, most in self._shares(lease).items())

    def _turns_of_user(self, lease: Lease) -> int:
        return next((self._turns[owner] for owner in self._shares(lease)), 0)

    def _is_newcomer(self, lease: Lease) -> bool:
        """Return True if the user of a lease has no turn and may have one."""
        return self._has_share(lease) and not self._turns_of_user(lease)
