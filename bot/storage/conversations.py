"""Conversations of users in Redis. Idle ones expire with their memory; bounds are enforced with some slack.

conversations:<owner>           sorted set: ids of threads, by the time of the last question
conversations:<owner>:titles    hash: title by id
conversations:<owner>:deleted   sorted set: ids of deleted threads, which are not in the list, as there
conversations:deleted           sorted set: those of all owners, as JSON [platform, space, channel], by the
                                end of the time to restore them
conversation:<thread>           hash: `q:<message>` and `a:<turn>` are entries as JSON, `revision` is a number
conversation:<thread>:order     list: for each question its id, a line break, and its first words for searches
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from bot.chat import Author, ConversationTitle, Json, StoredEntry, ThreadId, Transcript, well_formed
from bot.chat.text import one_line
from bot.storage.errors import storage_errors

MOST_TITLE_CHARS = 80
_MOST_WORDS = 200
_SEARCHED_QUESTIONS = 10
"""Questions of a conversation that a search looks at, the oldest ones."""

_ALL_DELETED = "{bot}:conversations:deleted"
_SLACK = 1.05
"""Bounds are enforced when they are exceeded by this much, so that few questions pay for it."""

_DAY = 86_400
_MOST_KEPT = 1_000
"""Most conversations of which this process knows that their keys live long enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of the conversations of one owner. Tests pass others."""

    conversations: int = 1_000
    """Most conversations in the list."""

    questions: int = 200
    """Most questions of one conversation that are kept, with their answers."""

    read_chars: int = 2_000_000
    """Most characters of the newest questions and answers that are read at once: JSON keeps the loop busy."""

    undo_seconds: float = 300.0
    """Time within which a deleted conversation can be restored."""


# KEYS list titles | ARGV oldest most
_DROP = """
for _, range in ipairs({{'ZRANGEBYSCORE', '-inf', ARGV[1]}, {'ZRANGE', 0, -ARGV[2] - 1}}) do
  for _, gone in ipairs(redis.call(range[1], KEYS[1], range[2], range[3])) do
    redis.call('ZREM', KEYS[1], gone)
    redis.call('HDEL', KEYS[2], gone)
  end
end
"""

# KEYS entries order | ARGV most
_TRIM = """
for _, question in ipairs(redis.call('LRANGE', KEYS[2], 0, -ARGV[1] - 1)) do
  local id = string.match(question, '^[^\\n]*')
  redis.call('HDEL', KEYS[1], 'q:' .. id, 'a:' .. id)
end
redis.call('LTRIM', KEYS[2], -ARGV[1], -1)
redis.call('HINCRBY', KEYS[1], 'revision', 1)
"""

# KEYS entries order | ARGV message entry question revision
_REPLACE = """
local field, start = 'q:' .. ARGV[1], ARGV[1] .. '\\n'
if redis.call('HEXISTS', KEYS[1], field) == 0 then return end
redis.call('HSET', KEYS[1], field, ARGV[2], 'revision', ARGV[4])
for i, question in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  if string.sub(question, 1, #start) == start then redis.call('LSET', KEYS[2], i - 1, ARGV[3]) end
end
"""

# KEYS list titles entries | ARGV id title -> 0 there is none | 1
_RENAME = """
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('HINCRBY', KEYS[3], 'revision', 1) end
return 1
"""

# KEYS list deleted all_deleted | ARGV id member until ttl -> 0 there is none | 1
_DELETE = """
if redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 1 end
local at = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not at then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[2], at, ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[4])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[2])
return 1
"""

# KEYS list deleted all_deleted | ARGV id member now ttl -> 0 too late, or there is none | 1
_RESTORE = """
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 1 end
local at, ends = redis.call('ZSCORE', KEYS[2], ARGV[1]), redis.call('ZSCORE', KEYS[3], ARGV[2])
if not at or not ends or tonumber(ends) <= tonumber(ARGV[3]) then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[2])
redis.call('ZADD', KEYS[1], at, ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
"""

# KEYS list titles deleted all_deleted entries order | ARGV id member
_REMOVE = """
redis.call('ZREM', KEYS[3], ARGV[1])
if redis.call('ZREM', KEYS[4], ARGV[2]) == 0 then return end
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return end
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[5], KEYS[6])
"""


class RedisConversations:
    """Implements `bot.chat.ConversationStore`, and `PersonalDataSource` for them."""

    name = "conversations"

    def __init__(self, redis: Redis, ttl_days: int, limits: Limits = Limits()) -> None:
        self._redis = redis
        self._limits = limits
        self._ttl_seconds = ttl_days * _DAY
        self._kept: dict[ThreadId, int] = {}
        """Days on which this process has renewed the expiry of conversations."""
        self._drop = redis.register_script(_DROP)
        self._trim = redis.register_script(_TRIM)
        self._replace = redis.register_script(_REPLACE)
        self._rename = redis.register_script(_RENAME)
        self._delete = redis.register_script(_DELETE)
        self._restore = redis.register_script(_RESTORE)
        self._remove = redis.register_script(_REMOVE)

    async def add(self, thread: ThreadId, message: str, words: str, entry: str) -> None:
        """Add a question with its id; the first one is the title."""
        listed, titles, *_, entries, order = _keys(thread)
        now = time.time()
        today = int(now // _DAY)
        is_kept = self._kept.get(thread) == today
        with storage_errors():
            async with self._redis.pipeline(transaction=False) as step:
                step.hsetnx(entries, f"q:{message}", entry)
                step.rpush(order, _question(message, words))
                step.zadd(listed, {thread.channel: now})
                if not is_kept:
                    self._keep(step, thread, words)
                is_first, questions, is_new, *kept = await step.execute()
            if not is_first:  # a repeated request: its question is there twice now
                await self._redis.lrem(order, -1, _question(message, words))
                questions -= 1
            if is_new and is_kept:  # it was deleted meanwhile
                async with self._redis.pipeline(transaction=False) as step:
                    self._keep(step, thread, words)
                    kept = await step.execute()
            if kept and kept[-1] > self._limits.conversations * _SLACK:
                oldest = now - self._ttl_seconds
                await self._drop(keys=[listed, titles], args=[oldest, self._limits.conversations])
            if questions > self._limits.questions * _SLACK:
                await self._trim(keys=[entries, order], args=[self._limits.questions])
        self._kept[thread] = today
        if len(self._kept) > _MOST_KEPT:
            del self._kept[next(iter(self._kept))]

    def _keep(self, step: Pipeline, thread: ThreadId, words: str) -> None:
        """Name a conversation, restore it, and renew its expiry; count those of its owner."""
        listed, titles, deleted, of_all, entries, order = _keys(thread)
        step.hsetnx(titles, thread.channel, one_line(well_formed(words), MOST_TITLE_CHARS))
        step.zrem(deleted, thread.channel)
        step.zrem(of_all, _member(thread))
        for each in (listed, titles, entries, order):
            step.expire(each, self._ttl_seconds + _DAY)
        step.zcard(listed)

    async def replace(self, thread: ThreadId, message: str, words: str, entry: str) -> None:
        """Replace a question, if it is still kept."""
        *_, entries, order = _keys(thread)
        args: list[str | int] = [message, entry, _question(message, words), time.time_ns()]
        with storage_errors():
            await self._replace(keys=[entries, order], args=args)

    def ending(self, thread: ThreadId, turn: str, entry: str) -> StoredEntry:
        """Return the entry of an answer, for the step that ends its turn."""
        return StoredEntry(_entries(thread), f"a:{turn}", entry, time.time_ns())

    async def find(self, thread: ThreadId) -> Transcript | None:
        """Return a conversation, or None if there is none, or it is deleted."""
        listed, titles, _, _, entries, order = _keys(thread)
        with storage_errors():
            async with self._redis.pipeline(transaction=True) as step:
                step.zscore(listed, thread.channel)
                step.hget(titles, thread.channel)
                step.hgetall(entries)
                step.lrange(order, -self._limits.questions, -1)
                at, title, stored, asked = await step.execute()
        if at is None or time.time() - at > self._ttl_seconds:
            return None
        ids = list(
            dict.fromkeys(each.partition(b"\n")[0] for each in asked)
        )  # a repeated request is there twice
        questions = _newest(stored, ids, self._limits.read_chars)
        dropped = {b"a:" + id for id in ids if id.decode() not in questions}
        answers = {
            key[2:].decode(): value.decode()
            for key, value in stored.items()
            if key.startswith(b"a:") and key not in dropped
        }
        return Transcript((title or b"").decode(), at, questions, answers, len(questions) < len(ids))

    async def revision(self, thread: ThreadId) -> str | None:
        """Return a text that changes with each change of a conversation, or None as `find` does."""
        listed, *_, entries, order = _keys(thread)
        with storage_errors():
            async with self._redis.pipeline(transaction=True) as step:
                step.zscore(listed, thread.channel)
                step.llen(order)
                step.hget(entries, "revision")
                at, length, number = await step.execute()
        return None if at is None else f"{length}-{int(number or 0)}"

    async def titles(
        self, owner: ThreadId, words: str, before: float | None, limit: int
    ) -> Sequence[ConversationTitle]:
        """Return the newest conversations with these words in the title or in a question."""
        listed, titles, *_ = _keys(owner)
        newest = "+inf" if before is None else f"({before}"
        oldest = time.time() - self._ttl_seconds
        with storage_errors():
            async with self._redis.pipeline(transaction=True) as step:
                step.zrevrangebyscore(listed, newest, oldest, withscores=True)
                step.hgetall(titles)
                known, named = await step.execute()
            threads = [_thread(owner, id) for id, _ in known]
            asked = await self._first_words(threads) if words else [b""] * len(threads)
        found = [
            ConversationTitle(thread, _text(named.get(id, b"")), at)
            for thread, (id, at), beginning in zip(threads, known, asked, strict=True)
            if _has(words, named.get(id, b""), beginning)
        ]
        return found[:limit]

    async def _first_words(self, threads: Sequence[ThreadId]) -> Sequence[bytes]:
        async with self._redis.pipeline(transaction=False) as step:
            for each in threads:
                step.lrange(_keys(each)[-1], 0, _SEARCHED_QUESTIONS - 1)
            found = await step.execute()
        return [b"\n".join(each.partition(b"\n")[2] for each in asked) for asked in found]

    async def rename(self, thread: ThreadId, title: str) -> bool:
        """Set the title; return False if there is no such conversation."""
        listed, titles, *_, entries, _ = _keys(thread)
        named = one_line(well_formed(title), MOST_TITLE_CHARS)
        with storage_errors():
            return bool(await self._rename(keys=[listed, titles, entries], args=[thread.channel, named]))

    async def delete(self, thread: ThreadId, *, restores: bool = False) -> bool:
        """Delete a conversation, or restore it; return False if that is not possible any more."""
        listed, _, deleted, of_all, *_ = _keys(thread)
        script, seconds = (self._restore, 0.0) if restores else (self._delete, self._limits.undo_seconds)
        until, ttl = time.time() + seconds, self._ttl_seconds + _DAY
        with storage_errors():
            return bool(
                await script(
                    keys=[listed, deleted, of_all], args=[thread.channel, _member(thread), until, ttl]
                )
            )

    async def expired(self) -> Sequence[ThreadId]:
        """Return deleted conversations that cannot be restored any more."""
        with storage_errors():
            due: Any = await self._redis.zrangebyscore(_ALL_DELETED, "-inf", time.time(), 0, 100)
        return [ThreadId(*json.loads(each)) for each in due]

    async def remove(self, thread: ThreadId) -> None:
        """Remove a deleted conversation, unless it was restored meanwhile."""
        with storage_errors():
            await self._remove(keys=_keys(thread), args=[thread.channel, _member(thread)])

    async def export(self, user: Sequence[Author]) -> Mapping[str, Json]:
        """Return the titles and the questions of a user with the answers."""
        shown: list[Json] = []
        for owner in map(_owner, user):
            for each in await self.titles(owner, "", None, self._limits.conversations):
                found = await self.find(each.thread)
                entries = [*found.questions.values(), *found.answers.values()] if found else []
                shown.append({"title": each.title, "entries": [json.loads(entry) for entry in entries]})
        return {"listed_conversations": shown}

    async def erase(self, user: Sequence[Author]) -> None:
        """Remove all conversations of a user, also the deleted ones."""
        for owner in map(_owner, user):
            listed, titles, deleted, *_ = _keys(owner)
            with storage_errors():
                ids: Any = await self._redis.zunion([listed, deleted])
                for thread in (_thread(owner, each) for each in ids):
                    *_, entries, order = _keys(thread)
                    await self._redis.delete(entries, order)
                    await self._redis.zrem(_ALL_DELETED, _member(thread))
                await self._redis.delete(listed, titles, deleted)


def _keys(thread: ThreadId) -> list[str]:
    """Return the keys of a conversation, those of its owner first."""
    base = f"{{bot}}:conversations:{':'.join(str(thread).split(':')[:2])}"
    entries = _entries(thread)
    return [
        base,
        f"{base}:titles",
        f"{base}:deleted",
        _ALL_DELETED,
        entries,
        f"{entries}:order",
    ]


def _question(message: str, words: str) -> str:
    """Return what the list of questions has of one."""
    return f"{message}\n{one_line(well_formed(words), _MOST_WORDS).casefold()}"


def _entries(thread: ThreadId) -> str:
    return f"{{bot}}:conversation:{thread}"


def _member(thread: ThreadId) -> str:
    return json.dumps([thread.platform, thread.space, thread.channel])


def _owner(author: Author) -> ThreadId:
    platform, _, name = author.id.partition(":")
    return ThreadId(platform, author.space or name, "")


def _thread(owner: ThreadId, id: bytes) -> ThreadId:
    return ThreadId(owner.platform, owner.space, _text(id))


def _newest(stored: Mapping[bytes, bytes], ids: Sequence[bytes], most_chars: int) -> dict[str, str]:
    """Return the newest questions, in their order, that are not too long together with their answers."""
    chars, kept = 0, list[bytes]()
    for id in reversed(ids):
        chars += len(stored.get(b"q:" + id, b"")) + len(stored.get(b"a:" + id, b""))
        if kept and chars > most_chars:
            break
        kept.append(id)
    found = {id: stored.get(b"q:" + id) for id in reversed(kept)}
    return {id.decode(): entry.decode() for id, entry in found.items() if entry is not None}


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _has(words: str, title: bytes, asked: bytes) -> bool:
    """Return whether each of the words is in the title or in the questions."""
    text = f"{_text(title).casefold()}\n{_text(asked)}"
    return all(each in text for each in words.casefold().split())
