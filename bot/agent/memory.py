"""Thread memory: LangGraph checkpoints in Redis, one string a thread."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
)
from langgraph.checkpoint.redis.aio import AsyncRedisSaver
from langgraph.checkpoint.redis.jsonplus_redis import JsonPlusRedisSerializer
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError
from redisvl.exceptions import RedisVLError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random

from bot.agent.checkpoint_format import dump_checkpoint, dump_writes, load
from bot.memory import AuthorNote

STORAGE_ERRORS = (RedisError, RedisVLError)
"""Errors that the saver raises when Redis fails."""

AUTHORS = "__authors"
"""Key of a run's `configurable` for the `AuthorNote` of its turn; langgraph stores no key of this form."""

_DAY = 24 * 60 * 60

_DOCUMENTS = "documents"
"""Field of a run's config: the id of the checkpoint that the run has read from documents."""

_READ_AHEAD = "__read_ahead"
"""Key of a run's `configurable` for the checkpoint that was read before the run."""

_CALL = "~__pregel_push"
"""Beginning of the path of a task that is one of several calls of a node."""

T = TypeVar("T")

# redisvl logs whatever it raises, with a traceback
logging.getLogger("redisvl.index.index").setLevel(logging.CRITICAL)


class _Serializer(JsonPlusRedisSerializer):
    """Serializer of earlier versions' documents that never imports a class by a stored name.

    Version 0.5 imports whatever module a stored object names, and arguments of tool calls are stored as they
    came: a crafted call could import any module. The bot stores no dataclasses, and messages need no import.
    """

    def _constructor_class(self, obj: dict[str, Any]) -> type[Any]:
        raise ValueError("no dataclasses are stored")


class ThreadMemory(AsyncRedisSaver):
    """Checkpoint saver with one string a thread, for a graph without subgraphs.

    SET writes a checkpoint with its expiry in place of the one before, APPEND adds the writes of a finished
    tool, and one MGET reads both. Earlier versions stored documents, the layout of `AsyncRedisSaver`: these
    are read until the thread's next checkpoint, and then deleted.

    When a run is cancelled, langgraph 1.2 writes the results of its tasks *after* the run has ended. A turn
    is over only after these writes, or they would fall into the thread's next turn.
    """

    def __init__(self, redis: Redis, ttl_days: int) -> None:
        super().__init__(redis_client=redis, ttl={"default_ttl": ttl_days * 24 * 60})  # minutes
        self.serde = _Serializer()
        self._expiry = ttl_days * _DAY
        self._writes: dict[str, set[asyncio.Task[Any]]] = defaultdict(set)

    async def set_up(self) -> None:
        """Create the indices; retry when another process creates them at once ("Index already exists")."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(STORAGE_ERRORS),
            stop=stop_after_attempt(5),
            wait=wait_random(0.05, 0.5),
            reraise=True,
        ):
            with attempt:
                await self.asetup()

    async def wait_for_writes(self, thread_id: str) -> None:
        """Wait until no writes of the thread are pending."""
        await asyncio.sleep(0)  # a new write registers itself in its first step
        while writes := self._writes.get(thread_id):
            await asyncio.wait(writes)

    async def read_ahead(self, config: RunnableConfig) -> Mapping[str, Any]:
        """Return what the thread's checkpoint holds; a run with this config does not read it again."""
        found = config["configurable"][_READ_AHEAD] = await self.aget_tuple(config)
        return found.checkpoint["channel_values"] if found else {}

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the thread's only checkpoint, the newest one."""
        if _READ_AHEAD in config["configurable"]:
            ahead: CheckpointTuple | None = config["configurable"][_READ_AHEAD]
            return ahead
        thread_id = config["configurable"]["thread_id"]
        found: Any = await self._redis.mget(memory_keys(thread_id))
        string, pointer = found
        # each string replaces the pointer to a document, so that a document is newer than the string
        if pointer not in (None, _key(thread_id).encode()):
            return await self._read_documents(config)
        stored = load(string) if string else None
        if stored is None or get_checkpoint_id(config) not in (None, stored.checkpoint["id"]):
            return None
        if note := _author_note(config):
            note.recognise(stored.authors, stored.authors_at)
        place = _place(thread_id, stored.checkpoint)
        return CheckpointTuple(place, stored.checkpoint, stored.metadata, None, stored.writes)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Yield the thread's only checkpoint. Raises `ValueError` where others are asked for."""
        if config is None or filter or before:
            raise ValueError("a thread has one checkpoint only")
        if found := await self.aget_tuple(config):
            yield found

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
        stream_mode: str = "values",
    ) -> RunnableConfig:
        """Replace the thread's checkpoint and track the write. Raises `LeaseLost`.

        The checkpoint before the first step is left out: the inbox has what is in it.
        """
        thread_id = config["configurable"]["thread_id"]
        if metadata.get("source") != "input":
            await self._write(thread_id, self._replace(config, checkpoint, metadata))
        return _place(thread_id, checkpoint)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store the writes of one task and track them. Raises `LeaseLost`."""
        if not writes or not _is_needed(writes, task_path):
            return
        thread_id = config["configurable"]["thread_id"]
        checkpoint_id = config["configurable"]["checkpoint_id"]
        if config["configurable"].get(_DOCUMENTS) == checkpoint_id:
            write = self._append_documents(config, writes, task_id, task_path)
        else:
            write = self._append(config, dump_writes(checkpoint_id, task_id, writes))
        await self._write(thread_id, write)

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete all of a thread."""
        await self.delete_documents(thread_id)
        await self._redis.delete(_key(thread_id), _pointer(thread_id))

    async def delete_documents(self, thread_id: str) -> None:
        """Delete all documents that earlier versions have stored for a thread."""
        try:
            await super().adelete_thread(thread_id)
        except STORAGE_ERRORS as error:
            if "no such index" not in str(error).lower():  # then Redis came back empty
                raise

    def get_next_version(self, current: Any, channel: Any) -> Any:
        """Return the version of a channel after `current`."""
        return (current or 0) + 1

    async def _read_documents(self, config: RunnableConfig) -> CheckpointTuple | None:
        found = await super().aget_tuple(config)
        if found is None:
            return None
        _number_versions(found.checkpoint)
        # langgraph passes the config of what it has read on to every write of the same run
        place = {**found.config["configurable"], _DOCUMENTS: found.checkpoint["id"]}
        return found._replace(config={**found.config, "configurable": place})

    async def _replace(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata
    ) -> None:
        """Write a checkpoint; with a thread's first one, keep processes of earlier versions from its turns.

        They would answer without memory. Instead, they follow the pointer, fail because it leads to no
        document, and postpone the turn; a day is enough to replace them all.
        """
        place = config["configurable"]
        thread_id, has_documents = place["thread_id"], _DOCUMENTS in place
        key, pointer = _key(thread_id), _pointer(thread_id)
        async with self._step(config) as pipeline:
            note = _author_note(config)
            line = dump_checkpoint(checkpoint, metadata, note.stored_at if note else 0)
            pipeline.set(key, line, ex=self._expiry)
            if has_documents or metadata["step"] <= 0:
                pipeline.set(pointer, key, ex=_DAY)
        if has_documents:
            await self.delete_documents(thread_id)  # with the pointer
            await self._redis.set(pointer, key, ex=_DAY)

    async def _append(self, config: RunnableConfig, line: bytes) -> None:
        key = _key(config["configurable"]["thread_id"])
        async with self._step(config) as pipeline:
            pipeline.append(key, line)
            pipeline.expire(key, self._expiry)

    async def _append_documents(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> None:
        async with self._step(config):
            pass  # only the authors
        await super().aput_writes(config, writes, task_id, task_path)

    @asynccontextmanager
    async def _step(self, config: RunnableConfig) -> AsyncIterator[Pipeline]:
        """Run the commands that the body adds as one step, the first one of a turn with its new authors."""
        note = _author_note(config)
        async with cast("Pipeline", self._redis.pipeline(transaction=True)) as pipeline:
            if note and not note.is_stored:
                note.add_to(pipeline)
            yield pipeline
            await pipeline.execute()
        if note:
            note.is_stored = True

    async def _write(self, thread_id: str, write: Coroutine[Any, Any, T]) -> T:
        task = asyncio.current_task()
        assert task is not None
        writes = self._writes[thread_id]
        writes.add(task)
        try:
            return await write
        finally:
            writes.discard(task)
            if not writes:
                self._writes.pop(thread_id, None)


def _author_note(config: RunnableConfig) -> AuthorNote | None:
    note: AuthorNote | None = config["configurable"].get(AUTHORS)
    return note


def memory_keys(thread_id: str) -> Sequence[str]:
    """Return the keys that are read for a thread memory."""
    return _key(thread_id), _pointer(thread_id)


def _key(thread_id: str) -> str:
    return f"checkpoint:{thread_id}"


def _pointer(thread_id: str) -> str:
    """Return the key in which earlier versions keep the key of the newest document."""
    return f"checkpoint_latest:{thread_id}:__empty__"


def _place(thread_id: str, checkpoint: Checkpoint) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": "", "checkpoint_id": checkpoint["id"]}}


def _is_needed(writes: Sequence[tuple[str, Any]], task_path: str) -> bool:
    """Return True if a restart needs the writes of a task.

    A task that failed runs again; a node that runs alone, or an update of the state, is followed at once by
    the checkpoint with its values. What is left are tool calls, and input without a path.
    """
    channels = {channel for channel, _ in writes}
    if ERROR in channels:
        return False
    return not task_path or task_path.startswith(_CALL) or not channels.isdisjoint((INTERRUPT, RESUME))


def _number_versions(checkpoint: Checkpoint) -> None:
    """Replace the versions of earlier saves, texts such as "0003.0.718", by their numbers."""
    for versions in (checkpoint["channel_versions"], *checkpoint["versions_seen"].values()):
        versions.update({channel: int(str(each).partition(".")[0]) for channel, each in versions.items()})
