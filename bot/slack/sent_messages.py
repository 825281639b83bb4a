"""Search for messages that an earlier attempt of a turn has sent, without a response that told it."""

from collections.abc import AsyncIterator, Collection, Mapping

from bot.chat import Json, Receipt, ThreadId
from bot.slack.api import SlackApi, pages
from bot.slack.errors import GivenUp
from bot.slack.page import Page
from bot.slack.writer import Writer

_CLOCKS_SECONDS = 60.0
"""Largest expected difference between another clock and Slack's."""


class SentMessages:
    """Messages of the bot after the question of a turn, read from Slack."""

    def __init__(self, api: SlackApi, writer: Writer, thread: ThreadId, receipt: Receipt) -> None:
        self._api = api
        self._writer = writer
        self._thread = thread
        self._receipt = receipt

    async def find(self, opening: Mapping[str, Json], known: Collection[Page]) -> Page | None:
        """Return the message that was being sent, if it exists and the thread can be read.

        It is none of those that are known. It is open unless it has the key of this turn.
        """
        try:
            async with self._writer.limit("conversations.replies", "opening"):
                return await self._find(opening.get("extra"), opening["stream"], known)
        except GivenUp:
            return None

    async def _find(self, extra: str | None, is_stream: bool, known: Collection[Page]) -> Page | None:
        """Return the newest matching message after the question; older ones are of earlier turns."""
        wanted = {"turn": self._receipt.turn.id} | ({"extra": extra} if extra else {})
        known_ts = {page.ts for page in known}
        found: Page | None = None
        async for message in self._messages():
            if message["ts"] in known_ts or message.get("files") or not await self._is_own(message):
                continue
            payload = (message.get("metadata") or {}).get("event_payload") or {}
            if payload == wanted or (is_stream and not payload):
                found = Page(str(message["ts"]), open=not payload)
        return found

    async def has_file(self, slack_id: str) -> bool:
        """Return whether a message after the question shows the file."""
        async for message in self._messages():
            if any(each.get("id") == slack_id for each in message.get("files") or ()):
                return True
        return False

    async def _is_own(self, message: Mapping[str, Json]) -> bool:
        who = await self._api.who()
        return who.bot_id == message.get("bot_id") or who.user_id == message.get("user")

    @property
    def _question_ts(self) -> str:
        # a question from another platform has the time of another clock
        newest = self._receipt.turn.messages[-1]
        elsewhere = f"{newest.sent_at - _CLOCKS_SECONDS:.6f}"
        asked = [each.place["ts"] for each in self._receipt.turn.messages if "ts" in each.place]
        return max(asked, key=float) if asked else elsewhere

    async def _messages(self) -> AsyncIterator[Mapping[str, Json]]:
        """Yield the messages after the question."""
        ts = self._question_ts
        in_thread = {"ts": self._thread.thread} if self._thread.thread else {}
        method = "conversations.replies" if self._thread.thread else "conversations.history"
        arguments = {"channel": self._thread.channel, "oldest": ts} | in_thread
        replies = pages(self._read, method, "messages", **arguments, include_all_metadata="true")
        async for message in replies:
            if float(message["ts"]) > float(ts):  # the root of the thread is always included
                yield message

    async def _read(self, method: str, **arguments: str | int) -> Mapping[str, Json]:
        await self._writer.room(method)
        return await self._api.read(method, **arguments)
