"""Conversations of users in Redis. Each has at most 1,000 in the list; idle ones expire with their memory.

conversations:<owner>           sorted set: ids of threads, by the time of the last question
conversations:<owner>:titles    hash: title by id
conversations:<owner>:words     hash: beginning of the questions by id, for searches
conversations:<owner>:deleted   sorted set: ids of deleted threads, by the end of the time to restore them
conversations:deleted           sorted set: the same of all owners, each as JSON [platform, space, channel]
conversation:<thread>           hash: `q:<message>` and `a:<turn>` are entries as JSON, `revision` is a number
conversation:<thread>:order     list: ids of the questions
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from bot.chat import Author, ConversationTitle, Json, StoredEntry, ThreadId, Transcript, well_formed
from bot.chat.text import one_line
from bot.storage.errors import storage_errors

MOST_TITLE_CHARS = 80
_MOST_WORDS = 2_000
_ALL_DELETED = "{bot}:conversations:deleted"


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


# KEYS list titles words deleted all_deleted entries order
# ARGV id member at ttl title words question entry replaces most most_questions most_words
_ADD = """
local id, ttl = ARGV[1], tonumber(ARGV[4])
redis.call('ZREM', KEYS[4], id)
redis.call('ZREM', KEYS[5], ARGV[2])
local question = 'q:' .. ARGV[7]
local is_new = redis.call('HSETNX', KEYS[6], question, ARGV[8]) == 1
if not is_new then
  if ARGV[9] == '0' then return end
  redis.call('HSET', KEYS[6], question, ARGV[8])
else
  if redis.call('RPUSH', KEYS[7], ARGV[7]) > tonumber(ARGV[11]) then
    local oldest = redis.call('LPOP', KEYS[7])
    redis.call('HDEL', KEYS[6], 'q:' .. oldest, 'a:' .. oldest)
  end
end
redis.call('HINCRBY', KEYS[6], 'revision', 1)
local known = redis.call('HGET', KEYS[3], id) or ''
if #known < tonumber(ARGV[12]) then redis.call('HSET', KEYS[3], id, known .. ARGV[6]) end
if redis.call('ZADD', KEYS[1], ARGV[3], id) == 1 then
  redis.call('HSETNX', KEYS[2], id, ARGV[5])
  local function drop(gone)
    redis.call('ZREM', KEYS[1], gone)
    redis.call('HDEL', KEYS[2], gone)
    redis.call('HDEL', KEYS[3], gone)
  end
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[3] - ttl)) do drop(gone) end
  for _, gone in ipairs(redis.call('ZRANGE', KEYS[1], 0, -tonumber(ARGV[10]) - 1)) do drop(gone) end
end
for _, i in ipairs({1, 2, 3, 6, 7}) do redis.call('EXPIRE', KEYS[i], ttl) end
"""

# KEYS list titles entries | ARGV id title -> 0 there is none | 1
_RENAME = """
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('HINCRBY', KEYS[3], 'revision', 1) end
return 1
"""

# KEYS list deleted all_deleted | ARGV id member now until ttl restores -> 0 too late, or there is none | 1
_DELETE = """
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
local deleted = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not known then return 0 end
if ARGV[6] == '1' then
  if deleted and tonumber(deleted) <= tonumber(ARGV[3]) then return 0 end
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('ZREM', KEYS[3], ARGV[2])
  return 1
end
if deleted then return 1 end
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[5])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[2])
return 1
"""

# KEYS list titles words deleted all_deleted entries order | ARGV id member
_REMOVE = """
if redis.call('ZREM', KEYS[5], ARGV[2]) == 0 then return end
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('DEL', KEYS[6], KEYS[7])
"""


class RedisConversations:
    """Implements `bot.chat.ConversationStore`, and `PersonalDataSource` for them."""

    name = "conversations"

    def __init__(self, redis: Redis, ttl_days: int, limits: Limits = Limits()) -> None:
        self._redis = redis
        self._limits = limits
        self._ttl_seconds = ttl_days * 86_400
        self._add = redis.register_script(_ADD)
        self._rename = redis.register_script(_RENAME)
        self._delete = redis.register_script(_DELETE)
        self._remove = redis.register_script(_REMOVE)

    async def add(
        self, thread: ThreadId, message: str, words: str, entry: str, *, replaces: bool = False
    ) -> None:
        """Add a question with its id; the first one is the title."""
        words = one_line(well_formed(words), _MOST_WORDS)
        title = one_line(words, MOST_TITLE_CHARS)
        limits = [self._limits.conversations, self._limits.questions, _MOST_WORDS]
        about: list[str | int] = [title, f"{words.casefold()}\n", message, entry, int(replaces)]
        with storage_errors():
            await self._add(
                keys=_keys(thread),
                args=[thread.channel, _member(thread), time.time(), self._ttl_seconds, *about, *limits],
            )

    def ending(self, thread: ThreadId, turn: str, entry: str) -> StoredEntry:
        """Return the entry of an answer, for the step that ends its turn."""
        return StoredEntry(_entries(thread), f"a:{turn}", entry, self._ttl_seconds)

    async def find(self, thread: ThreadId) -> Transcript | None:
        """Return a conversation, or None if there is none, or it is deleted."""
        listed, titles, _, deleted, _, entries, order = _keys(thread)
        with storage_errors():
            async with self._redis.pipeline(transaction=True) as step:
                step.zscore(listed, thread.channel)
                step.hget(titles, thread.channel)
                step.zscore(deleted, thread.channel)
                step.hgetall(entries)
                step.lrange(order, 0, -1)
                at, title, is_deleted, stored, ids = await step.execute()
        if at is None or is_deleted is not None or time.time() - at > self._ttl_seconds:
            return None
        questions = _newest(stored, ids, self._limits.read_chars)
        dropped = {b"a:" + id for id in ids if id.decode() not in questions}
        answers = {
            key[2:].decode(): value.decode()
            for key, value in stored.items()
            if key.startswith(b"a:") and key not in dropped
        }
        return Transcript((title or b"").decode(), at, questions, answers, len(questions) < len(ids))

    async def revision(self, thread: ThreadId) -> int | None:
        """Return a number that grows with each change of a conversation, or None as `find` does."""
        listed, _, _, deleted, _, entries, _ = _keys(thread)
        with storage_errors():
            async with self._redis.pipeline(transaction=True) as step:
                step.zscore(listed, thread.channel)
                step.zscore(deleted, thread.channel)
                step.hget(entries, "revision")
                at, is_deleted, number = await step.execute()
        return None if at is None or is_deleted is not None else int(number or 0)

    async def titles(
        self, owner: ThreadId, words: str, before: float | None, limit: int
    ) -> Sequence[ConversationTitle]:
        """Return the newest conversations with these words in the title or in a question."""
        listed, titles, questions, deleted, *_ = _keys(owner)
        newest = "+inf" if before is None else f"({before}"
        oldest = time.time() - self._ttl_seconds
        with storage_errors():
            async with self._redis.pipeline(transaction=True) as step:
                step.zrevrangebyscore(listed, newest, oldest, withscores=True)
                step.hgetall(titles)
                step.zrange(deleted, 0, -1)
                if words:
                    step.hgetall(questions)
                known, named, gone, *rest = await step.execute()
        asked: Mapping[bytes, bytes] = rest[0] if rest else {}
        hidden = set(gone)
        found = [
            ConversationTitle(_thread(owner, id), _text(named.get(id, b"")), at)
            for id, at in known
            if id not in hidden and _has(words, named.get(id, b""), asked.get(id, b""))
        ]
        return found[:limit]

    async def rename(self, thread: ThreadId, title: str) -> bool:
        """Set the title; return False if there is no such conversation."""
        listed, titles, *_, entries, _ = _keys(thread)
        named = one_line(well_formed(title), MOST_TITLE_CHARS)
        with storage_errors():
            return bool(await self._rename(keys=[listed, titles, entries], args=[thread.channel, named]))

    async def delete(self, thread: ThreadId, *, restores: bool = False) -> bool:
        """Delete a conversation, or restore it; return False if that is not possible any more."""
        listed, _, _, deleted, of_all, *_ = _keys(thread)
        now = time.time()
        times = [now, now + self._limits.undo_seconds, self._ttl_seconds]
        with storage_errors():
            done = await self._delete(
                keys=[listed, deleted, of_all],
                args=[thread.channel, _member(thread), *times, int(restores)],
            )
        return bool(done)

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
            listed, titles, words, deleted, *_ = _keys(owner)
            with storage_errors():
                ids: Any = await self._redis.zrange(listed, 0, -1)
                for thread in (_thread(owner, each) for each in ids):
                    *_, entries, order = _keys(thread)
                    await self._redis.delete(entries, order)
                    await self._redis.zrem(_ALL_DELETED, _member(thread))
                await self._redis.delete(listed, titles, words, deleted)


def _keys(thread: ThreadId) -> list[str]:
    """Return the keys of a conversation, in the order of `_ADD`."""
    base = f"{{bot}}:conversations:{':'.join(str(thread).split(':')[:2])}"
    entries = _entries(thread)
    return [
        base,
        f"{base}:titles",
        f"{base}:words",
        f"{base}:deleted",
        _ALL_DELETED,
        entries,
        f"{entries}:order",
    ]


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
