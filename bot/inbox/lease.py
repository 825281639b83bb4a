"""Lease on a thread, and the turn that begins under it. Plain data."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from bot.chat import Json, Turn
from bot.inbox import keys
from bot.inbox.stops import Reason


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run the turns of one thread; `entry` is its id in the stream `ready`.

    `author` and `channel` are those of the first message that waited; empty in entries of older versions.
    """

    entry: str
    thread: str
    author: str = ""
    channel: str = ""


@dataclass(frozen=True, slots=True)
class TurnStart:
    """Turn that may run now, with the receipt and the `error` of an earlier attempt.

    The attempt before this one ended with the process if `has_crashed`. `stop_reason` is the reason why the
    users want no answer any more. `read` are the values of the keys that the turn reads first.
    """

    turn: Turn
    receipt: dict[str, Json]
    has_crashed: bool = False
    stop_reason: Reason | None = None
    error: str = ""
    read: Mapping[str, bytes | None] = field(default_factory=dict)


Begun = Sequence[Any]
"""Turn that Redis has begun, as the script START returns it."""


class Desk(Protocol):
    """Place of a worker where a message that has just arrived can begin its turn at once.

    A lease without an `entry` stands for the one that may come.
    """

    @property
    def consumer(self) -> str:
        """Return the name under which the worker holds its leases."""

    def reserve(self, wish: Lease) -> bool:
        """Keep a turn free for a thread; return False if it has to wait for its turn like any other."""

    async def settle(self, wish: Lease, lease: Lease | None = None, begun: Begun | None = None) -> None:
        """End a reservation; take the lease that came with the message, perhaps that of another thread.

        `begun` is the turn if it has begun under the lease. Raises no error of Redis.
        """


def read_leases(entries: Iterable[Any]) -> list[Lease]:
    """Return the leases in entries of the stream `ready`, without those of deleted entries."""
    return [
        Lease(
            keys.text(entry),
            *(keys.text(fields.get(each, b"")) for each in (b"thread", b"author", b"channel")),
        )
        for entry, fields in entries
        if fields
    ]


def read_lease(entry: bytes, fields: Sequence[bytes]) -> Lease:
    """Return the lease in an entry of `ready` as a script returns it: names and values in turn."""
    [lease] = read_leases([(entry, dict(zip(fields[::2], fields[1::2], strict=True)))])
    return lease
