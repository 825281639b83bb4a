"""Showing an answer while it grows, in Slack's append-only streams.

https://docs.slack.dev/reference/methods/chat.startStream, chat.appendStream and chat.stopStream.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Iterator

from bot.chat import Json, LeaseLost, PlatformError
from bot.slack.draft import Draft
from bot.slack.errors import Refused, StreamEnded
from bot.slack.feed import Feed
from bot.slack.markdown import Cut
from bot.slack.messages import Messages, Page

log = logging.getLogger(__name__)

STREAM_SECONDS = 240.0
"""After this time we go on in a new message. Slack ends a stream some 300 s after its start, whatever it is
doing: https://github.com/slackapi/python-slack-sdk/issues/1859"""

_FLUSH_SECONDS = 1.0
_FLUSH_SIZE = 256
"""A stream is appended to once a second, and only every other second with fewer characters than this."""

_STARTS_PER_MINUTE = 18
_APPENDS_PER_MINUTE = 90
"""Slack's limits are 20 and 100 a minute, for all streams of a workspace together (tiers 2 and 4)."""


class StreamBudget:
    """Shares the workspace's limits among the answers that are streamed at once; never waits."""

    def __init__(self) -> None:
        self._streaming = 0
        self._starts: deque[float] = deque()

    def may_start(self) -> bool:
        """Whether Slack would take one more stream now."""
        while self._starts and self._starts[0] < _now() - 60:
            self._starts.popleft()
        return len(self._starts) < _STARTS_PER_MINUTE

    def started(self) -> None:
        """Count a stream that was started."""
        self._starts.append(_now())

    @contextlib.contextmanager
    def share(self) -> Iterator[None]:
        """Count as one of the answers that are streamed."""
        self._streaming += 1
        try:
            yield
        finally:
            self._streaming -= 1

    def interval(self) -> float:
        """Seconds between two appends to one stream."""
        return max(_FLUSH_SECONDS, self._streaming * 60 / _APPENDS_PER_MINUTE)


class Stream:
    """One answer as it is streamed, page after page. A page is one message."""

    def __init__(self, messages: Messages, draft: Draft, budget: StreamBudget) -> None:
        self._messages = messages
        self._draft = draft
        self._budget = budget
        self._page = Page()
        self._body = ""  # the page's text, shown or not, without what reopens and closes a code block
        self._chunks: list[dict[str, Json]] = []  # of the page, not shown yet
        self._started_at = 0.0
        self._flushed_at = float("-inf")

    async def follow(self, feed: Feed) -> bool:
        """Show what `feed` brings until it ends. False when Slack takes no (more) stream here.

        When the answer fails, the message is ended as it stands.
        """
        try:
            with self._budget.share():
                while not feed.ended:
                    for part in await feed.take(self._patience()):
                        self._draft.add(part)
                    if self._patience() == 0:
                        await self._flush()
                await (self._abandon(feed.failure) if feed.failure else self._finish())
        except _NoStream as error:
            log.warning("Slack takes no stream here", extra={"error": str(error.__cause__)})
            return False
        return True

    def _patience(self) -> float | None:
        """Seconds until something is to be shown; None when only a further part brings that about."""
        if not self._draft.waiting:
            return None
        interval = self._budget.interval()
        if self._draft.waiting_size < _FLUSH_SIZE:
            interval *= 2
        return max(0.0, self._flushed_at + interval - _now())

    async def _flush(self) -> None:
        await self._take()
        if self._has_content():
            await self._send()
            self._flushed_at = _now()
        if self._page.open and _now() > self._started_at + STREAM_SECONDS:
            self._draft.cut_soon()

    async def _finish(self) -> None:
        self._draft.complete()
        await self._take()
        await self._end_page("")
        await self._messages.save(finished=True)

    async def _abandon(self, failure: BaseException) -> None:
        if self._page.open and not isinstance(failure, LeaseLost):  # without the lease we write no more
            with contextlib.suppress(PlatformError):  # the answer's own error is what counts
                await self._messages.stop(self._page, [], self._page.shown)

    async def _take(self) -> None:
        for item in self._draft.take():
            if isinstance(item, Cut):
                await self._end_page(item.close)
                self._next_page(item)
            elif isinstance(item, str):
                self._body += item
                self._add_text(item)
            else:
                self._chunks.append(item)

    def _add_text(self, text: str) -> None:
        if self._chunks and self._chunks[-1]["type"] == "markdown_text":
            self._chunks[-1]["text"] += text
        elif text:
            self._chunks.append({"type": "markdown_text", "text": text})

    def _has_content(self) -> bool:
        """Whether the page would show anything; Slack refuses a message without."""
        cards = any(chunk["type"] == "task_update" for chunk in self._chunks)
        return bool(self._chunks) and (self._page.open or cards or bool(self._body.strip()))

    async def _send(self) -> None:
        if not self._page.ts:
            await self._start()
            return
        try:
            await self._messages.append(self._page, self._chunks, len(self._body))
            self._chunks = []
        except StreamEnded:
            await self._move_on()

    async def _start(self) -> None:
        try:
            await self._messages.start(self._page, self._chunks, len(self._body))
        except Refused as error:
            raise _NoStream from error
        self._chunks = []
        self._started_at = _now()
        self._budget.started()

    async def _end_page(self, close: str) -> None:
        self._add_text(close)
        if not self._page.ts:
            if not self._has_content():
                return
            await self._start()
        try:
            await self._messages.stop(self._page, self._chunks, len(self._body))
        except StreamEnded:
            await self._mend(close)

    async def _move_on(self) -> None:
        """Slack has ended the stream: bring its message up to date, and go on in a new one."""
        cut, cards_only = self._draft.cut(), not self._body.strip()
        unsent = self._chunks
        await self._mend(cut.close)
        self._next_page(cut)
        if cards_only:  # an edit can hold no card
            self._chunks = unsent
            await self._send()

    async def _mend(self, close: str) -> None:
        self._page.open = False
        if self._page.shown < len(self._body) and self._body.strip():
            text = self._page.reopen + self._body + close
            await self._messages.update(self._page, text, len(self._body))

    def _next_page(self, cut: Cut) -> None:
        self._page = Page(start=self._page.start + len(self._body), reopen=cut.reopen)
        self._body = ""
        self._chunks = []
        self._add_text(cut.reopen)


class _NoStream(Exception):
    """Slack refused to open a stream."""


def _now() -> float:
    return asyncio.get_running_loop().time()
