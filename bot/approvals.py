"""Leave to do what the bot may not do by itself: asked once, decided once, by somebody who may.

What decides is the inbox: a decision is a message with the request's own name, so that of two that are made
at once, wherever and by whomever, the second is a duplicate. The record here tells who may decide, and later
what was decided.
"""

import asyncio
import json
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from bot.chat import Approval, Decision, Health, Json, Proposal, StorageDown, ThreadId, Turn, Verdict
from bot.commands import MOST_NAMES, Decided, nothing_waits

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
"""Between two looks for requests that nobody has decided in time."""

_KEPT_SECONDS = 7 * 86_400
"""How long a request is known after its time was over, for those who press an old button."""

_OPEN = "{bot}:approvals"
SamePerson = Callable[[str, str], Awaitable[Set[str]]]
"""The authors that are the same person as an author, who writes in a space (as in `ThreadId`)."""


async def _nobody_else(author: str, space: str) -> Set[str]:
    return frozenset({author})


Put = Callable[[Decision], Awaitable[str]]
"""Puts a decision into the inbox; returns `kept`, or `duplicate` when there was one before."""


@dataclass(frozen=True, slots=True)
class _Record:
    approval: Approval
    proposal: Proposal
    thread: ThreadId
    askers: Sequence[str]
    place: Mapping[str, str]
    direct: bool

    def decision(self, verdict: Verdict, by: str = "", reason: str = "") -> Decision:
        return Decision(
            request=self.approval.id,
            verdict=verdict,
            at=time.time(),
            thread=self.thread,
            asker=self.askers[0],
            summary=f"{self.approval.title}: {self.approval.action}",
            place=self.place,
            direct=self.direct,
            by=by,
            reason=reason,
            askers=tuple(self.askers),
        )


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

    async def ask(self, turn: Turn, proposal: Proposal) -> Approval:
        """See `bot.chat.Requests`."""
        expires_at = time.time() + self.hours * 3600
        approval = Approval(
            id=proposal.id,
            title=proposal.title,
            action=proposal.action,
            language=proposal.language,
            effect=proposal.effect,
            expires_at=expires_at,
            approvers=tuple(sorted(await self._who_may(turn))),
            asked_in=turn.id,
        )
        newest = turn.messages[-1]
        record = _Record(approval, proposal, turn.thread, _askers(turn), newest.place, turn.direct)
        with _storage():
            async with self.redis.pipeline(transaction=True) as step:
                step.hsetnx(_key(approval.id), "request", json.dumps(asdict(record)))
                step.expire(_key(approval.id), round(self.hours * 3600) + _KEPT_SECONDS, nx=True)
                step.zadd(_OPEN, {approval.id: expires_at}, nx=True)
                is_new, *_ = await step.execute()
        if not is_new:
            found = await self._read(approval.id)
            return found.approval if found else approval
        log.info("leave asked", extra={"request": approval.id, "tool": proposal.tool})
        return approval

    async def _who_may(self, turn: Turn) -> set[str]:
        return set(self.approvers) - (
            await self._same(_askers(turn), turn.thread) if self.four_eyes else set()
        )

    async def _same(self, askers: Sequence[str], thread: ThreadId) -> set[str]:
        """Those who have asked, under all the names that they have linked."""
        return set().union(*[await self.people(asker, thread.space) for asker in askers])

    async def find(self, id: str) -> tuple[Approval, Proposal] | None:
        """See `bot.chat.Requests`."""
        record = await self._read(id)
        return (record.approval, record.proposal) if record else None

    async def decide(self, id: str, by: str, *, approve: bool, reason: str = "") -> Decided:
        """Decide a request for `by` (an author), if that is theirs to do and nobody was faster.

        Who has asked may always take the request back.
        """
        record = await self._read(id)
        if record is None:
            return await nothing_waits(id, by, approve=approve)
        if record.approval.state != "asked":
            return Decided(_too_late(record.approval), record.thread)
        if refusal := await self._refusal(record, by, approve):
            return Decided(refusal)
        if record.approval.expires_at <= time.time():
            return await self._settle(record, record.decision("expired"))
        verdict: Verdict = "approved" if approve else "rejected"
        return await self._settle(record, record.decision(verdict, by, reason))

    async def _refusal(self, record: _Record, by: str, approve: bool) -> str:
        if not approve and by in record.askers:
            return ""
        if self.four_eyes and by in await self._same(record.askers, record.thread):
            return "You have asked for this yourself, so somebody else has to approve it." + _ask(record)
        if by not in self.approvers:
            return "You may not decide this." + _ask(record)
        return ""

    async def _settle(self, record: _Record, decision: Decision) -> Decided:
        with _storage():
            outcome = await self.put(decision)
        if outcome != "kept":  # somebody was faster by a moment
            found = await self._read(record.approval.id)
            return Decided(_too_late(found.approval if found else record.approval), record.thread)
        log.info(
            "request decided",
            extra={"request": decision.request, "verdict": decision.verdict, "by": decision.by},
        )
        await self._note(decision)
        words = {"approved": "Approved.", "rejected": "Rejected.", "expired": "Too late: this has expired."}
        return Decided(words[decision.verdict], record.thread)

    async def _note(self, decision: Decision) -> None:
        fields = {"state": decision.verdict, "by": decision.by, "reason": decision.reason}
        with _storage():
            async with self.redis.pipeline(transaction=True) as step:
                step.hset(_key(decision.request), "decided", json.dumps(fields))
                step.zrem(_OPEN, decision.request)
                await step.execute()

    async def _read(self, id: str) -> _Record | None:
        with _storage():
            fields: Any = await self.redis.hmget(_key(id), ["request", "decided"])
        request, decided = fields
        if request is None:
            return None
        stored = json.loads(request)
        approval = stored["approval"] | {"approvers": tuple(stored["approval"]["approvers"])}
        return _Record(
            Approval(**approval | (json.loads(decided) if decided else {})),
            Proposal(**stored["proposal"]),
            ThreadId(**stored["thread"]),
            stored["askers"],
            stored["place"],
            stored["direct"],
        )

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
        with _storage():
            due: Any = await self.redis.zrangebyscore(_OPEN, "-inf", time.time(), start=0, num=100)
        for id in (each.decode() for each in due):
            try:
                record = await self._read(id)
            except (KeyError, TypeError, ValueError):  # of another version: it must not end the looking
                log.exception("a request cannot be read", extra={"request": id})
                record = None
            if record and record.approval.state == "asked":
                await self._settle(record, record.decision("expired"))
            with _storage():
                await self.redis.zrem(_OPEN, id)
        return len(due)

    async def withdraw(self, message_id: str, reason: str, *, before: float = math.inf) -> None:
        """Reject what was asked for, `before` a time, in answer to a message that is not as it was any more.

        An edit may be reported again at any time, and must not reject what its answer has asked for.
        """
        with _storage():
            open_ids: Any = await self.redis.zrange(_OPEN, 0, -1)
        for id in (each.decode() for each in open_ids):
            record = await self._read(id)
            if record is None or record.approval.state != "asked":
                continue
            asked_at = record.approval.expires_at - self.hours * 3600
            if record.approval.asked_in == message_id and asked_at < before:
                await self._settle(record, record.decision("rejected", record.askers[0], reason))

    async def forget(self, authors: Sequence[str]) -> None:
        """Remove the requests that these have made, alone or with others; nobody can decide them any more."""
        for id in [each.approval.id for each in await self._asked_by(authors)]:
            with _storage():
                await self.redis.unlink(_key(id))
                await self.redis.zrem(_OPEN, id)

    async def tell(self, authors: Sequence[str]) -> Json:
        """The requests that these have made, as JSON."""
        return [asdict(each.approval) for each in await self._asked_by(authors)]

    async def _asked_by(self, authors: Sequence[str]) -> Sequence[_Record]:
        with _storage():
            keys = [key async for key in self.redis.scan_iter(match=_key("*"))]
        records = [await self._read(key.decode().rpartition(":")[2]) for key in keys]
        return [each for each in records if each and not set(each.askers).isdisjoint(authors)]

    async def health(self) -> Health:
        """How many requests wait for a decision, and who may give it; never raises."""
        try:
            with _storage():
                waiting = await self.redis.zcard(_OPEN)
                next_due: Any = await self.redis.zrange(_OPEN, 0, 0, withscores=True)
        except StorageDown:
            return Health(name="approvals", state="down", evidence={"error": "redis does not answer"})
        evidence: dict[str, Json] = {"waiting": waiting, "approvers": len(self.approvers)}
        if next_due:
            evidence["next_expires_in_s"] = round(next_due[0][1] - time.time())
        return Health(name="approvals", state="ok" if self.approvers else "off", evidence=evidence)


def _askers(turn: Turn) -> tuple[str, ...]:
    """Who has asked; in a turn that a decision has begun, those who asked for what was decided."""
    return turn.decision.askers if turn.decision and turn.decision.askers else turn.authors


def _key(id: str) -> str:
    return f"{{bot}}:approval:{id}"


def _ask(record: _Record) -> str:
    names = record.approval.approvers[:MOST_NAMES]
    if not names:
        return " Nobody may at the moment: the bot's operator sets APPROVERS."
    return f" Ask one of these, who may: {', '.join(names)}."


def _too_late(approval: Approval) -> str:
    match approval.state:
        case "asked":
            return "This has just been decided."
        case "expired":
            return "This has expired before anybody decided it. Ask again."
        case verdict:
            return f"This was {verdict} already, by {approval.by}."


@contextmanager
def _storage() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise StorageDown(f"Redis did not answer: {error}") from error
