"""Storage of answers in Redis: votes for 90 days, details of answers for as long, or a week without votes.

answer:<id>        string: details of an answer, which the inbox stores with the end of its turn
feedback:<id>      hash: votes as `vote <author>`, reasons as `reason <author>`, the time of the first vote as
                   `since`, and `nameless`, the number of votes whose author was forgotten: theirs are
                   `vote <number>`
rated              sorted set: ids of answers with votes, by the time of their newest one
rated:by:<author>  sorted set: ids of the answers with a vote of a user, by the time of that vote
rated:<day>        hash: number of votes by their kind, on the day when each was given
"""

import json
import logging
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast

from redis.asyncio import Redis

from bot.chat import AnswerDetails, Json, Space, StoredDetails, Vote
from bot.storage.errors import storage_errors

log = logging.getLogger(__name__)

KEPT_SECONDS = 90 * 86_400

UNRATED_SECONDS = 7 * 86_400
"""Seconds for which the details of an answer without votes are kept: most answers have none."""

_RATED = "{bot}:rated"

# A press may be repeated, and its answer lost: the same vote again changes nothing. A reason belongs to a
# vote, and goes with it. The day of each vote is stored with it, so that a changed vote counts once.
# An answer takes votes for a time after its first one, and all of them are gone after twice that time: so
# long do users find theirs, whoever votes after them. Votes without the time `since` are those of an earlier
# version, which renewed the entries of all their users with each vote.
# An answer that grows has no details yet: an empty value keeps the time for them.
# KEYS feedback details rated | ARGV prefix_of_rated author vote at day kept answer reason
# -> new | changed | same | late
RATE = """
local field, reason, at, kept = 'vote ' .. ARGV[2], 'reason ' .. ARGV[2], ARGV[4], tonumber(ARGV[6])
local known, since = unpack(redis.call('HMGET', KEYS[1], field, 'since'))
if since and at - since > kept then return 'late' end
local function count(day, vote, number)
  local key = ARGV[1] .. day
  if number < 0 and redis.call('HEXISTS', key, vote) == 0 then return end
  redis.call('HINCRBY', key, vote, number)
  redis.call('EXPIRE', key, kept)
end
local function list(key, seconds)
  redis.call('ZADD', key, 'GT', at, ARGV[7])
  redis.call('ZREMRANGEBYSCORE', key, '-inf', at - seconds)
  redis.call('EXPIRE', key, seconds)
end
local function renew()
  redis.call('EXPIRE', KEYS[1], kept)
  if redis.call('EXPIRE', KEYS[2], kept) == 0 then redis.call('SET', KEYS[2], '', 'EX', kept) end
  list(KEYS[3], kept)
  for _, name in ipairs(since and {field} or redis.call('HKEYS', KEYS[1])) do
    local author = string.match(name, '^vote (%D.*)$')
    if author then list(ARGV[1] .. 'by:' .. author, 2 * kept) end
  end
end
local outcome = 'new'
if known then
  local vote, day = string.match(known, '^(%a+) %S+ (%S+)$')
  outcome = vote == ARGV[3] and 'same' or 'changed'
  if outcome == 'changed' then
    count(day, vote, -1)
    redis.call('HDEL', KEYS[1], reason)
  end
end
if outcome ~= 'same' then
  redis.call('HSET', KEYS[1], field, ARGV[3] .. ' ' .. at .. ' ' .. ARGV[5], 'since', since or at)
  count(ARGV[5], ARGV[3], 1)
  renew()
end
if ARGV[8] ~= '' then redis.call('HSET', KEYS[1], reason, ARGV[8]) end
return outcome
"""

# The vote stays, without its author and without the reason.
# KEYS feedback rated_by_author | ARGV author answer -> 1 | 0 there is no vote of theirs
_FORGET = """
redis.call('ZREM', KEYS[2], ARGV[2])
local field = 'vote ' .. ARGV[1]
local vote = redis.call('HGET', KEYS[1], field)
if not vote then return 0 end
redis.call('HDEL', KEYS[1], field, 'reason ' .. ARGV[1])
redis.call('HSET', KEYS[1], 'vote ' .. redis.call('HINCRBY', KEYS[1], 'nameless', 1), vote)
return 1
"""


@dataclass(frozen=True, slots=True)
class Feedback:
    """Vote of one user on one answer; `by` is the author, empty once they are forgotten."""

    answer: str
    by: str
    vote: Vote
    at: float
    reason: str = ""


RateOutcome = Literal["new", "changed", "same", "late"]


@dataclass(frozen=True, slots=True)
class AnswerStore:
    """Details and votes. All methods raise `StorageDown`."""

    redis: Redis

    def details_value(
        self, answer: str, details: AnswerDetails, *, has_failed: bool = False
    ) -> StoredDetails:
        """Return the details of an answer as they are stored."""
        text = json.dumps(details.to_json(), ensure_ascii=False, separators=(",", ":"))
        stands = "" if has_failed else answer
        return StoredDetails(_details_key(answer), text, UNRATED_SECONDS, stands)

    async def details(self, answer: str) -> AnswerDetails | None:
        """Return the details of an answer, or None if they are unknown, too old or of another version."""
        with storage_errors():
            stored: Any = await self.redis.get(_details_key(answer))
        return _read_details(answer, stored)

    async def rate(
        self, answer: str, author: str, vote: Vote, reason: str = "", *, at: float | None = None
    ) -> RateOutcome:
        """Store the vote of a user in place of an earlier one, with a reason if there is one. Idempotent.

        It is `late`, and not stored, if the first vote on the answer is older than votes are kept.
        """
        now = time.time() if at is None else at
        with storage_errors():
            outcome: Any = await self.redis.register_script(RATE)(
                keys=[_feedback_key(answer), _details_key(answer), _RATED],
                args=[f"{_RATED}:", author, vote, f"{now:.3f}", _day(now), KEPT_SECONDS, answer, reason],
            )
        return cast("RateOutcome", outcome.decode())

    async def has_vote(self, answer: str, author: str) -> bool:
        """Return whether a user has voted on an answer."""
        with storage_errors():
            known: Any = await self.redis.hexists(_feedback_key(answer), f"vote {author}")
        return bool(known)

    async def count(self, day: str) -> Mapping[Vote, int]:
        """Return the number of votes that were given on a day (ISO date), by kind."""
        with storage_errors():
            counted: Any = await self.redis.hgetall(f"{_RATED}:{day}")
        numbers = {each.decode(): int(number) for each, number in counted.items()}
        return {"up": numbers.get("up", 0), "down": numbers.get("down", 0)}

    async def all_feedback(self) -> AsyncIterator[Feedback]:
        """Yield all votes, answer by answer, the oldest first."""
        for answer in await self._rated():
            with storage_errors():
                fields: Any = await self.redis.hgetall(_feedback_key(answer))
            for each in sorted(_read_votes(answer, fields), key=lambda each: each.at):
                yield each

    async def newest(self, answers: int) -> Sequence[Feedback]:
        """Return the votes on so many answers, those with the newest votes, the newest first."""
        with storage_errors():
            rated: Any = await self.redis.zrange(_RATED, 0, answers - 1, desc=True)
            async with self.redis.pipeline(transaction=False) as pipeline:
                for answer in rated:
                    pipeline.hgetall(_feedback_key(answer.decode()))
                found = await pipeline.execute() if rated else []
        votes = [_read_votes(answer.decode(), fields) for answer, fields in zip(rated, found, strict=True)]
        return sorted((each for of_one in votes for each in of_one), key=lambda each: -each.at)

    async def export(self) -> AsyncIterator[Mapping[str, Json]]:
        """Yield each vote as a JSON object, with the details of its answer while these are kept."""
        details: tuple[str, AnswerDetails | None] = ("", None)
        async for each in self.all_feedback():
            if each.answer != details[0]:
                details = each.answer, await self.details(each.answer)
            yield _exported(each, details[1])

    async def by(self, authors: Iterable[str]) -> list[Feedback]:
        """Return the votes of these authors, the oldest first."""
        theirs = [each for author in authors async for each in self._feedback_by(author)]
        return sorted(theirs, key=lambda each: each.at)

    async def count_by(self, author: str, most: int) -> Mapping[Vote, int]:
        """Return the number of an author's votes by their kind, of the `most` newest."""
        with storage_errors():
            rated: Any = await self.redis.zrange(_rated_by_key(author), -most, -1)
            async with self.redis.pipeline(transaction=False) as pipeline:
                for answer in rated:
                    pipeline.hget(_feedback_key(answer.decode()), f"vote {author}")
                votes = await pipeline.execute() if rated else []
        kinds = [vote.decode().partition(" ")[0] for vote in votes if vote]
        return {"up": kinds.count("up"), "down": kinds.count("down")}

    async def forget(self, authors: Sequence[str]) -> None:
        """Remove these authors from their votes, and their reasons."""
        forget = self.redis.register_script(_FORGET)
        for author in authors:
            for answer in await self._rated(_rated_by_key(author)):
                with storage_errors():
                    await forget(keys=[_feedback_key(answer), _rated_by_key(author)], args=[author, answer])

    async def erase_space(self, space: Space) -> None:
        """Remove the details of the answers in a space, and the votes on them."""
        with storage_errors():
            keys = [key.decode() async for key in self.redis.scan_iter(match=_details_key("*"))]
        for answer in [key.rpartition(":")[2] for key in keys]:
            details = await self.details(answer)
            if details is None or not space.has(str(details.thread)):
                continue
            with storage_errors():
                await self.redis.zrem(_RATED, answer)
                await self.redis.delete(_feedback_key(answer), _details_key(answer))

    async def _feedback_by(self, author: str) -> AsyncIterator[Feedback]:
        for answer in await self._rated(_rated_by_key(author)):
            names = [f"vote {author}", f"reason {author}"]
            with storage_errors():
                values: Any = await self.redis.hmget(_feedback_key(answer), names)
            fields = {name.encode(): value for name, value in zip(names, values, strict=True) if value}
            for each in _read_votes(answer, fields):
                yield each

    async def _rated(self, key: str = _RATED) -> list[str]:
        with storage_errors():
            rated: Any = await self.redis.zrange(key, 0, -1)
        return [each.decode() for each in rated]


def _details_key(answer: str) -> str:
    return f"{{bot}}:answer:{answer}"


def _feedback_key(answer: str) -> str:
    return f"{{bot}}:feedback:{answer}"


def _rated_by_key(author: str) -> str:
    return f"{_RATED}:by:{author}"


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def _read_details(answer: str, stored: bytes | None) -> AnswerDetails | None:
    try:
        return AnswerDetails.from_json(json.loads(stored)) if stored else None
    except (KeyError, TypeError, ValueError):
        log.exception("details of answer unreadable", extra={"answer": answer})
        return None


def _exported(feedback: Feedback, details: AnswerDetails | None) -> dict[str, Json]:
    about = details and {
        "reference": details.reference,
        # that of a forgotten user may be their own direct messages
        "thread": str(details.thread) if feedback.by else None,
        "ended_at": _time(details.at),
        "seconds": details.seconds,
        "attempts": details.attempts,
        "models": {name: asdict(each) for name, each in details.models.items()},
        "tools": {name: asdict(each) for name, each in details.tools.items()},
    }
    return {
        "answer": feedback.answer,
        "vote": feedback.vote,
        "at": _time(feedback.at),
        "by": feedback.by or None,
        "reason": feedback.reason or None,
        "details": about,
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _read_votes(answer: str, fields: Mapping[bytes, bytes]) -> list[Feedback]:
    texts = {field.decode(): value.decode() for field, value in fields.items()}
    votes = []
    for field, stored in texts.items():
        kind, _, author = field.partition(" ")
        if kind != "vote":
            continue
        vote, at, _ = stored.split(" ")
        by = "" if author.isdecimal() else author
        votes.append(Feedback(answer, by, cast("Vote", vote), float(at), texts.get(f"reason {author}", "")))
    return votes
