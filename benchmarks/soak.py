"""Soak: the bot under a mixed load on all services for a long time: `./dev soak --minutes N`.

It fails if anything in the process grows after a warm-up, or if a turn leaves more in Redis than before.
"""

import argparse
import asyncio
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import psutil
from redis.asyncio import Redis

from benchmarks.contest import PAGE, replace_block
from benchmarks.contestants import PRODUCT, run_process
from benchmarks.event_loop import TASKS_FILE
from benchmarks.figures import number
from benchmarks.talk import Talk
from bot.concurrency.tasks import cancel
from bot.storage.embedded import embedded_postgres, embedded_redis
from tests.servers.discord.service import Discord
from tests.servers.model import KEY, model_server
from tests.servers.slack.service import Slack
from tests.support.wait import wait_until

BEGIN, END = "<!-- soak: begin -->", "<!-- soak: end -->"
SAMPLES = 120
"""Samples of a run: a third for the warm-up, a third to compare with, a third that is compared."""


@dataclass(frozen=True, slots=True)
class Sample:
    """State at one time."""

    turns: int
    rss: float
    descriptors: int
    tasks: int
    redis_bytes: int
    redis_keys: int
    lasting_keys: int
    """Keys without an expiry time."""


@dataclass(frozen=True, slots=True)
class Growth:
    """Value of one figure in the second and in the last third of a run."""

    name: str
    before: float
    after: float
    most: float
    """Largest value that the last third may have."""

    @property
    def is_fault(self) -> bool:
        return self.after > self.most


Value = Callable[[Sample], float]
STATES: Sequence[tuple[str, Value, float]] = (
    ("RSS (MiB)", lambda sample: sample.rss, 2),
    ("open descriptors", lambda sample: sample.descriptors, 2),
    ("asyncio tasks", lambda sample: sample.tasks, 2),
    ("Redis keys that stay", lambda sample: sample.lasting_keys, 1),
)
"""What must not grow, and the units by which it may."""
LEFT: Sequence[tuple[str, Value]] = (
    ("Redis keys per turn", lambda sample: sample.redis_keys),
    ("Redis bytes per turn", lambda sample: sample.redis_bytes),
)
"""What each turn leaves, to expire in days."""


def growths(samples: Sequence[Sample]) -> list[Growth]:
    """Compare the last two thirds of a run."""
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[2 * third :]
    found = []
    for name, state, slack in STATES:
        before, after = (median(state(each) for each in part) for part in (middle, last))
        found.append(Growth(name, before, after, 1.03 * before + slack))
    for name, left in LEFT:
        before, after = (_per_turn(part, left) for part in (middle, last))
        found.append(Growth(name, before, after, 1.2 * before))
    return found


def _per_turn(samples: Sequence[Sample], value: Value) -> float:
    first, last = samples[0], samples[-1]
    return (value(last) - value(first)) / max(1, last.turns - first.turns)


async def soak(minutes: float, users: int, pause: float, directory: Path) -> tuple[list[Sample], Talk]:
    """Run the bot under load; return the samples, and what was asked."""
    async with AsyncExitStack() as stack:
        redis_url = await stack.enter_async_context(embedded_redis(directory))
        database_url = await stack.enter_async_context(embedded_postgres(directory))
        redis = await stack.enter_async_context(Redis.from_url(redis_url))
        slack = await stack.enter_async_context(Slack())
        discord = await stack.enter_async_context(Discord())
        model = await stack.enter_async_context(model_server())
        tasks, port = directory / "tasks", free_port()
        environ = {
            **slack.environ,
            **discord.environ,
            "REDIS_URL": redis_url,
            "DATABASE_URL": database_url,
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": model.base_url,
            "OPENAI_MODEL": "main-model",
            "DATA_DIR": str(directory / "bot"),
            "HTTP_PORT": str(port),
            TASKS_FILE: str(tasks),
        }
        process = await stack.enter_async_context(run_process(PRODUCT, environ, directory))
        await slack.wait_for_connections(timeout=60)
        await discord.wait_for_connections(timeout=60)
        await wait_until(tasks.exists, "tasks are counted")
        talk = Talk(slack, discord, model, f"http://127.0.0.1:{port}", pause)
        talking = asyncio.create_task(talk.run(users))
        samples = []
        try:
            for _ in range(SAMPLES):
                await asyncio.wait({talking}, timeout=60 * minutes / SAMPLES)
                if talking.done():
                    talking.result()
                samples.append(await take(process, redis, tasks, talk))
        finally:
            await cancel(talking)
    return samples, talk


async def take(process: psutil.Process, redis: Redis, tasks: Path, talk: Talk) -> Sample:
    """Return the state at this time."""
    info = await redis.info()
    space = info.get("db0", {"keys": 0, "expires": 0})
    return Sample(
        talk.turns.total(),
        process.memory_info().rss / 2**20,
        process.num_fds(),
        int(tasks.read_text() or 0),  # noqa: ASYNC240 - a few bytes
        info["used_memory"],
        space["keys"],
        space["keys"] - space["expires"],
    )


def free_port() -> int:
    """Return a TCP port that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def table(found: Sequence[Growth]) -> str:
    """Return the Markdown table of a run."""
    lines = [["", "second third", "last third", "at most"], ["---"] * 4]
    lines += [[each.name, number(each.before), number(each.after), number(each.most)] for each in found]
    return "\n".join(f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in lines)


def conditions(minutes: float, talk: Talk) -> str:
    """Return a sentence about the run."""
    turns = ", ".join(f"{count} on {service}" for service, count in sorted(talk.turns.items()))
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}, minutes: {minutes:g}, turns: {turns}, "
        f"without an answer: {talk.unanswered.total()}."
    )


async def main(minutes: float, users: int, pause: float) -> int:
    """Run one soak, print and write its table; return 1 if anything grows or is not answered."""
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        async with asyncio.timeout(60 * minutes + 300):
            samples, talk = await soak(minutes, users, pause, Path(directory))
    found = growths(samples)
    block = "\n\n".join([conditions(minutes, talk), table(found)])
    print(block)
    PAGE.write_text(replace_block(PAGE.read_text(), block, BEGIN, END))
    faults = [f"{each.name} grows" for each in found if each.is_fault]
    faults += [f"{count} not answered on {service}" for service, count in talk.unanswered.items()]
    print("\n".join(faults) or "nothing grows")
    return 1 if faults else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="./dev soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--users", type=int, default=3, help="users of each service")
    parser.add_argument("--pause", type=float, default=0.3, help="seconds that a user reads")
    options = parser.parse_args()
    sys.exit(asyncio.run(main(options.minutes, options.users, options.pause)))
