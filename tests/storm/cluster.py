"""The processes under test: several bots on one Redis, killed, stopped and started again."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from tests.running import Program, program


class Node:
    """One process of the bot under a name that it keeps; it is started again whenever it has ended."""

    def __init__(self, name: str, environ: Mapping[str, str]) -> None:
        self.name = name
        self._environ = environ
        self._current: Program | None = None
        self.log: list[str] = []
        self._closing = False

    async def run(self) -> None:
        """Run until closed, one program after another."""
        while not self._closing:
            async with program(self._environ) as current:
                self._current = current
                await current.process.wait()
            self.log += [f"--- {self.name} ended with {current.process.returncode}", *current.output]

    def send(self, which: signal.Signals) -> None:
        """Send a signal to the program, if one runs."""
        if self._current and self._current.process.returncode is None:
            self._current.process.send_signal(which)

    @property
    def all_output(self) -> list[str]:
        """What the programs under this name have logged."""
        return [*self.log, *(self._current.output if self._current else [])]

    @property
    def serves(self) -> bool:
        """Whether the program has told that it is ready."""
        current = self._current
        return bool(current and current.process.returncode is None and current.said("ready"))

    def close(self) -> None:
        """Let the program end, and start no other."""
        self._closing = True
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)


@contextlib.asynccontextmanager
async def cluster(count: int, environ: Mapping[str, str], directory: Path) -> AsyncIterator[list[Node]]:
    """So many nodes, each with a directory and a name of its own."""
    nodes = [
        Node(
            f"node-{number}",
            {**environ, "BOT_NAME": f"node-{number}", "DATA_DIR": str(directory / str(number))},
        )
        for number in range(count)
    ]
    async with asyncio.TaskGroup() as group:
        for node in nodes:
            group.create_task(node.run())
        try:
            yield nodes
        finally:
            for node in nodes:
                node.close()
