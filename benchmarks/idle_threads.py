"""Idle threads in Redis, and what they cost a process: `python -m benchmarks.idle_threads [THREADS]`.

The bot answers in one thread; what that leaves in Redis is copied for each idle thread. Turns before and
after are played in the same process.
"""

import argparse
import asyncio
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from benchmarks.contestants import PRODUCT
from benchmarks.figures import number
from benchmarks.servers import Load
from benchmarks.stage import Stage, open_stage
from bot.inbox.keys import text
from bot.storage.embedded import embedded_postgres

MODEL_THREAD = Load(threads=1, turns=2, pause=0.2, tail=3)
"""The thread to copy; in the tail it is filed for search."""
CHANNEL = b"C0BENCH000001"
"""Channel of the first thread of a load."""
IDLE_SECONDS = 86_400
"""Age of the last message of an idle thread, so that no catch-up reads its history."""
WARM_UP = Load(threads=200, at_once=20)
TURNS = Load(threads=200, at_once=20)
BATCH = 100
"""Threads that are written at once."""


@dataclass(frozen=True, slots=True)
class Key:
    """Key with its content, as the bot has written it."""

    name: bytes
    kind: str
    content: Any
    milliseconds: int

    def is_of(self, channel: bytes) -> bool:
        return channel.lower() in (self.name + repr(self.content).encode()).lower()

    def copy(self, old: bytes, new: bytes) -> "Key":
        """Return the key of another thread; a name without the channel ends with a digest."""
        name = _replace(self.name, old, new)
        if name == self.name and self.kind == "hash":
            name = self.name.rpartition(b":")[0] + b":" + uuid.uuid4().hex.encode()
        match self.content:
            case bytes():
                content: Any = _replace(self.content, old, new)
            case dict():
                content = {
                    _replace(each, old, new): _replace(value, old, new)
                    for each, value in self.content.items()
                }
            case _:  # the scores are times
                content = {
                    _replace(each, old, new): score - IDLE_SECONDS
                    for each, score in self.content
                    if old.lower() in each.lower()
                }
        return Key(name, self.kind, content, self.milliseconds)


def _replace(value: bytes, old: bytes, new: bytes) -> bytes:
    return value.replace(old, new).replace(old.lower(), new.lower())


async def read_keys(redis: Redis) -> list[Key]:
    """Return the strings, hashes and sorted sets of the thread to copy."""
    found = []
    async for name in redis.scan_iter(count=1_000):
        kind = text(await redis.type(name))
        if kind not in ("string", "hash", "zset"):
            continue
        content: Any
        match kind:
            case "string":
                content = await redis.get(name)
            case "hash":
                content = await redis.hgetall(name)
            case _:
                content = await redis.zrange(name, 0, -1, withscores=True)
        key = Key(name, kind, content, await redis.pttl(name))
        if key.is_of(CHANNEL):
            found.append(key)
    return found


async def fill(redis: Redis, keys: list[Key], threads: int) -> None:
    """Write the keys of idle threads."""
    for batch in _batches(threads):
        async with redis.pipeline(transaction=False) as pipeline:
            for thread in batch:
                for key in keys:
                    _write(pipeline, key.copy(CHANNEL, b"C0IDLE%07d" % thread))
            await pipeline.execute()


def _batches(threads: int) -> Iterator[range]:
    return (range(begin, min(begin + BATCH, threads)) for begin in range(0, threads, BATCH))


def _write(pipeline: Any, key: Key) -> None:
    match key.kind:
        case "string":
            pipeline.set(key.name, key.content)
        case "hash":
            pipeline.hset(key.name, mapping=key.content)
        case _:
            pipeline.zadd(key.name, key.content)
    if key.milliseconds > 0:
        pipeline.pexpire(key.name, key.milliseconds)


async def measure(threads: int) -> str:
    """Return the Markdown table."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        async with (
            embedded_postgres(Path(directory)) as database_url,
            open_stage(PRODUCT) as (stage, environ),
            stage.process({**environ, "DATABASE_URL": database_url}),
            Redis.from_url(environ["REDIS_URL"]) as redis,
        ):
            await stage.play(MODEL_THREAD)
            keys = await read_keys(redis)
            await stage.play(WARM_UP)
            before = await _cost(stage)
            used = (await redis.info("memory"))["used_memory"]
            await fill(redis, keys, threads)
            used = ((await redis.info("memory"))["used_memory"] - used) / threads
            after = await _cost(stage)
    rows = [
        ["", "no idle threads", f"{threads:,}", "ratio"],
        ["---"] * 4,
        *(
            [name, number(one), number(other), number(other / one)]
            for name, one, other in zip(("RSS (MiB)", "CPU per turn (ms)"), before, after, strict=True)
        ),
    ]
    table = "\n".join(f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in rows)
    return f"{table}\n\nKeys of an idle thread: {len(keys)}, bytes in Redis: {used:.0f}."


async def _cost(stage: Stage) -> tuple[float, float]:
    """Return the MiB of the process, and the milliseconds of CPU of a turn."""
    outcome, took = await stage.play(TURNS)
    if outcome.unanswered:
        print(f"{outcome.unanswered} questions had no answer", file=sys.stderr)
    return stage.rss(), 1000 * took.cpu / TURNS.total


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.idle_threads", description=__doc__)
    parser.add_argument("threads", nargs="?", type=int, default=50_000)
    print(asyncio.run(measure(max(1, parser.parse_args().threads))))
