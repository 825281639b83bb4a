"""Cost of a turn: the whole bot against a bare handler, over real sockets on this machine.

    .venv/bin/python -m benchmarks.turn [ROUNDS]

Slack and the model are the tests' protocol servers in this process; the contestants run in child processes.
Each round runs every contestant, so that a ratio compares runs at nearly the same time; the figures are
medians over the rounds. A round takes about a minute.
"""

import asyncio
import os
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psutil

from tests.servers.model import KEY, ModelServer, Script, model_server
from tests.servers.slack.service import Slack
from tests.support.bot import program

ROOT = Path(__file__).parent.parent
ANSWER = " ".join(f"word{number:02}" for number in range(40))
ALICE = "U0ALICE"
BOT, BARE = "bot", ("matched", "bare")
ONE_BY_ONE, AT_ONCE, MANY, HISTORY = 12, 20, 80, 10
PACE = 0.01
"""Seconds between two words of the model when one turn runs at a time; 0 when many run at once."""
PAUSE = 0.1
"""Seconds between two mentions, so that the work after the last turn has ended."""

Place = tuple[str, str]
"""Channel and root of a Slack thread."""


@dataclass(slots=True)
class Contestant:
    """Bot in a child process with its own workspace."""

    name: str
    slack: Slack
    process: psutil.Process
    servers: list[psutil.Process] = field(default_factory=list)
    channels: int = 0

    async def ask(self, place: Place | None = None) -> tuple[Place, float]:
        """Mention the bot and wait for its answer; return the thread, and the seconds to the first text."""
        channel, root = place or (self._channel(), None)
        asked = time.monotonic()
        ts = await self.slack.say(ALICE, channel, f"{self.slack.mention} what now?", thread_ts=root)
        root = root or ts
        assert await self.slack.answer(channel, root, timeout=60) == ANSWER
        shown = self.slack.bot_replies(channel, root)[-1].first_text_at
        assert shown is not None
        return (channel, root), shown - asked

    def _channel(self) -> str:
        """Return a new channel for each thread, because the protocol server scans a whole channel."""
        self.channels += 1
        return self.slack.add_channel(f"C0BENCH{self.channels:06}")

    async def settle(self) -> None:
        """Wait until the work after an answer is done, and clear the server's records."""
        before = -1.0
        while (now := _cpu(self.process)) != before:
            before = now
            await asyncio.sleep(0.2)  # a process that used no time meanwhile is idle
        assert not self.slack.violations, self.slack.violations
        self.slack.workspace.statuses.clear()
        self.slack.calls.clear()
        self.slack.deliveries.clear()


def _cpu(*processes: psutil.Process) -> float:
    """Return the milliseconds of processor time so far, without child processes."""
    times = [each.cpu_times() for each in processes]
    return 1000 * sum(each.user + each.system for each in times)


Figures = dict[str, float]


async def one_by_one(contestant: Contestant, places: Sequence[Place | None], when: str) -> Figures:
    """Measure one turn at a time."""
    await contestant.settle()
    cpu, shown = _cpu(contestant.process), []
    for place in places:
        shown.append((await contestant.ask(place))[1])
        await asyncio.sleep(PAUSE)
    calls = len(contestant.slack.calls)
    await contestant.settle()
    cpu = _cpu(contestant.process) - cpu
    return {
        f"first text, {when} (ms)": 1000 * median(shown),
        f"CPU per turn, {when} (ms)": cpu / len(places),
        f"Slack calls per turn, {when}": calls / len(places),
    }


async def at_once(contestant: Contestant) -> Figures:
    """Measure many turns in new threads, `AT_ONCE` at any time."""
    await contestant.settle()
    cpu, servers, began = _cpu(contestant.process), _cpu(*contestant.servers), time.monotonic()
    await in_parallel(contestant, [None] * MANY)
    elapsed = time.monotonic() - began
    await contestant.settle()
    return {
        f"CPU per turn, {AT_ONCE} at once (ms)": (_cpu(contestant.process) - cpu) / MANY,
        f"turns per second, {AT_ONCE} at once": MANY / elapsed,
        f"CPU of Redis and Postgres per turn, {AT_ONCE} at once (ms)": (_cpu(*contestant.servers) - servers)
        / MANY,
    }


async def in_parallel(contestant: Contestant, places: Sequence[Place | None]) -> list[Place]:
    """Ask in all threads, `AT_ONCE` at any time; return the threads."""
    free = asyncio.Semaphore(AT_ONCE)

    async def ask(place: Place | None) -> Place:
        async with free:
            return (await contestant.ask(place))[0]

    return list(await asyncio.gather(*(ask(each) for each in places)))


async def play(contestant: Contestant, model: ModelServer) -> Figures:
    """Run one round of one contestant."""
    model.respond = lambda _: Script(text=ANSWER)
    figures = await at_once(contestant)
    places: list[Place | None] = [None] * ONE_BY_ONE
    for _ in range(HISTORY):
        places = [*await in_parallel(contestant, places)]
    model.respond = lambda _: Script(text=ANSWER, pace=PACE)
    figures |= await one_by_one(contestant, [None] * ONE_BY_ONE, "new thread")
    figures |= await one_by_one(contestant, places, f"after {HISTORY} turns")
    model.requests.clear()
    return figures


@asynccontextmanager
async def connected(name: str, environ: Mapping[str, str], *arguments: str) -> AsyncIterator[Contestant]:
    """Run a child process, `python -m` with `arguments`, that is connected to its own Slack."""
    kept = {variable: os.environ[variable] for variable in ("PATH", "HOME") if variable in os.environ}
    async with Slack() as slack:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *arguments,
            cwd=ROOT,
            env={**kept, **slack.environ, **environ},
            stderr=DEVNULL,
        )
        try:
            await slack.wait_for_connections(timeout=60)
            yield Contestant(name, slack, psutil.Process(process.pid))
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


def servers_in(data_dir: Path) -> list[psutil.Process]:
    """Return the embedded servers in a folder with their supervisors, which have no parent here."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(data_dir):
                found.append(process)
        except psutil.Error:  # ended, or another user's
            continue
    return found


async def start_ups(environ: Mapping[str, str]) -> dict[str, Figures]:
    """Return the seconds of a start on an empty DATA_DIR, of the next start, and of the import."""
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as data_dir:
        for which in ("first start to ready (s)", "second start to ready (s)"):
            async with Slack() as slack:
                began = time.monotonic()
                async with program({**environ, **slack.environ, "DATA_DIR": data_dir}) as bot:
                    await bot.ready()
                    figures[which] = time.monotonic() - began
                    await bot.stop()
    return {
        BOT: {**figures, "import (s)": await _import_seconds("bot.composition")},
        "bare": {"import (s)": await _import_seconds("benchmarks.bare")},
    }


async def _import_seconds(module: str) -> float:
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", f"import {module}", cwd=ROOT)
    await process.wait()
    return time.monotonic() - began


def memory(contestants: Sequence[Contestant], when: str) -> dict[str, Figures]:
    """Return the MiB of each process and of the embedded servers (PSS: shared pages count proportionally)."""
    groups: dict[str, list[psutil.Process]] = {}
    for contestant in contestants:
        groups[contestant.name] = [contestant.process]
        for server in contestant.servers:
            groups.setdefault(f"{contestant.name}'s {server.name()}", []).append(server)
    return {name: _memory(processes, when) for name, processes in groups.items()}


def _memory(processes: Sequence[psutil.Process], when: str) -> Figures:
    found = [each.memory_full_info() for each in processes]
    return {
        f"{kind.upper()} {when} (MiB)": sum(getattr(each, kind) for each in found) / 2**20
        for kind in ("rss", "pss", "uss")
    }


def report(rounds: Sequence[Mapping[str, Figures]]) -> str:
    """Return each figure of each contestant, and the bot's as multiples of the baselines'."""
    lines = []
    for figure in dict.fromkeys(figure for figures in rounds[0].values() for figure in figures):
        lines.append(figure)
        having = [name for name, figures in rounds[0].items() if figures.get(figure)]
        lines += [f"  {name}: {_described(rounds, figure, name)}" for name in having]
        lines += [
            f"  {BOT} / {name}: {_described(rounds, figure, BOT, name)}"
            for name in having
            if BOT in having and name in BARE
        ]
    return "\n".join(lines)


def _described(
    rounds: Sequence[Mapping[str, Figures]], figure: str, name: str, divisor: str | None = None
) -> str:
    """Return the median over the rounds with the range, of the quotients if there is a divisor."""
    values = [each[name][figure] / (each[divisor][figure] if divisor else 1) for each in rounds]
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


async def main(rounds: int) -> None:
    """Start everything, run the rounds, and print the report."""
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(model_server())
        model.respond = lambda _: Script(text=ANSWER)
        data_dir = stack.enter_context(tempfile.TemporaryDirectory())
        environ = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": model.base_url, "OPENAI_MODEL": "model"}
        # one user asks all of them in one channel
        turns = {"MAX_WORKERS": str(AT_ONCE + 1), "USER_TURNS": str(AT_ONCE), "CHANNEL_TURNS": str(AT_ONCE)}
        own = {"DATA_DIR": data_dir, "HTTP_PORT": "0", **turns}
        starts = [await start_ups(environ) for _ in range(rounds)]
        contestants = [
            await stack.enter_async_context(connected(BOT, {**environ, **own}, "benchmarks.unmetered")),
            *[
                await stack.enter_async_context(connected(name, environ, "benchmarks.bare", name))
                for name in BARE
            ],
        ]
        contestants[0].servers = servers_in(Path(data_dir))
        resting = memory(contestants, "at rest")
        for each in contestants:
            await in_parallel(each, [None] * MANY)  # warm-up
        played = [{each.name: await play(each, model) for each in contestants} for _ in range(rounds)]
        worked = memory(contestants, f"after {contestants[0].channels} threads")
        figures = [report(starts), report(played), report([resting]), report([worked])]
        print("\n".join(figures))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
