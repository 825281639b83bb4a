"""The running program: signals, start and end; and the commands of an operator."""

import asyncio
import json
import logging
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TextIO

from redis.asyncio import Redis

from bot.access.answers import AnswerStore
from bot.composition.parts import open_bot
from bot.concurrency import garbage
from bot.config import Settings, secret_value
from bot.inbox import admin
from bot.platforms.adapter import Adapter
from bot.storage.client import check_redis, open_redis
from bot.storage.embedded import Servers, embedded_redis

log = logging.getLogger(__name__)


async def serve(settings: Settings, servers: Servers, adapters: Sequence[Adapter[Any]]) -> None:
    """Open the bot with these servers and platforms, and run it until SIGTERM or SIGINT.

    Until it is ready the first signal ends it, afterwards the second one does, which raises `CancelledError`.
    """
    stop = asyncio.Event()
    is_ready = False
    itself = asyncio.current_task()
    assert itself is not None

    def on_signal() -> None:
        if stop.is_set() or not is_ready:
            itself.cancel()
        stop.set()

    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, on_signal)
    began = time.monotonic()
    try:
        # closed last, so that it also detects a hang during the shutdown
        async with AsyncExitStack() as watching, open_bot(settings, servers, adapters) as bot:
            async with asyncio.TaskGroup() as checks:
                checks.create_task(bot.warn())
                checks.create_task(_check_model(settings))
            is_ready = True
            garbage.resume()
            watching.enter_context(bot.watchdog.watch())
            await bot.run(stop, began)
    except asyncio.CancelledError:
        if is_ready or not stop.is_set():
            raise
        log.info("stopped before it was ready")
    else:
        log.info("stopped")


async def _check_model(settings: Settings) -> None:
    if not settings.has_model or "worker" not in settings.bot_roles:
        return
    from bot.agent.models.credentials import check_model_service  # as in _model

    await check_model_service(
        api_key=settings.openai_api_key, base_url=settings.openai_base_url, models=settings.all_models
    )


async def operate(settings: Settings, action: str, entry: str) -> str:
    """Run an operator's command on the inbox; return the text to print."""
    async with _open_store(settings) as redis:
        return await admin.run(redis, action, entry)


async def export_feedback(settings: Settings, output: TextIO) -> None:
    """Write all feedback on answers, one JSON object a line."""
    async with _open_store(settings) as redis:
        async for line in AnswerStore(redis).export():
            output.write(json.dumps(line) + "\n")


@asynccontextmanager
async def _open_store(settings: Settings) -> AsyncIterator[Redis]:
    async with AsyncExitStack() as stack:
        url = secret_value(settings.redis_url)
        if url is None:
            url = await stack.enter_async_context(embedded_redis(settings.data_dir))
        await check_redis(url)
        yield await stack.enter_async_context(open_redis(url, pool_size=settings.redis_pool_size))
