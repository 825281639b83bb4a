"""The messages that show one answer."""

import hashlib
import time
from datetime import UTC, datetime, timedelta

from bot.chat import Json, Receipt, Undeliverable
from bot.discord.place import Place
from bot.discord.sender import Sender

_NONCE = 25
"""Characters of a nonce at most."""

_CLOCKS = timedelta(seconds=5)
"""How far our clock may differ from Discord's."""


class Display:
    """Keeps the messages on Discord equal to the texts it is given, and the receipt equal to both.

    Keys of the receipt: `messages` (ids), `shown` (characters), and while a message is being sent
    `sending` (its text and the time), since it may have arrived although we never heard so.
    """

    def __init__(self, sender: Sender, place: Place, receipt: Receipt) -> None:
        self._sender = sender
        self._place = place
        self._receipt = receipt
        self._ids = [int(id) for id in receipt.state.get("messages", [])]
        self._texts: list[str | None] = [None] * len(self._ids)  # None: an earlier attempt's, not known

    @property
    def begun(self) -> bool:
        """Whether there is a message to edit already."""
        return bool(self._ids)

    async def resume(self) -> None:
        """Find the message that an earlier attempt was sending when it ended, if it arrived."""
        sending: dict[str, Json] | None = self._receipt.state.get("sending")
        if not sending:
            return
        since = datetime.fromtimestamp(sending["at"], UTC) - _CLOCKS
        try:
            recent = await self._sender.sent_since(self._place.channel, since)
        except Undeliverable:  # we may not read here; the nonce still holds for some minutes
            return
        for message in recent:
            if message.id not in self._ids and message.text == sending["text"].strip():
                await self._keep(message.id, message.text)
                return

    async def show(self, texts: list[str]) -> None:
        """Edit the messages there are into `texts`, and send the rest."""
        for index, text in enumerate(texts):
            if index == len(self._ids):
                await self._send(text)
            if self._texts[index] != text:
                await self._sender.edit(self._place.channel, self._ids[index], text)
                self._texts[index] = text
        shown = sum(map(len, texts))
        if shown != self._receipt.state.get("shown"):
            await self._receipt.save(shown=shown)

    async def end(self, texts: list[str]) -> None:
        """Show `texts` for good: an earlier attempt's messages beyond them are taken back."""
        await self.show(texts)
        for extra in self._ids[len(texts) :]:
            await self._sender.delete(self._place.channel, extra)
        await self._receipt.save(messages=[str(id) for id in self._ids[: len(texts)]], finished=True)

    async def _send(self, text: str) -> None:
        await self._receipt.save(sending={"text": text, "at": time.time()})
        nonce = f"{self._receipt.turn.id}:{len(self._ids)}"
        sent = await self._sender.send(
            self._place.channel,
            text,
            nonce=hashlib.sha256(nonce.encode()).hexdigest()[:_NONCE],
            reply_to=self._place.reply_to,
        )
        # Discord trims what it keeps: only a text of another attempt differs by more than that
        await self._keep(sent.id, text if sent.text == text.strip() else sent.text)

    async def _keep(self, id: int, text: str) -> None:
        self._ids.append(id)
        self._texts.append(text)
        await self._receipt.save(messages=[str(each) for each in self._ids], sending=None)
