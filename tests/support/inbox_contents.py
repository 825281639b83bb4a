"""Contents of an inbox: what Redis has, and what the model of the inbox expects there."""

import json
import re
import time
from itertools import islice
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from bot.chat import Message
from bot.inbox import keys
from bot.inbox.keys import text
from tests.support.inbox_model import LATE, LEASE_MS, NEVER, Dead, Mailbox, MessageFacts, Model, Task

Contents = dict[str, Any]


async def stored(redis: Redis, model: Model) -> Contents:
    """Return what Redis has of the threads and messages that the model knows.

    It is read in one go: the search takes as long as its round trips.
    """
    async with redis.pipeline(transaction=False) as pipe:
        _ask(pipe, model)
        replies = iter(await pipe.execute())
    contents = _stored_threads(*islice(replies, 4)) | {"dead": _stored_dead(next(replies))}
    for thread, mailbox in model.mailboxes.items():
        contents[f"mailbox {thread}"] = _stored_mailbox(*islice(replies, 4))
        if mailbox.messages:
            contents[f"turn {thread}"] = _stored_turn(next(replies))
    for id in model.facts:
        contents[f"message {id}"] = _stored_message(next(replies))
    return contents


def expected(model: Model) -> Contents:
    """Return the same of the model."""
    contents = _expected_threads(model) | {"dead": model.dead}
    for thread, mailbox in model.mailboxes.items():
        contents[f"mailbox {thread}"] = _expected_mailbox(mailbox)
        if mailbox.messages:
            contents[f"turn {thread}"] = _expected_turn(mailbox.task)
    return contents | {f"message {id}": known for id, known in model.facts.items()}


_GAP = re.compile(r"\|([0-9.]+)\|gap$")
"""Mark behind the message that was answered last, with the time of the earliest that was passed over."""


def _ask(pipe: Pipeline, model: Model) -> None:
    pipe.smembers(keys.ACTIVE)
    pipe.xrange(keys.READY)
    pipe.xpending_range(keys.READY, keys.GROUP, "-", "+", 100)
    pipe.zrange(keys.LATER, 0, -1, withscores=True)
    pipe.xrange(keys.DEAD)
    for thread, mailbox in model.mailboxes.items():
        pipe.xrange(keys.mailbox(thread))
        pipe.hgetall(keys.messages(thread))
        pipe.get(keys.joined(thread))
        pipe.get(keys.partner(thread))
        if mailbox.messages:
            pipe.hgetall(keys.turn(mailbox.messages[0].id))
    for id in model.facts:
        pipe.hmget(keys.seen(id), "thread", "author", "edited", "corrects", "withdrawn", "silent")


def _stored_threads(active: Any, ready: Any, pending: Any, later: Any) -> Contents:
    leases = {
        each["message_id"]: (text(each["consumer"]), each["time_since_delivered"] > LEASE_MS)
        for each in pending
    }
    return {
        "ready": [
            (text(fields[b"thread"]), text(fields[b"author"]), *leases.pop(id, ("", False)))
            for id, fields in ready
        ],
        "leases of no thread": leases,
        "later": {text(thread): due <= time.time() for thread, due in later},
        "active": sorted(map(text, active)),
    }


def _expected_threads(model: Model) -> Contents:
    """Each is ready or postponed, once, in its order; and its lease is with whom it should be."""
    return {
        "ready": [(entry.thread, entry.author, entry.holder, entry.expired) for entry in model.ready],
        "leases of no thread": {},
        "later": {thread: due < LATE for thread, due in model.later.items()},
        "active": sorted([*model.later, *(entry.thread for entry in model.ready)]),
    }


def _stored_dead(entries: Any) -> list[Dead]:
    return [
        Dead(text(each[b"thread"]), Message.from_json(json.loads(each[b"message"])), text(each[b"reason"]))
        for _, each in entries
    ]


def _stored_mailbox(entries: Any, stored: Any, answered: Any, partner: Any) -> Contents:
    since, _, author = text(partner or b"").partition(" ")
    last = text(answered or b"")
    gap = _GAP.search(last)
    return {
        "ids": [text(fields[b"id"]) for _, fields in entries],
        "messages": {text(id): Message.from_json(json.loads(each)) for id, each in stored.items()},
        "joined": answered is not None,
        "partner": (float(since), author) if partner else None,
        "answered": _GAP.sub("", last),
        "gap": float(gap[1]) if gap else None,
    }


def _expected_mailbox(mailbox: Mailbox) -> Contents:
    """Return the unanswered messages, in order and newest wording, and the last answered one."""
    return {
        "ids": [each.id for each in mailbox.messages],
        "messages": {each.id: each for each in mailbox.messages},
        "joined": mailbox.joined,
        "partner": mailbox.partner,
        "answered": mailbox.answered,
        "gap": mailbox.gap,
    }


def _stored_turn(turn: Any) -> Contents:
    counts = ("attempts", "failures", "crashes", "hangs")
    return {name: int(turn.get(name.encode(), 0)) for name in counts} | {
        "is_fixed": b"last" in turn,
        "is_running": b"running" in turn,
        "stopped": text(turn.get(b"stopped", b"")),
        "receipt": json.loads(turn.get(b"receipt", b"{}")),
    }


def _expected_turn(task: Task | None) -> Contents:
    """Nothing is known of one that is not fixed yet, also when its first message was in a turn before."""
    known = task or Task(())
    return {
        "attempts": known.attempts,
        "failures": known.failures,
        "crashes": known.crashes,
        "hangs": known.hangs,
        "is_fixed": task is not None,
        "is_running": known.running,
        "stopped": known.stopped or "",
        "receipt": known.receipt,
    }


def _stored_message(seen: Any) -> MessageFacts:
    thread, author, edited, corrects, withdrawn, silent = seen
    return MessageFacts(
        thread=text(thread or b""),
        author=text(author or b""),
        edited=float(edited or NEVER),
        corrects=text(corrects or b""),
        withdrawn=bool(withdrawn),
        silent=bool(silent),
    )
