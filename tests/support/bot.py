"""The bot under test: in this process for speed, or as the program that an operator starts."""

import asyncio
import json
import os
import re
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from bot.app import Bot, Intervals
from bot.composition import open_bot
from bot.config import PlatformSettings, Settings, secret_value, settings_with
from bot.main import main
from bot.platforms.adapter import Adapter
from bot.storage.embedded import open_servers
from tests.support.blocking import detect_blocking
from tests.support.forks import FORKS, become
from tests.support.platforms import platforms_with
from tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def run_bot(
    platforms: Sequence[Adapter[Any]] = platforms_with(),
    intervals: Intervals | None = None,
    /,
    **settings: Any,
) -> AsyncIterator[Bot]:
    """Run the whole bot in this process, with these settings and nothing from the environment.

    A call of the bot that blocks the event loop raises `BlockingError` meanwhile.
    """
    stop = asyncio.Event()
    values = {"http_port": 0, "shutdown_grace": 5, "lease_seconds": 2} | settings
    chosen = _settings_with(tuple(each.settings for each in platforms))(_env_file=None, **values)
    addresses = secret_value(chosen.redis_url), secret_value(chosen.database_url)
    async with (
        open_servers(chosen.data_dir, *addresses) as servers,
        open_bot(chosen, servers, platforms) as opened,
        detect_blocking(),
        asyncio.TaskGroup() as group,
    ):
        bot = replace(opened, intervals=intervals or opened.intervals)
        group.create_task(bot.run(stop, time.monotonic()))
        try:
            await wait_until(lambda: _takes_messages(bot), "messages are taken")
            yield bot
        finally:
            stop.set()


@cache
def _settings_with(kinds: tuple[type[PlatformSettings], ...]) -> type[Settings]:
    """Return the class of all settings, made once: that takes longer than to read them."""
    return settings_with(kinds)


async def _takes_messages(bot: Bot) -> bool:
    """Return True if `POST /chat` is answered, or if the bot serves no HTTP."""
    if "http" not in bot.settings.bot_roles:
        return True
    return all([(await each.health()).state == "ok" for each in bot.platforms if each.name == "http"])


def http_port(bot: Bot) -> int:
    """Return the port of the bot under test."""
    return int(next(platform for platform in bot.platforms if platform.name == "http").port)  # type: ignore[attr-defined]


class Program:
    """The program as a child process, with its log lines as JSON objects."""

    def __init__(self, process: "Process | Fork") -> None:
        self.process = process
        self.log: list[dict[str, Any]] = []
        self.output: list[str] = []
        self._all_read = asyncio.Event()

    async def read(self, stream: asyncio.StreamReader) -> None:
        """Read the program's output until it ends."""
        async for line in stream:
            text = line.decode().rstrip()
            self.output.append(text)
            if text.startswith("{"):
                self.log.append(json.loads(text))
        self._all_read.set()

    def log_lines(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of one event."""
        return [line for line in self.log if line["event"] == event]

    async def ready(self) -> None:
        """Wait until it serves."""
        await wait_until(
            lambda: bool(self.log_lines("ready")) or self.process.returncode is not None,
            "program ready",
            timeout=40,
        )
        assert self.process.returncode is None, "\n".join(self.output)

    @property
    def port(self) -> int:
        """Return its HTTP port."""
        page = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/", self.log_lines("listening")[0]["page"])
        assert page
        return int(page[1])

    async def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; return the exit code."""
        self.process.send_signal(with_signal)
        return await self.wait_for_end()

    async def wait_for_end(self) -> int:
        """Wait until the program has ended by itself; return the exit code."""
        async with asyncio.timeout(40):
            await self._all_read.wait()
            return await self.process.wait()


class Fork:
    """A fork as a child process of asyncio's."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process
        assert process.pid is not None
        self.pid = process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, which: int) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, which)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()

    async def wait(self) -> int:
        """Return the exit code, once there is one."""
        await asyncio.to_thread(self._process.join)
        assert self.returncode is not None
        return self.returncode


_DEFAULTS = {"HTTP_PORT": "0", "LOG_FORMAT": "json", "SHUTDOWN_GRACE": "5", "LEASE_SECONDS": "2"}


def _environ(variables: Mapping[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**kept, **_DEFAULTS, **variables}


@asynccontextmanager
async def program(environ: Mapping[str, str], *arguments: str) -> AsyncIterator[Program]:
    """Start `python -m bot` with only these variables set; kill what is still running at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", *arguments),
        cwd=ROOT,
        env=_environ(environ),
        stderr=PIPE,
        stdout=PIPE,
    )
    assert process.stderr is not None
    async with _read(Program(process), process.stderr) as started:
        yield started


@asynccontextmanager
async def fork_program(environ: Mapping[str, str], *arguments: str) -> AsyncIterator[Program]:
    """Start the same without seconds of imports, where the start itself is not what is tested."""
    reader, writer = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=_serve, args=(_environ(environ), writer, arguments), daemon=True)
    process.start()
    writer.close()
    written = asyncio.StreamReader()
    pipe = os.fdopen(os.dup(reader.fileno()), "rb")
    reader.close()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(written), pipe)
    try:
        async with _read(Program(Fork(process)), written) as started:
            yield started
    finally:
        transport.close()  # also closes the file


def _serve(environ: Mapping[str, str], writer: Connection, arguments: Sequence[str]) -> None:
    become(environ, writer.fileno())
    sys.exit(main(arguments))


@asynccontextmanager
async def _read(program: Program, stream: asyncio.StreamReader) -> AsyncIterator[Program]:
    reader = asyncio.create_task(program.read(stream))
    process = program.process
    try:
        yield program
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reader
