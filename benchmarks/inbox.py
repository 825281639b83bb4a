"""Cost of the inbox: `python -m benchmarks.inbox [ROUNDS]`.

Measures the time from an event to the start of its turn on an idle machine, one event after the other: for a
bare `asyncio.create_task`, and for an append-only file that is synced once a second, or with every write.
Also measures the share of a core that an idle worker takes.
"""

import asyncio
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from redis.asyncio import Redis

from bot.chat import Halt, Message, Receipt, ThreadId, Turn
from bot.inbox import Inbox, Lookup, serve
from bot.storage.client import open_redis
from bot.storage.embedded import embedded_redis

IDLE_SECONDS = 20.0
PAIRS = 3
"""Alternations between the two policies, because the speed of a shared machine varies."""
LEASE_SECONDS = 15.0


_numbers = itertools.count()


def a_message(number: int) -> Message:
    """Return one of many messages, each in its own thread."""
    thread = ThreadId("bench", "space", str(number))
    return Message(
        id=f"bench:{number}", thread=thread, author="bench:u", text="hi", sent_at=0, addressed=True
    )


async def starts(
    put: Callable[[Message], Awaitable[object]], begun: asyncio.Queue[float], rounds: int
) -> float:
    """Return the median milliseconds from an event to the start of its turn."""
    times = []
    for _ in range(rounds):
        message = a_message(next(_numbers))
        at = time.perf_counter()
        await put(message)
        times.append(await begun.get() - at)
    return 1000 * statistics.median(times)


async def bare(rounds: int) -> float:
    """Return the median milliseconds without an inbox."""
    begun: asyncio.Queue[float] = asyncio.Queue()
    tasks = []

    async def work() -> None:
        begun.put_nowait(time.perf_counter())

    async def put(message: Message) -> None:
        tasks.append(asyncio.create_task(work()))

    return await starts(put, begun, rounds)


async def with_inbox(redis: Redis, rounds: int) -> tuple[dict[str, float], float]:
    """Return the median milliseconds by `appendfsync`, and the share of a core that an idle worker takes."""
    begun: asyncio.Queue[float] = asyncio.Queue()

    async def work(turn: Turn, receipt: Receipt, halt: Halt) -> None:
        begun.put_nowait(time.perf_counter())

    inbox, stop = Inbox(redis, name="bench", follow_days=1), asyncio.Event()
    async with Lookup(redis).news("stop") as stops, asyncio.TaskGroup() as group:
        group.create_task(
            serve(inbox, work, limit=10, lease_seconds=LEASE_SECONDS, grace=1, stop=stop, stops=stops)
        )
        measured: dict[str, list[float]] = {"everysec": [], "always": []}
        for policy in [*measured] * PAIRS:
            await redis.config_set("appendfsync", policy)
            measured[policy].append(await starts(inbox.put, begun, rounds // PAIRS))
        await redis.config_set("appendfsync", "everysec")
        used = time.process_time()
        await asyncio.sleep(IDLE_SECONDS)
        idle = (time.process_time() - used) / IDLE_SECONDS
        stop.set()
    return {policy: statistics.median(times) for policy, times in measured.items()}, idle


async def main(rounds: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as directory:
        async with embedded_redis(Path(directory)) as url, open_redis(url, pool_size=20) as redis:
            nothing = await bare(rounds)
            medians, idle = await with_inbox(redis, rounds)
    print(f"event to start of turn, medians of {rounds}: {nothing:.2f} ms bare")
    for policy, median in medians.items():
        print(f"{median:.2f} ms with the inbox, appendfsync {policy}")
    print(f"an idle worker takes {100 * idle:.2f} % of a core")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 500))
