"""Thread of an HTTP caller, in which an answer is shown."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from bot.chat import ConversationStore, Part, Receipt
from bot.http.callers import caller_in
from bot.http.replies import Replies
from bot.http.transcript import answer_entry


@dataclass(frozen=True, slots=True)
class HttpThread:
    """Thread of HTTP callers: an answer goes to those who wait, into the receipt and the conversation."""

    replies: Replies
    conversations: ConversationStore

    async def reply(self, parts: AsyncIterator[Part], receipt: Receipt) -> None:
        """Pass the parts to the callers and store the answer in the receipt."""
        shown = await self.replies.show(parts, receipt)
        turn = receipt.turn
        text = answer_entry(turn, shown, receipt.state, caller_in(turn.thread).author)
        receipt.entry = self.conversations.ending(turn.thread, turn.id, text)
