"""The atomic steps of the inbox, as Lua scripts that Redis runs.

Every key carries the hash tag `{bot}`, so all of them live in one slot of a Redis Cluster; keys that a
script computes (`turn:<id>`) therefore are where the declared ones are.

A thread with work has exactly one entry: in `ready` (free, or leased: pending in the group `workers`) or in
`later` (backing off). The pending entry *is* the lease: `held` is the fence that each write passes first. It
names its `thread`, and the `author` and the `channel` of the first message that waits there.

    seen:<message id>    hash: thread, author, channel, edited (-1: never), turn (once in one), corrects,
                         withdrawn
    mailbox:<thread>     stream: the ids of the messages that wait or are being answered, in order
    messages:<thread>    hash: their texts by id
    joined:<thread>      the bot takes part; holds the message that was answered last
    early:<thread>       hash: messages that came before the one that makes the bot take part
    threads:<platform>   sorted set: threads by the time of their newest message
    left                 set: digests of the threads that the bot has left within the last minute; the
                         processes that remember them forget them meanwhile
    paused:<thread>      somebody works on what is kept of the thread, which has no turn meanwhile
    turn:<id>            hash: last (mailbox entry), attempts, failures, crashes, hangs, error, running,
                         receipt, stopped
    hung                 hash: how often the process has hung while it took an event, by the event's id
"""

from bot.inbox.scripts.events import CORRECT, PUT, STOP, WITHDRAW
from bot.inbox.scripts.pause import PAUSE, RESUME
from bot.inbox.scripts.replay import REPLAY, RESTORE
from bot.inbox.scripts.turns import (
    BEGIN,
    DEFER,
    FINISH,
    GUARDED,
    HAND_OVER,
    HUNG,
    KEEP,
    POSTPONE,
    RENEW,
    TAKE_BACK,
    WAKE,
)

__all__ = [
    "BEGIN",
    "CORRECT",
    "DEFER",
    "FINISH",
    "GUARDED",
    "HAND_OVER",
    "HUNG",
    "KEEP",
    "PAUSE",
    "POSTPONE",
    "PUT",
    "RENEW",
    "REPLAY",
    "RESTORE",
    "RESUME",
    "STOP",
    "TAKE_BACK",
    "WAKE",
    "WITHDRAW",
]
