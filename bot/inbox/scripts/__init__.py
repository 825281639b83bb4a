"""Atomic steps of the inbox as Lua scripts.

Every key carries the hash tag `{bot}`, so all keys share one slot of a Redis Cluster, including keys that a
script computes (`turn:<id>`).

A thread with work has exactly one entry: in `ready` (free, or leased: pending in the group `workers`) or in
`later` (backing off). The pending entry *is* the lease, which each write checks first with `held`. The entry
contains the `thread`, and the `author` and `channel` of its first waiting message. `seen` expires three days
after its message was taken, `turn` three days after its end.

    seen:<message id>    hash: thread, author, channel, edited (-1: never), turn (once in one), corrects,
                         withdrawn, answer (the one that stands, once it was edited or answered again), silent
                         (of a message in a joined thread that was not answered); of a decision that is an
                         answer in words only the thread and the turn of that message
    mailbox:<thread>     stream: ids of waiting and running messages, in order; with the time of the earliest
                         message that the agent was not given before one of them
    messages:<thread>    hash: messages by id
    joined:<thread>      string: id of the message that was answered last, and the time since which messages
                         were not given to the agent, if any were not; exists while the bot takes part
    ordered:<answer>     string: id of the newest order to regenerate an answer
    partner:<thread>     string: time, and the author whom the bot follows since then; instead of an author
                         nothing (several users have written), or `!` (a user asked for silence). If it is
                         missing, because an earlier version or an empty Redis has none, the next author is it
    asked:<thread>       hash: by open question the authors, each between line ends, who answer it without a
                         mention; `*` for everybody
    early:<thread>       hash: messages that were not for the bot when they arrived, but would be if a mention
                         that was written before them still arrives
    stops:<thread>       hash: times of the latest stops by author, `*` for one who overrules the others
    threads:<platform>   sorted set: joined threads by the time of their newest message, for reading what was
                         missed there; not of HTTP, where messages have no place
    left                 set: digests of threads that the bot left within the last minute, so that processes
                         that remember them drop them
    paused:<thread>      string: token of the process that edits the thread's data; no turn runs meanwhile
    turn:<id>            hash: last (mailbox entry), attempts, failures, crashes, hangs, error, running,
                         receipt, stopped
    hung                 hash: number of hangs while receiving an event, by the event's id
"""

from bot.inbox.scripts.events import CLAIM, CORRECT, PUT, STOP, WITHDRAW
from bot.inbox.scripts.pause import LEAVE, PAUSE, RESUME
from bot.inbox.scripts.replay import REPLAY, RESTORE
from bot.inbox.scripts.turns import (
    BEGIN,
    DEFER,
    EVENT_HUNG,
    FENCED,
    FINISH,
    HAND_OVER,
    INCREASE,
    KEEP,
    POSTPONE,
    RENEW,
    TAKE_BACK,
    TURN_HUNG,
    WAKE,
)

__all__ = [
    "BEGIN",
    "CLAIM",
    "CORRECT",
    "DEFER",
    "EVENT_HUNG",
    "FENCED",
    "FINISH",
    "HAND_OVER",
    "INCREASE",
    "KEEP",
    "LEAVE",
    "PAUSE",
    "POSTPONE",
    "PUT",
    "RENEW",
    "REPLAY",
    "RESTORE",
    "RESUME",
    "STOP",
    "TAKE_BACK",
    "TURN_HUNG",
    "WAKE",
    "WITHDRAW",
]
