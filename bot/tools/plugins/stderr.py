"""Standard error of child processes, copied to the log in bounded form; unread, it would block the child."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TextIO

from bot.chat.text import one_line, visible
from bot.concurrency.tasks import cancel

log = logging.getLogger(__name__)

LINES_A_MINUTE = 20
_MOST_CHARS = 300
_LAST_WORDS_SECONDS = 0.5


@asynccontextmanager
async def stderr_to_log(plugin: str) -> AsyncIterator[TextIO]:
    """Yield a file for a child's standard error; close it once the child has it."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as sink, os.fdopen(reading, "rb") as source:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), source
        )
        copying = asyncio.create_task(_copy(reader, plugin))
        try:
            yield sink
        finally:
            sink.close()
            await asyncio.wait([copying], timeout=_LAST_WORDS_SECONDS)
            await cancel(copying)
            transport.close()


async def _copy(reader: asyncio.StreamReader, plugin: str) -> None:
    begun = b""
    minute = _Minute(plugin)
    while chunk := await reader.read(65_536):
        *lines, begun = (begun + chunk).split(b"\n")
        for each in lines:
            minute.tell(each)
        begun = begun[: 4 * _MOST_CHARS]  # the rest of an endless line is dropped
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
