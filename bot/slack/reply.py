"""Replies in threads of Slack: parts as they come. Messages and receipt are in `messages.py`."""

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from bot.chat import AnswerButtons, Approval, Files, InboxLookup, Part, Question, Receipt, ThreadId
from bot.platforms.read_ahead import ReadAhead
from bot.slack.answer_forms import button_blocks
from bot.slack.api import SlackApi
from bot.slack.artifacts import Artifacts, NativeBlocks
from bot.slack.ask_forms import questions_to_show
from bot.slack.errors import StoppedByUser
from bot.slack.messages import ReplyMessages
from bot.slack.rate_limits import RateLimits
from bot.slack.renderer import Renderer
from bot.slack.requests import Requests
from bot.slack.status import Session, Status
from bot.slack.stream import Stream, StreamBudget
from bot.slack.timing import Timing
from bot.slack.uploads import Uploads

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SlackThread:
    """A thread in a channel or direct message."""

    id: ThreadId
    api: SlackApi
    limits: RateLimits
    status: Status
    budget: StreamBudget
    native: NativeBlocks
    lookup: InboxLookup
    files: Files
    timing: Timing

    async def reply(self, parts: AsyncIterator[Part], receipt: Receipt) -> None:
        """Stream `parts` into the thread, or post the rest where Slack takes no (more) stream.

        Messages of an earlier attempt are edited, not appended to: its last append may be missing, and the
        model may answer differently. Once a user has stopped the answer, the reply is finished.
        """
        if receipt.state.get("finished"):
            await self.status.end(self.id)  # only this may be missing
            return
        messages = ReplyMessages(self.api, self.limits, self.id, receipt, self.timing)
        if _takes_streams(receipt):
            messages.expect_stream()
        text = _text_of(parts, messages, Requests(messages, self.lookup))
        async with ReadAhead(text) as ahead, self.status.at_work(self.id, receipt) as session:
            try:
                await self._show(ahead, messages, receipt, session)
            except StoppedByUser:
                log.info("answer stopped by user")
                await messages.save(finished=True)
                return
            finally:
                messages.expect_none()
            if ahead.failure:
                raise ahead.failure

    async def _show(
        self, ahead: ReadAhead, messages: ReplyMessages, receipt: Receipt, session: Session
    ) -> None:
        renderer = Renderer()
        await messages.recover()
        for question in questions_to_show(receipt.turn):
            await messages.show_question(question)
        uploads = Uploads(self.api, messages, receipt, self.files)
        artifacts = Artifacts(messages, receipt, uploads, self.native)
        has_failed = messages.writer.has_failed("chat.startStream")
        is_new = not messages.pages and not has_failed
        if is_new and _takes_streams(receipt):
            stream = Stream(messages, renderer, self.budget, artifacts, session, self.timing)
            if await stream.follow(ahead):
                return
        while not ahead.has_ended:
            for part in await ahead.take(None):
                renderer.add(part)
        if not ahead.failure:
            renderer.finish()
            await messages.show(renderer.text if renderer.text.strip() else renderer.outline())
            if await artifacts.show(renderer):
                renderer.finish()
                await messages.show(renderer.text)
            await messages.finish()


async def _text_of(
    parts: AsyncIterator[Part], messages: ReplyMessages, requests: Requests
) -> AsyncIterator[Part]:
    """Yield the parts that are shown in the text; requests get separate messages, buttons the last page."""
    async for part in parts:
        match part:
            case AnswerButtons():
                messages.buttons = button_blocks(part)
            case Approval() | Question() if part.state == "asked":
                requests.show(part)
            case Approval() | Question():
                await requests.settle(part)
            case _:
                yield part


def _takes_streams(receipt: Receipt) -> bool:
    # a group direct message answers a stream with channel_type_not_supported; a webhook cannot be a recipient
    newest = receipt.turn.messages[-1]
    return newest.place.get("channel_kind") != "mpim" and not newest.bot_ids
