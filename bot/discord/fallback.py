"""Telling the author of a question that its answer cannot be shown in its place."""

import logging

from bot.chat import PlatformError, Receipt
from bot.discord import destination as destinations
from bot.discord.api import DiscordApi
from bot.discord.destination import Destination
from bot.discord.errors import reason
from bot.discord.messages import nonce_of

log = logging.getLogger(__name__)

_TOLD = "{author} I could not answer your question in <#{channel}>. {reason}"


class Elsewhere:
    """The parent of a thread, then the author's direct messages: what still works."""

    def __init__(self, api: DiscordApi, receipt: Receipt) -> None:
        self._api = api
        self._receipt = receipt

    async def tell(self, error: Exception) -> bool:
        """Say why nothing can be shown, once; return whether anybody could be told."""
        turn = self._receipt.turn
        question = turn.messages[-1]
        channel = self._receipt.state.get("channel", question.place["channel"])
        author = question.place.get("author", "")
        if question.direct or question.bot_ids or not author:
            return False
        text = _TOLD.format(author=f"<@{author}>", channel=channel, reason=reason(error))
        for destination in destinations.elsewhere(turn, Destination(int(channel))):
            if await self._say(destination, text, int(author)):
                return True
        try:
            direct = Destination(await self._api.open_direct(int(author)))
        except PlatformError as refusal:
            log.info("no direct messages with this user", extra={"reason": str(refusal)})
            return False
        return await self._say(direct, text, int(author))

    async def _say(self, destination: Destination, text: str, author: int) -> bool:
        try:
            await self._api.send(
                destination.channel,
                text,
                nonce=nonce_of(self._receipt.turn, f"elsewhere {destination.channel}"),
                reply_to=destination.reply_to,
                hold=self._receipt.hold,
                tell=[author],
            )
        except PlatformError as refusal:
            log.info("not told elsewhere", extra={"channel": destination.channel, "reason": str(refusal)})
            return False
        log.warning("reply impossible, its author was told elsewhere", extra={"channel": destination.channel})
        return True
