"""The messages of one reply: each thing that is shown goes into the receipt right after.

`chat.startStream` takes no metadata, so the key that tells a message as ours for a turn comes with the
call that ends it (https://docs.slack.dev/reference/methods/chat.stopStream).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from bot.chat import Json, Receipt, ThreadId
from bot.slack.api import SlackApi
from bot.slack.errors import StreamEnded
from bot.slack.markdown import Sheet, paginate

METADATA_TYPE = "bot_turn"
"""`event_type` of the metadata that names the turn."""


@dataclass(slots=True)
class Page:
    """One message, as the receipt keeps it.

    `start` is where it begins in the rendered answer, `shown` how much of it Slack has confirmed, both in
    characters; `reopen` is what was put before it to continue a code block. `open`: it is being streamed.
    """

    start: int = 0
    reopen: str = ""
    ts: str = ""
    shown: int = 0
    open: bool = False


class Messages:
    """Writes the messages of one reply; `pages` are those that exist. All methods raise `PlatformError`."""

    def __init__(self, api: SlackApi, thread: ThreadId, receipt: Receipt) -> None:
        self._api = api
        self._thread = thread
        self._receipt = receipt
        self.pages = [Page(**page) for page in receipt.state.get("pages", ())]

    async def start(self, page: Page, chunks: Sequence[Json], shown: int) -> None:
        """Open a stream with its first chunks."""
        asker = self._receipt.turn.messages[-1].place
        answer = await self._api.write(
            "chat.startStream",
            channel=self._thread.channel,
            thread_ts=self._thread.thread,
            recipient_team_id=asker.get("user_team", self._thread.space),
            recipient_user_id=asker["user"],
            chunks=chunks,
        )
        self.pages.append(page)
        page.ts, page.shown, page.open = answer["ts"], shown, True
        await self.save()

    async def append(self, page: Page, chunks: Sequence[Json], shown: int) -> None:
        """Add chunks to a stream. Raises `StreamEnded`."""
        await self._api.write("chat.appendStream", **self._at(page), chunks=chunks)
        page.shown = shown
        await self.save()

    async def stop(self, page: Page, chunks: Sequence[Json], shown: int) -> None:
        """End a stream with its last chunks. Raises `StreamEnded`."""
        page.open = False
        last = {"chunks": chunks} if chunks else {}
        await self._api.write("chat.stopStream", **self._at(page), **last, metadata=self._metadata)
        page.shown = shown
        await self.save()

    async def update(self, page: Page, text: str, shown: int) -> None:
        """Replace what a message shows, which is not being streamed."""
        await self._api.write("chat.update", **self._at(page), markdown_text=text, metadata=self._metadata)
        page.shown, page.open = shown, False
        await self.save()

    async def post(self, sheet: Sheet) -> None:
        """Show one more message, at once."""
        answer = await self._api.write(
            "chat.postMessage",
            channel=self._thread.channel,
            thread_ts=self._thread.thread,
            markdown_text=sheet.text,
            metadata=self._metadata,
        )
        self.pages.append(Page(sheet.start, sheet.reopen, answer["ts"], len(sheet.body)))
        await self.save()

    async def close_orphan(self) -> None:
        """End the stream that an earlier attempt left open, if it did."""
        if self.pages and self.pages[-1].open:
            page = self.pages[-1]
            try:
                await self.stop(page, [], page.shown)
            except StreamEnded:
                await self.save()

    async def show(self, text: str) -> None:
        """Bring the last message to its full text, and post the rest of the rendered answer after it."""
        if not self.pages:
            for sheet in paginate(text):
                await self.post(sheet)
            return
        last = self.pages[-1]
        for number, sheet in enumerate(paginate(text, last.start, last.reopen)):
            if number == 0:
                await self.update(last, sheet.text, len(sheet.body))
            else:
                await self.post(sheet)

    async def save(self, *, finished: bool = False) -> None:
        """Put what is known into the receipt. Raises `LeaseLost`."""
        changes = {"finished": True} if finished else {}
        await self._receipt.save(pages=[asdict(page) for page in self.pages], **changes)

    def _at(self, page: Page) -> dict[str, str]:
        return {"channel": self._thread.channel, "ts": page.ts}

    @property
    def _metadata(self) -> Json:
        return {"event_type": METADATA_TYPE, "event_payload": {"turn": self._receipt.turn.id}}
