"""Streams of Slack: they show an answer while it grows, and can only be appended to.

https://docs.slack.dev/reference/methods/chat.startStream, chat.appendStream and chat.stopStream.
"""

import asyncio
import contextlib
import logging
from collections.abc import Collection, Iterator, Sequence

from bot.chat import Json, LeaseLost, Part, PlatformError, RateLimited, StorageDown, ToolStep
from bot.platforms.read_ahead import ReadAhead
from bot.slack.artifacts import Artifacts
from bot.slack.errors import Refused, StoppedByUser, StreamEnded
from bot.slack.markdown import PageBreak, paginate
from bot.slack.messages import ReplyMessages
from bot.slack.page import Page
from bot.slack.rate_limits import RateLimits
from bot.slack.renderer import Card, Renderer
from bot.slack.status import Session
from bot.slack.texts import PLAN, PLAN_BROKEN_OFF, plan_done
from bot.slack.timing import Timing

log = logging.getLogger(__name__)

_FLUSH_SIZE = 256
"""A stream with fewer characters to append than this waits twice as long."""


class StreamBudget:
    """Shares the workspace's limits among all answers that are being streamed, in all processes."""

    def __init__(self, limits: RateLimits, flush_interval: float) -> None:
        self._limits = limits
        self._flush_interval = flush_interval
        self._streaming = 0

    async def may_start(self, team: str) -> bool:
        """Return whether Slack accepts one more stream now; if so, it counts as started."""
        return not await self._limits.delay(team, "chat.startStream")

    async def append_delay(self, team: str) -> float:
        """Return the seconds until Slack accepts one more append; 0 counts it as made."""
        return await self._limits.delay(team, "chat.appendStream")

    @contextlib.contextmanager
    def share(self) -> Iterator[None]:
        """Count as one of the streamed answers."""
        self._streaming += 1
        try:
            yield
        finally:
            self._streaming -= 1

    def interval(self) -> float:
        """Return the seconds between two appends to one stream."""
        return max(self._flush_interval, self._streaming * 60 / self._limits.per_minute["chat.appendStream"])


class Stream:
    """Stream of one answer, page after page. A page is one message."""

    def __init__(
        self,
        messages: ReplyMessages,
        renderer: Renderer,
        budget: StreamBudget,
        artifacts: Artifacts,
        session: Session,
        timing: Timing,
    ) -> None:
        self._messages = messages
        self._session = session  # ends with the last page
        self._artifacts = artifacts
        self._renderer = renderer
        self._budget = budget
        self._timing = timing
        self._page: Page | None = None  # none before the first chunk
        self._reopen = ""  # continues a code block at the beginning of the page
        self._body = ""  # the page's text after that, shown or not, without the end of an open code block
        self._shown = 0  # characters of it that Slack has confirmed
        self._chunks: list[dict[str, Json]] = []  # of the page, not shown yet
        self._running: dict[str, Card] = {}  # the page's cards of steps that have not ended
        self._plan: set[Json] | None = None  # ids of the page's steps, if it shows them in a plan
        self._cards: dict[str, None] = {}  # ids of all cards of the page
        self._started_at = 0.0
        self._flushed_at = float("-inf")
        self._step_due = float("inf")  # when a step that has just started has to be shown

    async def follow(self, ahead: ReadAhead) -> bool:
        """Show the parts of `ahead` until it ends; return False if Slack takes no (more) stream here.

        The stream is always ended, unless the lease is lost, also by a user who presses Slack's stop button.
        """
        try:
            with self._budget.share():
                await self._follow(ahead)
        except LeaseLost:
            raise
        except StoppedByUser:
            log.info("stream stopped by user")
            return False
        except (Refused, _NoStream) as error:
            log.warning("stream refused", extra={"error": str(error)})
            await self._close()
            return False
        except Exception:  # any error is raised again, but the stream must not look alive
            await self._abandon()
            raise
        return True

    async def _follow(self, ahead: ReadAhead) -> None:
        while not ahead.has_ended:
            for part in await ahead.take(self._patience()):
                self._add(part)
            if self._patience() == 0:
                await self._flush()
            if self._renderer.artifacts:
                await self._show_artifacts()
        if not ahead.failure:
            await self._finish()
        elif not isinstance(ahead.failure, LeaseLost):  # without the lease nothing more is written
            await self._abandon()

    def _add(self, part: Part) -> None:
        self._renderer.add(part)
        if isinstance(part, ToolStep):
            due = _now() + self._timing.step_delay if part.state == "started" else float("inf")
            self._step_due = min(self._step_due, due) if self._renderer.ongoing else due

    def _patience(self) -> float | None:
        """Return the seconds until the next flush; None if nothing waits to be shown."""
        if not self._renderer.has_items:
            return None
        interval = self._budget.interval()
        if self._renderer.items_size < _FLUSH_SIZE:
            interval *= 2
        return max(0.0, min(self._flushed_at + interval, self._step_due) - _now())

    async def _flush(self) -> None:
        self._step_due = float("inf")
        if self._page and (seconds := await self._budget.append_delay(self._messages.thread.space)):
            self._flushed_at = (
                _now() + seconds - self._budget.interval()
            )  # parts that arrive until then are included
            return
        await self._take()
        if self._has_content():
            await self._send()
            self._flushed_at = _now()
        if self._page and _now() >= self._started_at + self._timing.stream_max_age:
            self._renderer.cut_soon()

    async def _show_artifacts(self) -> None:
        """Show the text so far, and tables and files below it; the message continues above them."""
        await self._flush()
        await self._artifacts.show(self._renderer)

    async def _finish(self) -> None:
        if self._renderer.artifacts:  # all had come before the stream was followed
            await self._show_artifacts()
        self._renderer.finish()
        await self._take()
        await self._end_page("", is_last=True)
        await self._messages.finish()

    async def _abandon(self) -> None:
        """End the stream if possible, without hiding the original error."""
        with contextlib.suppress(PlatformError, StorageDown, TimeoutError):
            async with asyncio.timeout(self._timing.close_timeout):
                await self._close()

    async def _close(self) -> None:
        if self._page and self._page.open:
            failed = [card | {"status": "error"} for card in self._running.values()]
            title = [] if self._plan is None else [_plan_update(PLAN_BROKEN_OFF)]
            await self._messages.close(self._page, [*title, *failed])

    async def _take(self) -> None:
        for item in self._renderer.take():
            if isinstance(item, PageBreak):
                await self._end_page(item.close)
                self._next_page(item)
            elif isinstance(item, str):
                self._body += item
                self._add_text(item)
            else:
                self._add_card(item)

    def _add_text(self, text: str) -> None:
        if self._chunks and self._chunks[-1]["type"] == "markdown_text":
            self._chunks[-1]["text"] += text
        elif text:
            self._chunks.append({"type": "markdown_text", "text": text})

    def _add_card(self, card: Card) -> None:
        self._chunks.append(card)
        if self._plan is not None:
            self._plan.add(card["id"])
        self._cards[card["id"]] = None
        self._running.pop(card["id"], None)
        if card["status"] == "in_progress":
            self._running[card["id"]] = card

    def _has_content(self) -> bool:
        """Return whether the page would show anything: Slack refuses an empty message."""
        cards = any(chunk["type"] == "task_update" for chunk in self._chunks)
        return bool(self._chunks) and (self._page is not None or cards or bool(self._body.strip()))

    async def _send(self) -> None:
        if not self._page:
            await self._start()
            return
        try:
            await self._messages.append(self._page, self._chunks)
            self._confirm()
        except StreamEnded:
            await self._move_on(self._page)

    async def _start(self) -> Page:
        if not await self._budget.may_start(self._messages.thread.space):
            raise _NoStream("Slack's limit of streams per minute is reached")
        cards = {chunk["id"] for chunk in self._chunks if chunk["type"] == "task_update"}
        # Slack takes the mode only now: steps that come before the text are often the first of several
        self._plan = cards if self._chunks[0]["type"] == "task_update" else None
        title = [] if self._plan is None else [_plan_update(PLAN)]
        try:
            page = self._page = await self._messages.start([*title, *self._chunks], is_plan=bool(title))
        except RateLimited as error:
            raise _NoStream(str(error)) from error
        self._confirm()
        self._started_at = _now()
        return page

    def _confirm(self) -> None:
        self._shown, self._chunks = len(self._body), []

    async def _end_page(self, close: str, *, is_last: bool = False) -> None:
        self._add_text(close)
        page = self._page
        if not page:
            if not self._has_content():
                return
            page = await self._start()
        if self._plan is not None:
            self._chunks.append(_plan_update(plan_done(len(self._plan))))
        try:
            text = self._reopen + self._body + close
            session = self._session if is_last else None
            await self._messages.stop(page, self._chunks, text, session, is_last=is_last)
        except StreamEnded:
            await self._complete(page, close, is_last=is_last)

    async def _move_on(self, page: Page) -> None:
        """Complete the message of a stream that Slack has ended, and continue in a new one."""
        page.open = False
        cut, cards_only = self._renderer.cut(), not self._body.strip()
        running, ended = list(self._running.values()), [id for id in self._cards if id not in self._running]
        if not cards_only:
            await self._complete(page, cut.close)
        self._next_page(cut)
        if cards_only:  # no call reaches them any more, and an edit can hold no card
            await self._replace_cards(page, self._outline(ended), running)

    async def _replace_cards(self, page: Page, outline: str, running: Sequence[Card]) -> None:
        """Show cards as text where they have ended, and those that are running in a new message."""
        if outline:
            await self._messages.update(page, outline)
        for card in running:
            self._add_card(card)
        if running:
            await self._send()
        if not outline:
            await self._messages.delete(page)

    async def _complete(self, page: Page, close: str, *, is_last: bool = False) -> None:
        # also if all is shown: without a key it would look like the stream of a later turn
        has_text = bool(self._body.strip())
        text = self._reopen + self._body + close if has_text else self._outline(self._cards)
        if text:
            await self._messages.update(page, text, is_last=is_last)

    def _outline(self, ids: Collection[str]) -> str:
        """Return the steps of a page as text, as far as one message has room for them."""
        return "".join(sheet.text for sheet in paginate(self._renderer.outline(ids))[:1])

    def _next_page(self, cut: PageBreak) -> None:
        self._page, self._reopen, self._body, self._shown = None, cut.reopen, "", 0
        self._chunks, self._running, self._cards, self._plan = [], {}, {}, None
        self._add_text(cut.reopen)


class _NoStream(Exception):
    """No stream can be opened now."""


def _plan_update(title: str) -> dict[str, Json]:
    return {"type": "plan_update", "title": title}


def _now() -> float:
    return asyncio.get_running_loop().time()
