"""Answering in a thread of Slack."""

import asyncio
import logging
from collections.abc import AsyncIterator

from bot.chat import LeaseLost, Part, PlatformError, Receipt, ThreadId
from bot.slack.api import SlackApi
from bot.slack.draft import Draft
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

        What an earlier attempt began is brought to its end by editing its last message, since nobody
        knows whether its last append was taken. Where there can be no stream, the answer is posted.
        """
        if receipt.state.get("finished"):
            return
        async with Feed(parts) as feed:
            await self._set_status(THINKING)
            await self._show(feed, receipt)
            if not isinstance(feed.failure, LeaseLost):
                await self._set_status("")
            if feed.failure:
                raise feed.failure

    async def _show(self, feed: Feed, receipt: Receipt) -> None:
        messages, draft = Messages(self._api, self._id, receipt), Draft()
        await messages.close_orphan()
        streamed = not messages.pages and self._may_stream(receipt)
        if streamed and await Stream(messages, draft, self._budget).follow(feed):
            return
        while not feed.ended:
            for part in await feed.take(None):
                draft.add(part)
        if not feed.failure:
            draft.complete()
            await messages.show(draft.rendered if draft.rendered.strip() else draft.outline())
            await messages.save(finished=True)

    def _may_stream(self, receipt: Receipt) -> bool:
        # a group direct message answers a stream with channel_type_not_supported
        kind = receipt.turn.messages[-1].place.get("channel_kind")
        return kind != "mpim" and self._budget.may_start()

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
