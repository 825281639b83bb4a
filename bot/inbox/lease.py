"""Lease on a thread, and the turn that begins under it. Plain data."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

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
