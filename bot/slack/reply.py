"""Replies in threads of Slack: parts as they come. Messages and receipt are in `messages.py`."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

from bot.chat import (
    AnswerButtons,
    Approval,
    Files,
    InboxLookup,
    OpenRequests,
    Part,
    Question,
    Receipt,
    ThreadId,
)
from bot.platforms.read_ahead import ReadAhead
from bot.slack.answer_forms import button_blocks
from bot.slack.api import SlackApi
from bot.slack.artifacts import Artifacts, NativeBlocks
from bot.slack.ask_forms import questions_to_show
from bot.slack.growth import EditBudget, Growth
from bot.slack.messages import ReplyMessages
from bot.slack.rate_limits import RateLimits
from bot.slack.renderer import Card, Renderer
from bot.slack.requests import Requests
from bot.slack.status import Session, Status
from bot.slack.step_line import StepLine
from bot.slack.stream import Stream, StreamBudget
from bot.slack.timing import Timing
from bot.slack.uploads import Uploads

Streaming = Literal["native", "edit"]
"""Way in which channels see an answer grow: `native` streams it to the asker, `edit` shows it to all."""

Manner = Literal["stream", "edit", "post"]
"""Way in which one answer is shown; `post` shows it when it is complete."""


@dataclass(frozen=True, slots=True)
class SlackThread:
    """A thread in a channel or direct message."""

    id: ThreadId
    api: SlackApi
    limits: RateLimits
    status: Status
    budget: StreamBudget
    edit_budget: EditBudget
    streaming: Streaming
    native: NativeBlocks
    lookup: InboxLookup
    files: Files
    timing: Timing

    async def reply(self, parts: AsyncIterator[Part], receipt: Receipt) -> None:
        """Stream `parts` into the thread, or post the rest where Slack takes no (more) stream.

        Messages of an earlier attempt are edited, not appended to: its last append may be missing, and the
        model may answer differently. If a user stops the stream, the parts end soon, or the user may not
        stop the answer: then it is shown whole.
        """
        if receipt.state.get("finished"):
            await self.status.end_finished(self.id, receipt)
            return
        messages = ReplyMessages(self.api, self.limits, self.id, receipt, self.timing)
        manner = self._manner(receipt)
        if manner != "post":
            messages.expect(stream=manner == "stream")
        session = Session()
        text = _text_of(parts, messages, Requests(messages, self.lookup), session)
        async with ReadAhead(text) as ahead, self.status.at_work(self.id, receipt, session):
            try:
                await self._show(ahead, messages, receipt, session, manner)
            finally:
                messages.expect_none()
            if ahead.failure:
                raise ahead.failure

    def _manner(self, receipt: Receipt) -> Manner:
        newest = receipt.turn.messages[-1]
        kind = newest.place.get("channel_kind")
        if self.streaming == "edit" and kind != "im":
            return "edit"
        # a group direct message answers a stream with channel_type_not_supported; a webhook is no recipient
        return "post" if kind == "mpim" or newest.bot_ids else "stream"

    async def _show(
        self, ahead: ReadAhead, messages: ReplyMessages, receipt: Receipt, session: Session, manner: Manner
    ) -> None:
        renderer = Renderer()
        await self._recover(ahead, messages, renderer)
        for question in questions_to_show(receipt.turn):
            await messages.show_question(question)
        uploads = Uploads(self.api, messages, receipt, self.files)
        artifacts = Artifacts(messages, receipt, uploads, self.native)
        is_new = not messages.pages
        if is_new and manner == "edit":
            await Growth(messages, renderer, self.edit_budget, self.timing).follow(ahead)
        elif is_new and manner == "stream" and not messages.writer.has_failed("chat.startStream"):
            stream = Stream(messages, renderer, self.budget, artifacts, session, self.timing)
            if await stream.follow(ahead):
                return
        async with StepLine(self.status, self.id, receipt, self.timing) as line:
            while not ahead.has_ended:
                line.name(renderer.ongoing)
                for part in await ahead.take(None):
                    renderer.add(part)
        if not ahead.failure:
            renderer.finish()
            await messages.show(renderer.text if renderer.text.strip() else renderer.outline())
            if await artifacts.show(renderer):
                renderer.finish()
                await messages.show(renderer.text)
            await messages.finish()

    async def _recover(self, ahead: ReadAhead, messages: ReplyMessages, renderer: Renderer) -> None:
        """End the stream of an attempt that died; the agent tells again which of its steps were running."""
        cards: list[Card] = []
        if messages.may_have_stream:
            for part in await ahead.take(self.timing.replay_timeout):
                renderer.add(part)
            # what has ended may be on an earlier page, which is closed
            cards = renderer.closing_cards(with_ended=all(page.open for page in messages.pages))
        await messages.recover(cards)


async def _text_of(
    parts: AsyncIterator[Part], messages: ReplyMessages, requests: Requests, session: Session
) -> AsyncIterator[Part]:
    """Yield the parts that are shown in the text; requests get separate messages, buttons the last page."""
    async for part in parts:
        match part:
            case AnswerButtons():
                messages.buttons = button_blocks(part)
            case Approval() | Question() if part.state == "asked":
                requests.show(part)
                session.has_changed = messages.is_waiting = True
                session.end_status = "suspended"
            case Approval() | Question():
                session.has_changed = True
                await requests.settle(part)
            case OpenRequests():
                messages.is_waiting = True
                session.end_status = "suspended"
            case _:
                yield part
