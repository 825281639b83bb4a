"""Thread memory: LangGraph checkpoints in Redis."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.redis.aio import AsyncRedisSaver
from langgraph.checkpoint.redis.jsonplus_redis import JsonPlusRedisSerializer
from redis.asyncio import Redis
from redis.exceptions import RedisError
from redisvl.exceptions import RedisVLError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random

from bot.chat import LeaseLost

STORAGE_ERRORS = (RedisError, RedisVLError)
"""Errors that the saver raises when Redis fails."""

T = TypeVar("T")

# redisvl logs whatever it raises, with a traceback
logging.getLogger("redisvl.index.index").setLevel(logging.CRITICAL)


class _Serializer(JsonPlusRedisSerializer):
    """Serializer that never imports a class by a stored name.

    Version 0.5 imports whatever module a stored object names, and arguments of tool calls are stored as they
    came: a crafted call could import any module. The bot stores no dataclasses, and messages need no import.
    """

    def _constructor_class(self, obj: dict[str, Any]) -> type[Any]:
        raise ValueError("no dataclasses are stored")


class ThreadMemory(AsyncRedisSaver):
    """Checkpoint saver that tracks its pending writes.

    When a run is cancelled, langgraph 1.2 writes the results of its tasks *after* the run has ended. A turn
    is over only after these writes, or they would fall into the thread's next turn.
    """

    def __init__(self, redis: Redis, ttl_days: int) -> None:
        # minutes; each write renews it
        super().__init__(redis_client=redis, ttl={"default_ttl": ttl_days * 24 * 60})
        self.serde = _Serializer()
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
        self._writes.pop(thread_id, None)

    async def keep_newest(self, thread_id: str) -> None:
        """Remove all checkpoints except the newest: else storage grows with the square of the turns."""
        try:
            await self.aprune([thread_id], keep_last=1)
        except STORAGE_ERRORS as error:
            if "no such index" not in str(error).lower():
                raise
            await self.set_up()  # Redis came back empty

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
        stream_mode: str = "values",
    ) -> RunnableConfig:
        """Store a checkpoint and track the write. Raises `LeaseLost`."""
        return await self._write(
            config, super().aput(config, checkpoint, metadata, new_versions, stream_mode)
        )

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store the writes of one task and track them. Raises `LeaseLost`."""
        await self._write(config, super().aput_writes(config, writes, task_id, task_path))

    async def _write(self, config: RunnableConfig, write: Coroutine[Any, Any, T]) -> T:
        task = asyncio.current_task()
        assert task is not None
        writes = self._writes[config["configurable"]["thread_id"]]
        writes.add(task)
        try:
            return await write
        except RedisVLError as error:
            if isinstance(error.__cause__, LeaseLost):
                raise error.__cause__ from None
            raise
        finally:
            writes.discard(task)
