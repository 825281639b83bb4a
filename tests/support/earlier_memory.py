"""Thread memory as earlier versions stored it: documents, with an index and a pointer to the newest."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from langgraph.checkpoint.redis.aio import AsyncRedisSaver
from redis.asyncio import Redis

from bot.agent import agent


class EarlierMemory(AsyncRedisSaver):
    """Saver of earlier versions, except that it removes no old checkpoints, as after a crash."""

    def __init__(self, redis: Redis, ttl_days: int) -> None:
        super().__init__(redis_client=redis, ttl={"default_ttl": ttl_days * 24 * 60})

    async def set_up(self) -> None:
        """Create the indices."""
        await self.asetup()

    async def wait_for_writes(self, thread_id: str) -> None:
        """Wait for nothing."""

    async def delete_documents(self, thread_id: str) -> None:
        """Delete nothing."""


@contextmanager
def earlier_version() -> Iterator[None]:
    """Let agents that are opened meanwhile store threads as earlier versions did."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agent, "ThreadMemory", EarlierMemory)
        yield
