"""Redis and Postgres that a bot works with: its own ones, else embedded ones."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.storage.embedded.postgres import embedded_postgres
from bot.storage.embedded.redis import embedded_redis


@dataclass(frozen=True, slots=True)
class Servers:
    """Addresses of Redis and of the business database."""

    redis_url: str
    database_url: str


@asynccontextmanager
async def open_servers(
    data_dir: Path, redis_url: str | None, database_url: str | None
) -> AsyncIterator[Servers]:
    """Yield these addresses; embedded servers, which start side by side, take the places of missing ones.

    Raises `EmbeddedError`, in a group.
    """
    async with AsyncExitStack() as stack:
        async with asyncio.TaskGroup() as starts:
            if redis_url is None:
                redis = starts.create_task(stack.enter_async_context(embedded_redis(data_dir)))
            if database_url is None:
                postgres = starts.create_task(stack.enter_async_context(embedded_postgres(data_dir)))
        yield Servers(redis_url or redis.result(), database_url or postgres.result())
