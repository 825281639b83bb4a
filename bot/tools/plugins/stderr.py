"""Standard error of child processes, copied to the log in bounded form; unread, it would block the child."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from io import FileIO
from typing import TextIO

from bot.chat.text import one_line, visible

log = logging.getLogger(__name__)

LINES_A_MINUTE = 20
_MOST_CHARS = 300
_MOST_BYTES = 65_536
"""Bytes that are read at once."""

_LAST_WORDS_SECONDS = 0.5


@asynccontextmanager
async def stderr_to_log(plugin: str) -> AsyncIterator[TextIO]:
    """Yield a file for a child's standard error; close it once the child has it."""
    reading, writing = os.pipe()
    with (
        os.fdopen(reading, "rb", buffering=0) as source,
        _copy(source, plugin) as ended,
        os.fdopen(writing, "w") as sink,
    ):
        try:
            yield sink
        finally:
            sink.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_SECONDS):
                    await ended.wait()


@contextmanager
def _copy(source: FileIO, plugin: str) -> Iterator[asyncio.Event]:
    """Copy lines to the log as they come; yield an event for the end of the file.

    There is no transport, since uvloop's closes the descriptor by its number, and only later: if the file is
    closed before, the number is another file's, and uvloop ends the process.
    """
    loop, ended, minute = asyncio.get_running_loop(), asyncio.Event(), _Minute(plugin)
    begun = b""

    def read() -> None:
        nonlocal begun
        chunk = source.read(_MOST_BYTES)
        if chunk is None:  # it was not ready after all
            return
        *lines, begun = (begun + chunk).split(b"\n")
        for each in lines:
            minute.tell(each)
        begun = begun[: 4 * _MOST_CHARS]  # the rest of an endless line is dropped
        if not chunk:
            loop.remove_reader(source)
            ended.set()

    os.set_blocking(source.fileno(), False)
    loop.add_reader(source, read)
    try:
        yield ended
    finally:
        loop.remove_reader(source)
        if begun:
            minute.tell(begun)
        minute.end()


class _Minute:
    """Rate limit of log lines: the first lines of each minute, and the number of the others."""

    def __init__(self, plugin: str) -> None:
        self._plugin = plugin
        self._ends = 0.0
        self._lines = 0

    def tell(self, raw: bytes) -> None:
        if time.monotonic() >= self._ends:
            self.end()
            self._ends = time.monotonic() + 60
        self._lines += 1
        text = one_line(visible(raw[: 4 * _MOST_CHARS].decode(errors="replace"), _MOST_CHARS))
        if text and self._lines <= LINES_A_MINUTE:
            log.info("plug-in output", extra={"plugin": self._plugin, "line": text})

    def end(self) -> None:
        if self._lines > LINES_A_MINUTE:
            more = self._lines - LINES_A_MINUTE
            log.info("plug-in output suppressed", extra={"plugin": self._plugin, "lines": more})
        self._lines = 0
