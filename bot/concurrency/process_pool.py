"""Child processes for long computations, which would take the interpreter lock from the event loop.

A child has no secrets: it gets only the environment variables that it needs, and answers with JSON and bytes.
It stays for further calls, so that what it has imported is imported once.
"""

import asyncio
import contextlib
import json
import logging
import os
import pickle
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import ParamSpec, Protocol, TypeAlias

from bot.chat import Json
from bot.concurrency.pool_child import ERROR, HEADER

log = logging.getLogger(__name__)

P = ParamSpec("P")

Answer: TypeAlias = tuple[Mapping[str, Json], bytes]
"""Result of a call: data, and the bytes of a file."""

_VARIABLES = (
    *("HOME", "LANG", "MPLCONFIGDIR", "PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "USERPROFILE"),
    *("XDG_CACHE_HOME", "XDG_CONFIG_HOME"),
)
"""Environment variables of a child: folders for caches and temporary files."""

_START = "import sys; sys.path[:] = sys.argv[1:]; from bot.concurrency.pool_child import serve; serve()"


class ComputeError(Exception):
    """Call that has no result: it took too long or too much memory, or failed unexpectedly."""


class Compute(Protocol):
    """Place where functions run that compute for long."""

    async def run(self, function: Callable[P, Answer], *args: P.args, **kwargs: P.kwargs) -> Answer:
        """Return the function's answer. Raises `ComputeError`."""


class ComputeThread:
    """Thread for one call after the other; it shares the interpreter lock, and a cancelled call runs on.

    One, because matplotlib is not thread-safe: https://matplotlib.org/stable/users/faq.html#work-with-threads
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="compute")

    async def run(self, function: Callable[P, Answer], *args: P.args, **kwargs: P.kwargs) -> Answer:
        """Return the function's answer."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(function, *args, **kwargs))


@asynccontextmanager
async def open_process_pool(
    most: int = 2, seconds: float = 60.0, idle_seconds: float = 300.0, most_bytes: int = 16 << 20
) -> AsyncIterator["ProcessPool"]:
    """Open a pool of at most `most` children, which start on demand."""
    pool = ProcessPool(most, seconds, idle_seconds, most_bytes)
    try:
        yield pool
    finally:
        await pool.close()


class ProcessPool:
    """Pool of child processes; each call has one for itself, for at most `seconds`."""

    def __init__(self, most: int, seconds: float, idle_seconds: float, most_bytes: int) -> None:
        self._seconds = seconds
        self._idle_seconds = idle_seconds
        self._most_bytes = most_bytes
        self._room = asyncio.Semaphore(most)
        self._idle: list[Process] = []
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, function: Callable[P, Answer], *args: P.args, **kwargs: P.kwargs) -> Answer:
        """Return the answer of a function that the child can import. Raises `ComputeError`.

        A child is ended if its call is cancelled or fails.
        """
        request = await asyncio.to_thread(pickle.dumps, (function, args, kwargs))
        async with self._room:
            child = await self._take()
            try:
                async with asyncio.timeout(self._seconds):
                    answer = await self._call(child, request)
            except (OSError, EOFError, ValueError, RecursionError, TimeoutError) as error:
                log.warning("computation failed", extra={"work": function.__name__, "reason": repr(error)})
                raise ComputeError(str(error)) from error
            else:
                self._keep(child)
            finally:
                if child not in self._idle:
                    await _end(child)
        return answer

    async def close(self) -> None:
        """End all idle children."""
        if self._timer:
            self._timer.cancel()
        while self._idle:
            await _end(self._idle.pop())

    async def _take(self) -> Process:
        """Return an idle child or a new one. Raises `ComputeError`."""
        while self._idle:
            child = self._idle.pop()
            assert child.stdout is not None
            if not child.stdout.at_eof():  # known before `returncode`, which a thread finds out
                return child
            await _end(child)
        environ = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
        command = sys.executable, "-I", "-c", _START, *sys.path
        try:
            return await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environ, start_new_session=True
            )
        except OSError as error:  # no process or memory is available
            raise ComputeError("no process could be started") from error

    async def _call(self, child: Process, request: bytes) -> Answer:
        """Return the child's answer. Raises `OSError`, `EOFError` and `ValueError`."""
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(HEADER.pack(len(request)))
        child.stdin.write(request)
        await child.stdin.drain()
        sizes = [HEADER.unpack(await child.stdout.readexactly(HEADER.size))[0] for _ in range(2)]
        if sum(sizes) > self._most_bytes:
            raise ValueError("the answer is too long")
        told = json.loads(await child.stdout.readexactly(sizes[0]))
        if not isinstance(told, dict):
            raise ValueError("the answer is not an object")  # noqa: TRY004 - what the child sent is at fault
        if ERROR in told:
            raise ValueError(told[ERROR])
        return told, await child.stdout.readexactly(sizes[1])

    def _keep(self, child: Process) -> None:
        """Keep a child for further calls; all idle ones end after a time without any."""
        self._idle.append(child)
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._retire)

    def _retire(self) -> None:
        """Let idle children end: they do without input. Their processes are reaped by the event loop."""
        for child in self._idle:
            assert child.stdin is not None
            child.stdin.close()
        self._idle.clear()


async def _end(child: Process) -> None:
    """Kill a child and discard its output: asyncio waits until the output is read."""
    assert child.stdout is not None
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
    while await child.stdout.read(1 << 16):
        pass
    await child.wait()
