"""Lease on a thread, and the turn that begins under it. Plain data."""

from dataclasses import dataclass

from bot.chat import Json, Turn
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
    users want no answer any more.
    """

    turn: Turn
    receipt: dict[str, Json]
    has_crashed: bool = False
    stop_reason: Reason | None = None
    error: str = ""
