"""Approval requests in Redis: created once, decided once, by an authorised user.

The inbox decides: a decision is a message with the request's own name, so that of two that are made at once,
wherever and by whomever, the second is a duplicate. The record here says who can decide, where the request is
shown, and later what was decided.
"""

import asyncio
import json
import logging
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from typing import Any

from redis.asyncio import Redis

from bot.access.approvals import replies
from bot.access.approvals.record import Record, askers_of
from bot.chat import (
    Approval,
    Decision,
    Health,
    Json,
    Message,
    Proposal,
    StorageDown,
    ThreadId,
    Turn,
    TypedDecision,
    Verdict,
    decided,
    well_formed,
)
from bot.commands.commands import Decided, nothing_waits, nothing_waits_in_words
from bot.storage.errors import storage_errors

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
"""Between two looks for requests that nobody has decided in time."""

MOST_OPEN = 3
"""Requests of one person that may be open at once: each notifies those who can approve it."""

_KEPT_SECONDS = 7 * 86_400
"""Time that an expired request is still kept, for users who press an old button."""

_OPEN = "{bot}:approvals"

# KEYS open request, then the open requests of each account of those who ask
# | ARGV id record now expires_at kept_seconds most -> new | known | refused
_ASK = """
local id, now, most = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[6])
if redis.call('HEXISTS', KEYS[2], 'request') == 1 then return 'known' end
for index = 3, #KEYS do
  redis.call('ZREMRANGEBYSCORE', KEYS[index], '-inf', now)
  if redis.call('ZCARD', KEYS[index]) >= most then return 'refused' end
end
redis.call('HSET', KEYS[2], 'request', ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[5])
redis.call('ZADD', KEYS[1], ARGV[4], id)
for index = 3, #KEYS do
  redis.call('ZADD', KEYS[index], ARGV[4], id)
  redis.call('EXPIRE', KEYS[index], ARGV[5])
end
return 'new'
"""

SamePerson = Callable[[str, str], Awaitable[Set[str]]]
"""The authors that are the same person as an author, who writes in a space (as in `ThreadId`)."""


async def _nobody_else(author: str, space: str) -> Set[str]:
    return frozenset({author})


IsCurrent = Callable[[Mapping[str, float]], Awaitable[bool]]
"""Tells if messages have the wording still that a request answers, see `Record.questions`."""


async def _always(questions: Mapping[str, float]) -> bool:
    return True


Put = Callable[[Decision], Awaitable[str]]
"""Puts a decision into the inbox; returns `kept`, or `duplicate` when there was one before."""


@dataclass(frozen=True, slots=True)
class Approvals:
    """Implements `bot.chat.Requests`, and takes the decisions. Raises `StorageDown`.

    `approvers` are authors as in `Message`. A request expires after `hours`. With `four_eyes` nobody approves
    what they have asked for themselves.
    """

    redis: Redis
    put: Put
    approvers: Set[str]
    hours: float
    four_eyes: bool
    people: SamePerson = _nobody_else
    is_current: IsCurrent = _always

    async def ask(self, turn: Turn, proposal: Proposal) -> Approval | None:
        """See `bot.chat.Requests`."""
        now = time.time()
        expires_at = now + self.hours * 3600
        askers = askers_of(turn)
        people = await self._same(askers, turn.thread)
        before = await self._read(turn.decision.request) if turn.decision else None
        approval = Approval(
            id=proposal.id,
            title=proposal.title,
            action=proposal.action,
            language=proposal.language,
            effect=proposal.effect,
            expires_at=expires_at,
            approvers=tuple(sorted(set(self.approvers) - (people if self.four_eyes else set()))),
            asked_in=turn.id,
            askers=askers,
            names={**(before.approval.names if before else {}), **_names(turn)},
        )
        record = Record(
            approval,
            proposal,
            turn.thread,
            askers,
            turn.messages[-1].place,
            turn.direct,
            sorted(people),
            before.questions if before else _questions(turn),
        )
        with storage_errors():
            outcome: Any = await self.redis.register_script(_ASK)(
                keys=[_OPEN, _key(approval.id), *map(_open_of, record.people)],
                args=[
                    approval.id,
                    record.to_json(),
                    now,
                    expires_at,
                    round(self.hours * 3600) + _KEPT_SECONDS,
                    MOST_OPEN,
                ],
            )
        if outcome == b"refused":
            log.info("approval request refused", extra={"request": approval.id, "open": MOST_OPEN})
            return None
        if outcome == b"new":
            log.info("approval requested", extra={"request": approval.id, "tool": proposal.tool})
        kept = await self._read(approval.id) or record
        if kept.is_open:
            await self._take_back_if_outdated(kept)
        return kept.approval

    async def _take_back_if_outdated(self, record: Record) -> None:
        """Reject what answers a wording that is gone: `withdraw` may have looked too early."""
        with storage_errors():
            is_current = await self.is_current(record.questions)
        if not is_current:
            reason = "the question was edited or deleted"
            await self._settle(record, record.decision("rejected", record.askers[0], reason))

    async def _same(self, askers: Sequence[str], thread: ThreadId) -> set[str]:
        """Those who have asked, under all the names that they have linked."""
        return set().union(*[await self.people(asker, thread.space) for asker in askers])

    async def note_shown(self, id: str, threads: Sequence[ThreadId]) -> None:
        """Note the threads that show a request besides the one that asks: words decide there, too."""
        if not threads:
            return
        with storage_errors():
            async with self.redis.pipeline(transaction=True) as step:
                step.hset(_key(id), "shown", json.dumps([str(each) for each in threads]))
                step.expire(_key(id), round(self.hours * 3600) + _KEPT_SECONDS, nx=True)
                await step.execute()

    async def find(self, id: str) -> tuple[Approval, Proposal] | None:
        """See `bot.chat.Requests`."""
        record = await self._read(id)
        return (record.approval, record.proposal) if record else None

    async def decide(self, id: str, by: str, *, approve: bool, reason: str = "", name: str = "") -> Decided:
        """See `bot.commands.commands.Decide`. Who has asked may always take the request back."""
        record = await self._read(id)
        if record is None:
            return await nothing_waits(id, by, approve=approve)
        reason, name = well_formed(reason), well_formed(name)
        return await self._decided(record, by, approve=approve, reason=reason, name=name)

    async def decide_in_words(self, order: TypedDecision, message: Message) -> str:
        """See `bot.commands.commands.DecideInWords`."""
        record = await self._read(order.request)
        if record is None:
            return await nothing_waits_in_words(order, message)
        by = message.author
        if record.is_open and not await self._refusal(record, by, order.approve):
            word = ""
            is_above = record.is_shown_in(message.thread)
            if not record.is_seen_by(message):
                word = await self._word(order.request, message)
                confirmed = order.confirmed(word)
                if confirmed is None:
                    return replies.read_back(record.approval, order, word, is_above=is_above)
                order = confirmed
            if order.reason is None:
                return replies.read_back(record.approval, order, word, is_above=is_above)
        reason, name = order.reason or "", message.author_name
        return (await self._decided(record, by, approve=order.approve, reason=reason, name=name)).words

    async def _word(self, id: str, message: Message) -> str:
        """The word that confirms a decision of this person in this place, where the request is not shown.

        By chance: whoever knows it has been shown the request by us, and no text of others can hold it.
        """
        thread = message.thread
        # in a direct message on Slack each message begins a thread of its own
        place = replace(thread, thread="") if message.direct else thread
        field = f"word {message.author} {place}"
        with storage_errors():
            async with self.redis.pipeline(transaction=True) as step:
                step.hsetnx(_key(id), field, f"{secrets.randbelow(10_000):04}")
                step.hget(_key(id), field)
                step.expire(_key(id), _KEPT_SECONDS, nx=True)  # it may have been forgotten just now
                _, word, _ = await step.execute()
        return str(word.decode())

    async def _decided(self, record: Record, by: str, *, approve: bool, reason: str, name: str) -> Decided:
        if record.approval.state != "asked":
            if by not in self.approvers and by not in record.askers:
                return await nothing_waits(record.approval.id, by, approve=approve)
            return Decided(replies.too_late(record.approval), record.thread)
        if refusal := await self._refusal(record, by, approve):
            return Decided(refusal)
        if record.approval.expires_at <= time.time():
            return await self._settle(record, record.decision("expired"))
        verdict: Verdict = "approved" if approve else "rejected"
        return await self._settle(record, record.decision(verdict, by, reason, name))

    async def _refusal(self, record: Record, by: str, approve: bool) -> str:
        if not approve and by in record.askers:
            return ""
        if self.four_eyes:
            # those of then, too: an account that is unlinked meanwhile does not become somebody else's
            same = await self._same(record.askers, record.thread)
            if by in same.union(record.people):
                return replies.refusal_of_asker(record.approval)
        if by not in self.approvers:
            return replies.refusal(record.approval)
        return ""

    async def _settle(self, record: Record, decision: Decision) -> Decided:
        with storage_errors():
            outcome = await self.put(decision)
        if outcome != "kept":  # somebody was faster by a moment
            found = await self._read(record.approval.id)
            approval = found.approval if found else record.approval
            return Decided(replies.too_late(approval), record.thread)
        log.info(
            "request decided",
            extra={"request": decision.request, "verdict": decision.verdict, "by": decision.by},
        )
        approval = decided(record.approval, decision)
        await self.note(approval)
        return Decided(replies.taken(approval), record.thread)

    async def note(self, approval: Approval) -> None:
        """Keep what was decided of a request, which is open no more."""
        record = await self._read(approval.id)
        if record is None:
            return
        fields = {name: getattr(approval, name) for name in ("state", "by", "reason", "names")}
        with storage_errors():
            async with self.redis.pipeline(transaction=True) as step:
                step.hset(_key(approval.id), "decided", json.dumps(fields))
                self._close(step, record)
                await step.execute()

    @staticmethod
    def _close(step: Any, record: Record) -> None:
        for key in (_OPEN, *map(_open_of, record.people)):
            step.zrem(key, record.approval.id)

    async def _read(self, id: str) -> Record | None:
        """Return what is known of a request; None also for one that cannot be read.

        One of another version must not keep others from being decided, taken back or forgotten.
        """
        with storage_errors():
            fields: Any = await self.redis.hmget(_key(id), ["request", "decided", "shown"])
        try:
            return Record.from_json(*fields) if fields[0] else None
        except (KeyError, TypeError, ValueError):
            log.exception("request cannot be read", extra={"request": id})
            return None

    async def keep_expiring(self) -> None:
        """Decide what nobody has decided in time, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.expire()
            except StorageDown as error:
                log.info("no look for expired requests", extra={"error": str(error)})

    async def expire(self) -> int:
        """Do so once; returns how many there were. Several processes may do it at once."""
        with storage_errors():
            due: Any = await self.redis.zrangebyscore(_OPEN, "-inf", time.time(), start=0, num=100)
        for id in (each.decode() for each in due):
            record = await self._read(id)
            if record and record.approval.state == "asked":
                await self._settle(record, record.decision("expired"))
            with storage_errors():
                await self.redis.zrem(_OPEN, id)
        return len(due)

    async def withdraw(self, message_id: str, reason: str, *, before: float = math.inf) -> None:
        """Reject what was asked for in answer to a wording of a message from `before` a time.

        An edit may be reported again at any time, and must not reject what its answer has asked for.
        """
        for record in await self._waiting():
            if record.questions.get(message_id, math.inf) < before:
                await self._settle(record, record.decision("rejected", record.askers[0], reason))

    async def waits_for(self, by: str, thread: str) -> bool:
        """Tell if a request that `by` can approve waits in the thread of that name."""
        if by not in self.approvers:
            return False
        return any(
            str(each.thread) == thread and by in each.approval.approvers for each in await self._waiting()
        )

    async def _waiting(self) -> Sequence[Record]:
        with storage_errors():
            open_ids: Any = await self.redis.zrange(_OPEN, 0, -1)
        records = [await self._read(each.decode()) for each in open_ids]
        return [each for each in records if each and each.approval.state == "asked"]

    async def forget(self, authors: Sequence[str]) -> None:
        """Remove the requests that these have made, alone or with others; nobody can decide them any more."""
        for record in await self._asked_by(authors):
            with storage_errors():
                async with self.redis.pipeline(transaction=True) as step:
                    step.unlink(_key(record.approval.id))
                    self._close(step, record)
                    await step.execute()

    async def tell(self, authors: Sequence[str]) -> Json:
        """The requests that these have made, as JSON."""
        return [asdict(each.approval) for each in await self._asked_by(authors)]

    async def _asked_by(self, authors: Sequence[str]) -> Sequence[Record]:
        with storage_errors():
            keys = [key async for key in self.redis.scan_iter(match=_key("*"))]
        records = [await self._read(key.decode().rpartition(":")[2]) for key in keys]
        return [each for each in records if each and not set(each.askers).isdisjoint(authors)]

    async def health(self) -> Health:
        """Return how many requests wait for a decision, and who can decide them. Never raises."""
        try:
            with storage_errors():
                waiting = await self.redis.zcard(_OPEN)
                next_due: Any = await self.redis.zrange(_OPEN, 0, 0, withscores=True)
        except StorageDown:
            return Health(name="approvals", state="down", evidence={"error": "redis does not answer"})
        evidence: dict[str, Json] = {"waiting": waiting, "approvers": len(self.approvers)}
        if next_due:
            evidence["next_expires_in_s"] = round(next_due[0][1] - time.time())
        return Health(name="approvals", state="ok" if self.approvers else "off", evidence=evidence)


def _questions(turn: Turn) -> Mapping[str, float]:
    return {each.corrects or each.id: each.edited_at for each in turn.messages}


def _names(turn: Turn) -> Mapping[str, str]:
    return {each.author: each.author_name for each in turn.messages if each.author_name}


def _key(id: str) -> str:
    return f"{{bot}}:approval:{id}"


def _open_of(author: str) -> str:
    return f"{_OPEN}:of:{author}"
