"""Messages of requests on Discord.

Each is sent as a text and then becomes a card: a notification shows what a message was sent with, and nothing
of a layout. Discord allows this change of a message, but not the way back, see `DiscordApi.edit`.
"""

import logging
import time

from bot.chat import Approval, InboxLookup, Json, PlatformError, Receipt, Request, Undeliverable
from bot.discord.api import DiscordApi
from bot.discord.cards import layout, private_card, request_card
from bot.discord.destination import Destination
from bot.discord.errors import Refused, ThreadArchived, ThreadLocked
from bot.discord.messages import find_messages, nonce_of
from bot.discord.request_buttons import buttons
from bot.discord.request_forms import render_private_request, render_request, users_to_notify
from bot.platforms.requests import find_request

log = logging.getLogger(__name__)


class Requests:
    """Requests of one answer.

    Keys of the receipt: `extras` (the messages of requests, `[channel, id]` each), `cards` (the ids of those
    that have become cards), and while one is being sent `asking` (its text and the time), since it may have
    arrived without an answer.
    """

    def __init__(
        self, api: DiscordApi, destination: Destination, receipt: Receipt, lookup: InboxLookup
    ) -> None:
        self._api = api
        self._destination = destination
        self._receipt = receipt
        self._lookup = lookup

    @property
    def _is_moved(self) -> bool:
        """Return whether the answer is outside its place, where nobody can decide or answer in words."""
        return bool(self._receipt.state.get("moved"))

    async def show(self, request: Request) -> None:
        """Send the message of a request once, and make it a card."""
        if request.id not in self._receipt.state.get("extras", {}):
            await self._send(request)
        cards: list[str] = self._receipt.state.get("cards", [])
        if request.id in cards:
            return
        channel, id = map(int, self._receipt.state["extras"][request.id])
        is_reply = self._destination.reply_to is not None
        card = layout([private_card(request)]) if self._is_moved else request_card(request, is_reply=is_reply)
        try:
            tell = users_to_notify(request)
            await self._api.edit(channel, id, card, hold=self._receipt.hold, tell=tell)
        except PlatformError as error:  # the text says the same, and has the same buttons
            log.warning("request not made a card", extra={"request": request.id, "reason": str(error)})
        self._receipt.note(cards=[*cards, request.id])

    async def _send(self, request: Request) -> None:
        is_reply = self._destination.reply_to is not None
        text = (
            render_private_request(request) if self._is_moved else render_request(request, is_reply=is_reply)
        )
        id = await self._find(text)
        if id is None:
            await self._receipt.save(asking={"text": text, "at": time.time()})
            sent = await self._api.send(
                self._destination.channel,
                text,
                nonce=nonce_of(self._receipt.turn, f"request {request.id} {self._destination.channel}"),
                reply_to=self._destination.reply_to,
                hold=self._receipt.hold,
                buttons=buttons(request),
                tell=users_to_notify(request),
            )
            id = sent.id
        extras: dict[str, Json] = self._receipt.state.get("extras", {})
        shown = [str(self._destination.channel), str(id)]
        await self._receipt.save(extras={**extras, request.id: shown}, asking=None)

    async def _find(self, text: str) -> int | None:
        """Return the message that an earlier attempt has sent without an answer."""
        asking = self._receipt.state.get("asking")
        if not asking or asking["text"] != text:
            return None
        recent = await find_messages(self._api, self._destination, asking["at"])
        return next((each.id for each in recent if each.text == text.strip()), None)

    async def settle(self, request: Request) -> bool:
        """Replace the buttons of a request with the decision, if its message still exists.

        Returns False if its thread is archived: it is not reopened for that, but perhaps by the answer.
        """
        message = await find_request(request, self._lookup)
        if message is None:
            return True
        try:
            await _settle(request, message, self._api, self._receipt)
        except (ThreadArchived, ThreadLocked) as error:
            log.info("request not settled in a closed thread", extra={"reason": str(error)})
            return False
        except Refused as error:  # a user has deleted it
            log.warning("request buttons not removed", extra={"reason": str(error)})
        return True


async def _settle(request: Request, message: Json, api: DiscordApi, receipt: Receipt) -> None:
    """Show the decision in a card. Raises `Refused` if the message cannot be changed, then it stays whole."""
    channel, id = map(int, message)
    try:
        await api.edit(channel, id, request_card(request), hold=receipt.hold)
    except Refused:  # also of the layout alone, and then a message without one takes the text
        await api.edit(channel, id, render_request(request), hold=receipt.hold, without_buttons=True)


async def show_request(
    approval: Approval, to: str, receipt: Receipt, api: DiscordApi, lookup: InboxLookup, *, is_channel: bool
) -> None:
    """Post a request in a channel or in a user's direct messages, once per receipt.

    It starts no thread: users in a channel write in their own threads and replies, and direct messages
    continue for ever below the request.
    """
    if "channel" not in receipt.state:
        name = to.partition(":")[2]
        if not (name.isascii() and name.isdecimal()):
            raise Undeliverable(f"{to} is not a user or channel on Discord")
        id = int(name)
        await receipt.save(channel=str(id if is_channel else await api.open_direct(id)))
    channel = receipt.state["channel"]
    await Requests(api, Destination(int(channel)), receipt, lookup).show(approval)


async def settle_request(approval: Approval, receipt: Receipt, api: DiscordApi) -> None:
    """Show the decision in a message of `show_request`. Raises `PlatformError`."""
    await _settle(approval, receipt.state["extras"][approval.id], api, receipt)
