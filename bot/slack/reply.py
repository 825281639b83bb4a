"""Answering in a thread of Slack."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from bot.chat import LeaseLost, Part, PlatformError, Receipt, ThreadId
from bot.slack.api import SlackApi
from bot.slack.draft import Draft
from bot.slack.errors import StoppedByUser
from bot.slack.feed import Feed
from bot.slack.messages import Messages
from bot.slack.stream import Stream, StreamBudget

log = logging.getLogger(__name__)

THINKING = "is thinking…"
"""Slack puts the bot's name before it."""

_STATUS_TIMEOUT = 2.0
"""Seconds for the status line, which is a nicety."""


class SlackThread:
    """A thread in a channel or direct message."""

    def __init__(self, api: SlackApi, id: ThreadId, budget: StreamBudget) -> None:
        self._api = api
        self._id = id
        self._budget = budget

    async def reply(self, parts: AsyncIterator[Part], receipt: Receipt) -> None:
        """Stream `parts` into the thread; see `bot.chat.Thread`.

        What an earlier attempt began is brought to its end by editing its messages, since nobody knows
        whether its last append was taken, nor that the model answers the same again. Where there can be
        no (more) stream, the rest is posted. Once a person has stopped the answer, it is finished.
        """
        if receipt.state.get("finished"):
            return
        messages = Messages(self._api, self._id, receipt)
        async with Feed(parts) as feed, self._thinking():
            try:
                await self._show(feed, messages, receipt)
            except StoppedByUser:
                log.info("A person stopped the answer")
                await messages.save(finished=True)
                return
            if feed.failure:
                raise feed.failure

    async def _show(self, feed: Feed, messages: Messages, receipt: Receipt) -> None:
        draft = Draft()
        await messages.recover()
        streamed = not messages.pages and _takes_streams(receipt)
        if streamed and await Stream(messages, draft, self._budget).follow(feed):
            return
        while not feed.ended:
            for part in await feed.take(None):
                draft.add(part)
        if not feed.failure:
            draft.complete()
            await messages.show(draft.rendered if draft.rendered.strip() else draft.outline())
            await messages.save(finished=True)

    @contextlib.asynccontextmanager
    async def _thinking(self) -> AsyncIterator[None]:
        """Say that the bot is at work, and no longer when it is not."""
        await self._set_status(THINKING)
        ours = True
        try:
            yield
        except (LeaseLost, asyncio.CancelledError):
            ours = False  # another attempt goes on, and clears it
            raise
        finally:
            if ours:
                await self._set_status("")

    async def _set_status(self, status: str) -> None:
        # Slack clears it by itself with an answer, or after two minutes
        try:
            async with asyncio.timeout(_STATUS_TIMEOUT):
                await self._api.write(
                    "assistant.threads.setStatus",
                    channel_id=self._id.channel,
                    thread_ts=self._id.thread,
                    status=status,
                )
        except (PlatformError, TimeoutError) as error:
            log.debug("No status in Slack", extra={"error": str(error)})


def _takes_streams(receipt: Receipt) -> bool:
    # a group direct message answers a stream with channel_type_not_supported
    return receipt.turn.messages[-1].place.get("channel_kind") != "mpim"
