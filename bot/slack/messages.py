"""Messages of one reply: the receipt is stored before each message is sent, and notes it right after.

So after a crash, or without an answer from Slack, the bot knows that an unknown message may exist, and looks
for it. `chat.startStream` takes no metadata, so the call that ends the stream adds the key of the turn
(https://docs.slack.dev/reference/methods/chat.stopStream): a message of the bot after the question without a
key is the stream that was being opened.
"""

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial

from bot.chat import Json, Receipt, ThreadId
from bot.platforms.texts import PART, not_shown
from bot.slack.answer_forms import content
from bot.slack.api import SlackApi
from bot.slack.block_text import BlockText
from bot.slack.errors import GivenUp, Refused, StoppedByUser, StreamEnded
from bot.slack.fallback import NO_PREVIEWS, as_it_is, notify_author, write_with_buttons
from bot.slack.markdown import paginate
from bot.slack.page import Extra, Page, digest
from bot.slack.rate_limits import RateLimits
from bot.slack.sent_messages import SentMessages
from bot.slack.status import Session
from bot.slack.texts import refused
from bot.slack.timing import Timing
from bot.slack.writer import Writer

log = logging.getLogger(__name__)

METADATA_TYPE = "bot_turn"
"""`event_type` of the metadata that names the turn."""


class ReplyMessages:
    """Messages of one reply; `pages` are those that exist. All methods raise `PlatformError`."""

    def __init__(
        self, api: SlackApi, limits: RateLimits, thread: ThreadId, receipt: Receipt, timing: Timing
    ) -> None:
        self._api = api
        self._thread = thread
        self._receipt = receipt
        self.writer = Writer(api, limits, thread, receipt, timing)
        self.sent = SentMessages(api, self.writer, thread, receipt)
        self.pages = [Page(**page) for page in receipt.state.get("pages", ())]
        self._unconfirmed: Mapping[str, Json] | None = receipt.state.get("opening")
        self._is_expecting = False
        self.extras: list[Extra] = []
        self.is_waiting = bool(receipt.state.get("waiting"))
        """The thread waits for a user's decision."""
        self.buttons: Sequence[Json] = ()
        """Blocks below the text of the last message."""

    @property
    def thread(self) -> ThreadId:
        """Return the thread of the messages."""
        return self._thread

    @property
    def may_have_stream(self) -> bool:
        """Return whether an earlier attempt may have left a stream open."""
        opening = self._unconfirmed or {}
        return bool(opening.get("stream") or (self.pages and self.pages[-1].open))

    async def recover(self, cards: Sequence[Json] = ()) -> None:
        """Find the message that an earlier attempt may have sent without an answer, and end its stream.

        Its last chunks are `cards`, so that none looks as if it were running.
        """
        if opening := self._unconfirmed:
            found = await self.sent.find(opening, self.pages)
            if found and opening.get("extra"):
                await self._receipt.save(extras=self._posted_extras | {opening["extra"]: found.ts})
            elif found and await self._ends_here(found, cards):
                self.pages.append(found)
            self._unconfirmed = None
            await self.save(opening=None)
        if self.pages and self.pages[-1].open:
            await self.close(self.pages[-1], cards)

    async def _ends_here(self, found: Page, cards: Sequence[Json]) -> bool:
        """End a stream that was found; return False if it had ended, so that it can be another turn's.

        A user can stop an earlier answer after this turn's question: that message never gets a key.
        """
        if not found.open:
            return True
        try:
            await self.stop(found, cards)
        except (StoppedByUser, StreamEnded) as error:
            log.info("stream of another answer left", extra={"error": str(error)})
            return False
        except Refused:
            if not cards:  # else Slack may refuse them
                raise
            return await self._ends_here(found, ())
        return True

    def expect(self, *, stream: bool) -> None:
        """Note that a message is about to be sent, unless an earlier attempt has sent something.

        The checkpoint before the model's request stores it, so that the first text waits for no write.
        """
        if not self.pages and not self._unconfirmed:
            self._note_opening(stream=stream)
            self._is_expecting = True

    def expect_none(self) -> None:
        """Note that no message was sent, if none was: then the next attempt need not look for it."""
        if self._is_expecting:
            self._is_expecting = False
            self._receipt.note(opening=None)

    async def start(self, chunks: Sequence[Json], *, is_plan: bool = False) -> Page:
        """Open a stream with its first chunks. Raises `RateLimited` at once, without waiting.

        `is_plan`: its task cards are together in a plan, not between the text.
        """
        asker = self._receipt.turn.messages[-1].place
        self._note_opening(stream=True)
        self._is_expecting = False
        answer = await self.writer.write_once(
            "chat.startStream",
            "",
            channel=self._thread.channel,
            thread_ts=self._thread.thread,
            recipient_team_id=asker.get("user_team", self._thread.space),
            recipient_user_id=asker["user"],
            chunks=chunks,
            **({"task_display_mode": "plan"} if is_plan else {}),
        )
        page = Page(answer["ts"], open=True)
        self.pages.append(page)
        is_card = any(chunk["type"] != "markdown_text" for chunk in chunks)  # a tool may run for long
        note = self._receipt.note if is_card else self._receipt.note_findable
        note(pages=[asdict(each) for each in self.pages], opening=None)
        return page

    def _note_opening(self, *, stream: bool, extra: str = "") -> None:
        """Note in the receipt that a message is about to be sent; the writer stores it first."""
        opening = {"stream": stream} | ({"extra": extra} if extra else {})
        if self._receipt.state.get("opening") != opening:
            self._receipt.note(opening=opening)

    async def append(self, page: Page, chunks: Sequence[Json]) -> None:
        """Add chunks to a stream. Raises `StreamEnded`."""
        await self._receipt.flush()  # an answer that grows for long is not left to be found
        await self.writer.write("chat.appendStream", page.ts, **self._at(page), chunks=chunks)

    async def stop(
        self,
        page: Page,
        chunks: Sequence[Json],
        text: str = "",
        session: Session | None = None,
        *,
        is_last: bool = False,
    ) -> None:
        """End a stream with its last chunks, and `session` with it; `text` is all that it then shows.

        The buttons follow the last message. Raises `StreamEnded`.
        """
        buttons = self.buttons if is_last else ()
        last = ({"chunks": chunks} if chunks else {}) | ({"blocks": buttons} if buttons else {})
        try:
            if session and await session.can_end_with_stream():
                await self._stop_both(page, last, session)
            else:
                await self._stop(page, last)
        except (StreamEnded, StoppedByUser):
            page.open = False
            raise
        page.open, page.digest = False, digest(text, buttons)
        self.note()

    async def _stop(self, page: Page, last: Mapping[str, Json]) -> None:
        await self.writer.room("chat.stopStream")
        end = partial(self.writer.write, "chat.stopStream", page.ts)
        named = {**self._at(page), "metadata": self._metadata()}
        plain = {name: each for name, each in last.items() if name != "blocks"}
        await write_with_buttons(end, {**named, **last}, {**named, **plain})

    async def _stop_both(self, page: Page, last: Mapping[str, Json], session: Session) -> None:
        """End a stream and the session in one call; the stream alone if Slack does not accept that."""
        try:
            await self._stop(page, {**last, "session_status": session.end_status})
            session.is_busy = False
        except (GivenUp, StoppedByUser, StreamEnded):
            raise
        except Refused as error:
            await self._stop(page, last)  # refused again if the session was not the cause
            log.info("session not ended with its stream", extra={"error": str(error)})
            session.refusal = error.code

    async def close(self, page: Page, chunks: Sequence[Json] = ()) -> None:
        """End a stream as it is, if possible."""
        try:
            await self.stop(page, chunks)
        except Refused as error:
            if chunks and page.open:  # Slack may refuse the chunks
                await self.close(page)
                return
            log.info("stream not ended", extra={"error": str(error)})
            page.open = False
            await self.save()

    async def update(self, page: Page, text: str, *, is_last: bool = False) -> None:
        """Replace the text of a message that is not being streamed."""
        buttons = self.buttons if is_last else ()
        await self._doubt(page)
        await self.writer.room("chat.update")
        edit = partial(self.writer.write, "chat.update", page.ts)
        named = {**self._at(page), "metadata": self._metadata()}
        await write_with_buttons(edit, {**named, **content(text, buttons)}, {**named, **content(text, ())})
        page.open, page.digest = False, digest(text, buttons)
        self.note()

    async def grow(self, text: str, page: Page | None = None) -> None:
        """Replace the text of a message that will change again, or post it; its text is not noted.

        An edit needs a permit of `RateLimits`. Raises `RateLimited` at once when Slack limits it.
        """
        if page is None:
            ts = await self._post_once(content(text, ()), digest(text), "")
            self.pages.append(Page(ts))
            self.note(opening=None)
        else:
            named = {**self._at(page), "metadata": self._metadata()}
            await self.writer.write_once("chat.update", page.ts, **named, **content(text, ()))

    async def post(self, text: str, *, is_last: bool = False) -> None:
        """Post one more message."""
        buttons = self.buttons if is_last else ()
        ts = await self._post(content(text, buttons), text)
        self.pages.append(Page(ts, digest(text, buttons)))
        self.note(opening=None)

    async def _post(self, content: Mapping[str, Json], text: str, extra: str = "") -> str:
        """Post `content`; if Slack refuses it, post `text` unformatted, and if that fails, a sentence.

        Raises `Refused` when Slack refuses all of them; the author is then notified privately. The copy of an
        approval request gets no sentence: replies to it are decisions, so it must show the request.
        """
        part = extra or digest(text)
        without_buttons = [{"markdown_text": text}] if "blocks" in content and not extra else []
        for each in (content, *without_buttons):
            try:
                return await self._post_once(each, part, extra)
            except Refused as error:
                log.warning("message refused", extra={"error": str(error)})
        try:
            return await self._post_once(as_it_is(text), part, extra)
        except Refused as error:
            if self._thread != self._receipt.turn.thread:
                raise
            sentence = not_shown(PART, refused(error.code))
        try:
            return await self._post_once(as_it_is(sentence), part, extra)
        except Refused as error:
            await notify_author(self._api, self._receipt.turn, error.code)
            raise

    async def _post_once(self, content: Mapping[str, Json], part: str, extra: str) -> str:
        await self.writer.room("chat.postMessage")
        self._note_opening(stream=False, extra=extra)
        self._is_expecting = False
        more = {"extra": extra} if extra else {}
        try:
            answer = await self.writer.write(
                "chat.postMessage",
                part,
                channel=self._thread.channel,
                **self._in_thread("thread_ts"),
                metadata=self._metadata(**more),
                **content,
                **NO_PREVIEWS,
            )
        except GivenUp:  # one of the requests that failed may have been carried out
            if found := await self.sent.find({"stream": False} | more, self.pages):
                return found.ts
            raise
        return str(answer["ts"])

    async def finish(self) -> None:
        """Post the extra messages after the text is complete, and mark the reply as finished."""
        for extra in self.extras:
            if extra.key not in self._posted_extras:
                await self._post_extra(extra)
        self.note(finished=True, **({"waiting": True} if self.is_waiting else {}))

    async def show_question(self, question: Extra) -> None:
        """Show a question above its answer, once; the answer does not depend on it."""
        if question.key in self._posted_extras:
            return
        content = {"text": question.text, "blocks": question.blocks}
        try:
            await self.post_form(question.key, content)
        except Refused as error:
            log.info("question not shown", extra={"error": str(error)})
            await self._receipt.save(extras=self._posted_extras | {question.key: ""}, opening=None)

    def has_posted(self, key: str) -> bool:
        """Return whether an extra message exists."""
        return key in self._posted_extras

    async def post_form(self, key: str, content: Mapping[str, Json]) -> None:
        """Post an extra message in one of its forms. Raises `Refused`, after which another can be tried."""
        ts = await self._post_once(content, key, key)
        await self._receipt.save(extras=self._posted_extras | {key: ts}, opening=None)

    @property
    def _posted_extras(self) -> dict[str, str]:
        return dict(self._receipt.state.get("extras", {}))

    async def _post_extra(self, extra: Extra) -> None:
        content = {"text": extra.text, "blocks": extra.blocks}
        ts = await self._post(content, BlockText("").read(extra.blocks), extra.key)
        await self._receipt.save(extras=self._posted_extras | {extra.key: ts}, opening=None)

    async def show(self, text: str) -> None:
        """Make the messages show exactly `text`, whatever they showed before.

        A model may answer differently in each attempt, so every page of an earlier attempt is compared. Pages
        that are no longer needed are deleted last, so that something is visible at any time.
        """
        sheets = deque(sheet.text for sheet in paginate(text))
        if not sheets:
            return
        surplus = []
        for page in self.pages:
            if sheets and await self._replace(page, sheets[0], is_last=len(sheets) == 1):
                sheets.popleft()
            else:
                surplus.append(page)
        while sheets:
            await self.post(sheets.popleft(), is_last=not sheets)
        for page in surplus:
            await self.delete(page)

    async def _replace(self, page: Page, text: str, *, is_last: bool) -> bool:
        """Make a message show `text`; return False if Slack does not allow the edit."""
        if page.digest == digest(text, self.buttons if is_last else ()):
            return True
        try:
            await self.update(page, text, is_last=is_last)
        except Refused as error:
            log.warning("message not edited", extra={"error": str(error)})
            return False
        return True

    async def _doubt(self, page: Page) -> None:
        """Note that a change begins: after a crash during it, the shown text is not known."""
        if page.digest:
            page.digest = ""
            await self.save()

    async def delete(self, page: Page) -> None:
        """Delete a message that is not being streamed, if Slack allows it."""
        await self._doubt(page)
        await self.writer.room("chat.delete")
        try:
            await self.writer.write("chat.delete", page.ts, **self._at(page))
        except Refused as error:  # a user deleted it first, or the workspace forbids it: the answer remains
            log.warning("message not deleted", extra={"error": str(error)})
        self.pages.remove(page)
        await self.save()

    async def save(self, **changes: Json) -> None:
        """Store the pages and `changes` in the receipt. Raises `LeaseLost`."""
        self.note(**changes)
        await self._receipt.save()

    def note(self, **changes: Json) -> None:
        """Note the pages and `changes` in the receipt."""
        self._receipt.note(pages=[asdict(page) for page in self.pages], **changes)

    def _in_thread(self, name: str) -> dict[str, str]:
        """Return the argument that names the thread; none for messages in the channel itself."""
        return {name: self._thread.thread} if self._thread.thread else {}

    def _at(self, page: Page) -> dict[str, str]:
        return {"channel": self._thread.channel, "ts": page.ts}

    def _metadata(self, **more: str) -> Json:
        return {"event_type": METADATA_TYPE, "event_payload": {"turn": self._receipt.turn.id} | more}
