"""Stage of the contest: one contestant with servers of its own, its loads, and their figures."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil
from redis.asyncio import Redis

from benchmarks import figures
from benchmarks.contestants import Contestant, run_process
from benchmarks.event_loop import LAG_FILE, p99_lag
from benchmarks.figures import Figure
from benchmarks.servers import Load, Outcome, Servers, open_servers
from bot.storage.embedded import embedded_redis


@dataclass(frozen=True, slots=True)
class Plan:
    """Loads of one contestant in a round; 300 turns have run when its memory is measured."""

    warm_up: Load
    new: Load
    five: Load
    idle: Load
    pair_warm_up: Load
    pair: Load
    rest_seconds: float


PLAN = Plan(
    warm_up=Load(threads=40, at_once=40),
    new=Load(threads=260, at_once=40),
    five=Load(threads=40, turns=5, at_once=40, pause=0.2),
    idle=Load(threads=12, turns=2, pause=0.2, tail=0),
    pair_warm_up=Load(threads=80, at_once=40, sockets=2),
    pair=Load(threads=260, at_once=40, sockets=2),
    rest_seconds=3,
)


@dataclass(frozen=True, slots=True)
class Reading:
    """Seconds of CPU so far, and the commands that Redis has run; or a difference of two readings."""

    at: float
    cpu: float
    redis_cpu: float
    commands: float

    def since(self, before: "Reading") -> "Reading":
        return Reading(
            self.at - before.at,
            self.cpu - before.cpu,
            self.redis_cpu - before.redis_cpu,
            self.commands - before.commands,
        )

    def without(self, rest: "Reading") -> "Reading":
        """Return this less what Redis does at rest, of which `rest` is a sample."""
        share = self.at / rest.at
        redis_cpu, commands = self.redis_cpu - share * rest.redis_cpu, self.commands - share * rest.commands
        return Reading(self.at, self.cpu, max(redis_cpu, 0.0), max(commands, 0.0))


class Stage:
    """One contestant with servers of its own, ready for loads."""

    def __init__(self, contestant: Contestant, servers: Servers, redis: Redis, directory: Path) -> None:
        self.processes: list[psutil.Process] = []
        self._contestant = contestant
        self._servers = servers
        self._redis = redis
        self._directory = directory
        self._lag_file = directory / "lag"

    @asynccontextmanager
    async def process(self, environ: Mapping[str, str]) -> AsyncIterator[float]:
        """Run one more process; yield the seconds until it was connected. Only the first one's lag counts."""
        began = time.monotonic()
        lag = {} if self.processes else {LAG_FILE: str(self._lag_file)}
        values = {**self._servers.environ, **environ, **lag}
        async with run_process(self._contestant, values, self._directory) as process:
            self.processes.append(process)
            await self._servers.play(Load(threads=0, tail=0, sockets=len(self.processes)))
            yield time.monotonic() - began

    async def read(self) -> Reading:
        """Return the state at this time."""
        times = [each.cpu_times() for each in self.processes]
        info = await self._redis.info("cpu", "stats")
        return Reading(
            time.monotonic(),
            sum(each.user + each.system for each in times),
            info["used_cpu_user"] + info["used_cpu_sys"],
            info["total_commands_processed"],
        )

    async def rest(self, seconds: float) -> tuple[Reading, float]:
        """Return what happens in a while without any turn, and the use of the whole machine in percent."""
        before = await self.read()
        psutil.cpu_percent()
        await asyncio.sleep(seconds)
        return (await self.read()).since(before), psutil.cpu_percent()

    async def settle(self) -> None:
        """Wait until no process calls Slack: one that connects reads what was written shortly before."""
        quiet = Load(threads=0, tail=1, sockets=len(self.processes))
        while (await self._servers.play(quiet)).slack_calls:
            pass

    async def play(self, load: Load) -> tuple[Outcome, Reading]:
        """Play a load; return its times, and what it took."""
        before = await self.read()
        outcome = await self._servers.play(load)
        return outcome, (await self.read()).since(before)

    def rss(self) -> float:
        """Return the MiB of the processes."""
        return sum(each.memory_info().rss for each in self.processes) / 2**20

    def lag(self, outcome: Outcome) -> float | None:
        """Return the p99 lag in ms during a load, or None for a program that does not record it."""
        seconds = p99_lag(self._lag_file, outcome.began, outcome.began + outcome.seconds)
        return None if seconds is None else 1000 * seconds


@asynccontextmanager
async def open_stage(contestant: Contestant) -> AsyncIterator[tuple[Stage, dict[str, str]]]:
    """Start the servers of one contestant; yield the stage, and the variables for its processes."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        servers = await stack.enter_async_context(open_servers())
        redis_url = await stack.enter_async_context(embedded_redis(directory))
        redis = await stack.enter_async_context(Redis.from_url(redis_url))
        environ = {"REDIS_URL": redis_url, "DATA_DIR": str(directory), "HTTP_PORT": "0"}
        yield Stage(contestant, servers, redis, directory), environ


async def play(contestant: Contestant, plan: Plan, database_url: str) -> dict[Figure, float]:
    """Run one contestant through the plan."""
    async with open_stage(contestant) as (stage, environ):
        workers = {"DATABASE_URL": database_url, "MAX_WORKERS": str(plan.new.at_once + 1)}
        async with stage.process(environ | workers) as seconds:
            found = {figures.START: seconds} | await play_alone(stage, plan)
            async with stage.process(environ | workers):
                return found | await play_as_pair(stage, plan, found)


async def play_alone(stage: Stage, plan: Plan) -> dict[Figure, float]:
    """Measure one process."""
    found = {figures.RSS_START: stage.rss()}
    await stage.play(plan.warm_up)
    rest, found[figures.MACHINE] = await stage.rest(plan.rest_seconds)
    new, took = await stage.play(plan.new)
    found[figures.RSS_AFTER] = stage.rss()
    if (lag := stage.lag(new)) is not None:
        found[figures.LAG] = lag
    five, took_five = await stage.play(plan.five)
    idle, _ = await stage.play(plan.idle)
    turns, turns_of_five = plan.new.total, plan.five.total
    in_new, in_five = took.without(rest), took_five.without(rest)
    return found | {
        figures.CPU_NEW: 1000 * in_new.cpu / turns,
        figures.CPU_FIVE: 1000 * in_five.cpu / turns_of_five,
        figures.RATE: turns / new.seconds,
        figures.FIRST_NEW: 1000 * median(idle.first_texts),
        figures.FIRST_KNOWN: 1000 * median(idle.later_texts),
        figures.REDIS_NEW: 1000 * in_new.redis_cpu / turns,
        figures.REDIS_FIVE: 1000 * in_five.redis_cpu / turns_of_five,
        figures.COMMANDS_NEW: in_new.commands / turns,
        figures.COMMANDS_FIVE: in_five.commands / turns_of_five,
        figures.SLACK_CALLS: new.slack_calls / turns,
        figures.UNANSWERED: new.unanswered + five.unanswered,
    }


async def play_as_pair(stage: Stage, plan: Plan, alone: Mapping[Figure, float]) -> dict[Figure, float]:
    """Measure two processes, as ratios to one. Each warms up with as many turns, and as long, as that did."""
    await stage.settle()
    await stage.play(plan.pair_warm_up)
    rest, _ = await stage.rest(plan.rest_seconds)
    pair, took = await stage.play(plan.pair)
    turns = plan.pair.total
    in_pair = took.without(rest)
    found = {
        figures.SCALE_RATE: turns / pair.seconds / alone[figures.RATE],
        figures.SCALE_CPU: 2 * alone[figures.CPU_NEW] / (1000 * in_pair.cpu / turns),
        figures.UNANSWERED: alone[figures.UNANSWERED] + pair.unanswered,
    }
    if commands := alone[figures.COMMANDS_NEW]:
        found[figures.SCALE_COMMANDS] = in_pair.commands / turns / commands
    return found
