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
class Begun:
    """A turn that may run now, with the receipt that an earlier attempt left and how those attempts ended.

    `failures` counts the ones that ended in an error nobody foresaw, `crashes` those that never ended;
    `crashed` is about the one before this. `hangs` counts those that hung the event loop. `stopped` is why
    people want no more of it.
    """

    turn: Turn
    receipt: dict[str, Json]
    failures: int = 0
    crashes: int = 0
    crashed: bool = False
    hangs: int = 0
    stopped: Reason | None = None
    error: str = ""
