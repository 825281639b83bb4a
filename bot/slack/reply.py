"""Answering in a thread of Slack."""

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from bot.chat import Files, InboxLookup, Part, Receipt, ThreadId
from bot.platforms.read_ahead import Feed
from bot.slack.api import SlackApi
from bot.slack.approvals import set_aside
from bot.slack.errors import StoppedByUser
from bot.slack.messages import Messages
from bot.slack.rate_limits import Limits
from bot.slack.renderer import Draft
from bot.slack.status import Statuses
from bot.slack.stream import Stream, StreamBudget
from bot.slack.uploads import Uploads
from bot.slack.writer import PART_SECONDS

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SlackThread:
    """A thread in a channel or direct message."""

    id: ThreadId
    api: SlackApi
    limits: Limits
    statuses: Statuses
    budget: StreamBudget
    lookup: InboxLookup
    files: Files
    part_seconds: float = PART_SECONDS
    """For how long a part may fail while Slack otherwise answers: then a sentence stands in its place."""

    async def reply(self, parts: AsyncIterator[Part], receipt: Receipt) -> None:
        """Stream `parts` into the thread; see `bot.chat.Thread`.

        What an earlier attempt began is brought to its end by editing its messages, since nobody knows
        whether its last append was taken, nor that the model answers the same again. Where there can be
        no (more) stream, the rest is posted. Once a person has stopped the answer, it is finished.
        """
        if receipt.state.get("finished"):
            await self.statuses.end(self.id)  # that may be all that is missing
            return
        messages = Messages(self.api, self.limits, self.id, receipt, self.part_seconds)
        told = set_aside(parts, messages, self.lookup)
        async with Feed(told) as feed, self.statuses.at_work(self.id, receipt):
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
        uploads = Uploads(self.api, messages, receipt, self.files)
        has_failed = messages.writer.has_failed("chat.startStream")
        is_new = not messages.pages and not has_failed
        if (
            is_new
            and _takes_streams(receipt)
            and await Stream(messages, draft, self.budget, uploads).follow(feed)
        ):
            return
        while not feed.ended:
            for part in await feed.take(None):
                draft.add(part)
        if not feed.failure:
            draft.complete()
            await messages.show(draft.rendered if draft.rendered.strip() else draft.outline())
            if await uploads.show(draft):
                draft.complete()
                await messages.show(draft.rendered)
            await messages.finish()


def _takes_streams(receipt: Receipt) -> bool:
    # a group direct message answers a stream with channel_type_not_supported; a webhook is no recipient
    newest = receipt.turn.messages[-1]
    return newest.place.get("channel_kind") != "mpim" and not newest.bot_ids
