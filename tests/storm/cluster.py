"""Processes under test: several bots on one Redis that are killed, suspended and restarted."""

import asyncio
import contextlib
import math
import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from tests.crash.bot import Bot

_RESTART_SECONDS = 1.5


class Node:
    """One process of the bot with a constant name, restarted whenever it has ended.

    It has the fault of `tests.support.hanging_bot`; `ends` counts the exit codes of its lives.
    """

    def __init__(self, environ: Mapping[str, str], log: Path) -> None:
        self._bot = Bot(environ, log, is_faulty=True, is_hasty=False)
        self._closing = False
        self.ends: Counter[int] = Counter()

    async def run(self) -> None:
        """Run until closed, one life after another."""
        while not self._closing:
            self._bot.start()
            try:
                self.ends[await self._bot.wait_for_end(timeout=math.inf)] += 1
            finally:
                self._bot.kill()
            await asyncio.sleep(_RESTART_SECONDS)  # as a process manager does

    def send(self, which: signal.Signals) -> None:
        """Send a signal to the program, if one runs."""
        if self._bot.lives:
            self._bot.signal(which)

    @property
    def serves(self) -> bool:
        """Return True if the program has reported that it is ready."""
        return self._bot.lives and bool(self._bot.log_lines("ready"))

    def close(self) -> None:
        """End the program without a restart."""
        self._closing = True
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)


@contextlib.asynccontextmanager
async def cluster(count: int, environ: Mapping[str, str], directory: Path) -> AsyncIterator[list[Node]]:
    """Run `count` nodes, each with its own directory, name and log."""
    names = [f"node-{number}" for number in range(count)]
    nodes = [
        Node(
            {**environ, "BOT_NAME": name, "DATA_DIR": str(directory / name)},
            directory / f"{name}.log",
        )
        for name in names
    ]
    async with asyncio.TaskGroup() as group:
        for node in nodes:
            group.create_task(node.run())
        try:
            yield nodes
        finally:
            for node in nodes:
                node.close()
