"""Telling the author of a question that its answer cannot be shown in its place."""

import logging

from bot.chat import PlatformError, Receipt
from bot.discord import destination as places
from bot.discord.api import Sender
from bot.discord.destination import Place
from bot.discord.errors import reason
from bot.discord.messages import nonce_of

log = logging.getLogger(__name__)

_TOLD = "{author} I could not answer your question in <#{channel}>. {reason}"


class Elsewhere:
    """The parent of a thread, then the author's direct messages: what still works."""

    def __init__(self, sender: Sender, receipt: Receipt) -> None:
        self._sender = sender
        self._receipt = receipt

    async def tell(self, error: Exception) -> bool:
        """Say why nothing can be shown, once; return whether anybody could be told."""
        turn = self._receipt.turn
        question = turn.messages[-1]
        channel = self._receipt.state.get("channel", question.channel)
        author = question.place.get("author", "")
        if question.direct or question.bot_ids or not author:
            return False
        text = _TOLD.format(author=f"<@{author}>", channel=channel, reason=reason(error))
        for place in places.elsewhere(turn, Place(int(channel))):
            if await self._say(place, text, int(author)):
                return True
        try:
            direct = Place(await self._sender.open_direct(int(author)))
        except PlatformError as refusal:
            log.info("no direct messages with this user", extra={"reason": str(refusal)})
            return False
        return await self._say(direct, text, int(author))

    async def _say(self, place: Place, text: str, author: int) -> bool:
        try:
            await self._sender.send(
                place.channel,
                text,
                nonce=nonce_of(self._receipt.turn, f"elsewhere {place.channel}"),
                reply_to=place.reply_to,
                hold=self._receipt.hold,
                tell=[author],
            )
        except PlatformError as refusal:
            log.info("not told elsewhere", extra={"channel": place.channel, "reason": str(refusal)})
            return False
        log.warning("reply impossible, its author was told elsewhere", extra={"channel": place.channel})
        return True
