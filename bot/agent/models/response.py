"""Response of a model service, read into a `Completion`: a stream of events, or one JSON document."""

import asyncio
import json
import math
from collections.abc import AsyncGenerator
from contextlib import suppress

import aiohttp

from bot.agent.models import errors
from bot.agent.models.completion import Completion
from bot.agent.models.errors import CallFailed
from bot.agent.models.sse import EventReader, TooLong

_END_SECONDS = 0.1
_JOIN_SECONDS = 0.05
"""Time after a shown text in which more of the answer arrives, to be read and shown at once: to read each
piece by itself costs several times as much."""

_SHOW_SECONDS = 0.005
"""Time after a shown text in which nothing is read, even if the answer has ended: else the text would wait,
in several tasks that follow each other, until all of the rest is read."""


async def read_answer(response: aiohttp.ClientResponse, completion: Completion) -> AsyncGenerator[None]:
    """Read the answer into `completion`; yield when data has arrived."""
    reader, pauses = EventReader(), _Pauses(response.content)
    try:
        while chunk := await _next(response.content):
            if pauses.is_early:
                chunk += await pauses.gather()
            for event in reader.feed(chunk):
                completion.feed(event)
                if completion.is_done:
                    break
            yield
            if completion.is_done:
                return
            if completion.times_shown > 1:  # the first one may be a part of a word, which waits for the rest
                pauses.begin()
    except TooLong as error:
        raise CallFailed(errors.BROKEN, str(error)) from None
    for event in reader.finish():
        completion.feed(event)
    if reader.stray and not completion.is_ended:
        _feed_whole(reader.stray, completion)


class _Pauses:
    """Pauses after shown texts. One is made only if the next data comes early: a slow model pays for none."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content
        self._loop = asyncio.get_running_loop()
        self._shown_at = -math.inf
        self._woken = asyncio.Event()
        content.on_eof(self._woken.set)

    def begin(self) -> None:
        """Begin a pause, now that a text has been shown."""
        self._shown_at = self._loop.time()

    @property
    def is_early(self) -> bool:
        """Return True until the pause is over."""
        return self._loop.time() < self._shown_at + _JOIN_SECONDS

    async def gather(self) -> bytes:
        """Wait for the end of the pause or of the answer, and return what has arrived until then."""
        await asyncio.sleep(self._shown_at + _SHOW_SECONDS - self._loop.time())
        if not self._content.is_eof():
            self._woken.clear()
            timer = self._loop.call_at(self._shown_at + _JOIN_SECONDS, self._woken.set)
            await self._woken.wait()
            timer.cancel()
        return self._content._read_nowait(-1)


async def _next(content: aiohttp.StreamReader) -> bytes:
    """Return what has arrived, also if the connection broke after it, for which aiohttp raises at once."""
    try:
        return await content.readany()
    except (aiohttp.ClientError, OSError):
        if rest := content._read_nowait(-1):
            return rest
        raise


async def read_rest(response: aiohttp.ClientResponse) -> None:
    """Read the rest of the body after the answer: else the connection cannot be reused."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_END_SECONDS):
            await response.content.readany()


def _feed_whole(body: str, completion: Completion) -> None:
    """Read a body that is not a stream: an answer or an error in JSON, or something else."""
    try:
        value = json.loads(body, strict=False)
    except (ValueError, RecursionError):
        what = "HTML" if body.lstrip().startswith("<") else "text"
        raise CallFailed(errors.BROKEN, f"{len(body)} characters of {what} in place of an answer") from None
    if isinstance(value, list) and value:
        value = value[0]
    completion.feed_chunk(value)
