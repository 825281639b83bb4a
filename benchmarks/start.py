"""Seconds of a start: `python -m benchmarks.start [ROUNDS]`.

Compares the bot with the imports of its main packages alone, with servers that run already and with its own.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

from bot.storage.embedded import embedded_postgres, embedded_redis
from tests.servers.model import KEY, model_server
from tests.servers.slack.service import Slack
from tests.support.bot import ROOT, program
from tests.support.wait import wait_until

PACKAGES = (
    *("aiohttp", "asyncpg", "discord", "langchain_openai", "langgraph.graph"),
    *("langgraph.checkpoint.redis.aio", "redis.asyncio", "slack_bolt.async_app"),
)
Seconds = dict[str, float]


async def import_seconds() -> float:
    """Return the time of an interpreter that only imports the packages."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", f"import {', '.join(PACKAGES)}", cwd=ROOT
    )
    await process.wait()
    return time.monotonic() - began


async def start_seconds(environ: Mapping[str, str]) -> tuple[float, float]:
    """Return the time from the call of the program to its first line, and to `ready`."""
    async with Slack() as slack:
        began = time.monotonic()
        async with program({**environ, **slack.environ}) as bot:
            await wait_until(lambda: bool(bot.log), "a first line")
            first = time.monotonic() - began
            await bot.ready()
            ready = time.monotonic() - began
            await bot.stop()
    return first, ready


async def measure(environ: Mapping[str, str], servers: Mapping[str, str]) -> Seconds:
    """Return the seconds of one round; `servers` are the variables of Redis and Postgres."""
    with tempfile.TemporaryDirectory() as data_dir:
        own = {**environ, "DATA_DIR": data_dir}
        packages = await import_seconds()
        first_line, external = await start_seconds({**own, **servers})
        _, first = await start_seconds(own)
        _, second = await start_seconds(own)
    return {
        "import of the main packages": packages,
        "first line": first_line,
        "ready, external servers": external,
        "ready, embedded servers, first start": first,
        "ready, embedded servers, second start": second,
    }


async def main(rounds: int) -> None:
    """Measure and print."""
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(model_server())
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = {
            "REDIS_URL": await stack.enter_async_context(embedded_redis(directory)),
            "DATABASE_URL": await stack.enter_async_context(embedded_postgres(directory)),
        }
        environ = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": model.base_url, "OPENAI_MODEL": "main-model"}
        measured = [await measure(environ, servers) for _ in range(rounds)]
    for name in measured[0]:
        values = [each[name] for each in measured]
        ratios = [each[name] / each["import of the main packages"] for each in measured]
        print(f"{name}: {median(values):.2f} s, {median(ratios):.2f} of the imports")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
