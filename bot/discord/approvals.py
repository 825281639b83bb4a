"""Approval requests on Discord: messages with buttons, and the decisions made with them."""

import logging
import re
import time
from dataclasses import replace
from typing import Any, Protocol, Self, cast

import discord
from discord import ui

from bot.chat import Approval, InboxLookup, Json, Receipt, Undeliverable
from bot.commands import approval_texts
from bot.commands.approval_texts import IN_REPLY, MOST_NAMES, display_name, request_text
from bot.commands.commands import Commands
from bot.discord.api import DiscordApi
from bot.discord.destination import Destination
from bot.discord.errors import Refused
from bot.discord.events import PLATFORM, is_guest
from bot.discord.handlers import Handlers
from bot.discord.messages import find_messages, nonce_of
from bot.discord.responses import apologise, follow_up
from bot.platforms.approvals import APPROVE, REJECT, decide, find_request, has_name

log = logging.getLogger(__name__)

_LABELS = {
    APPROVE: (approval_texts.APPROVE, discord.ButtonStyle.success),
    REJECT: (approval_texts.REJECT, discord.ButtonStyle.danger),
}


_MOST_CHARS = 2_000


def render_request(approval: Approval) -> str:
    """Return the message of a request; if it is too long, without names, and then without the reason."""

    def name(author: str) -> str:
        platform, _, user = author.partition(":")
        return f"<@{user}>" if platform == PLATFORM else display_name(approval, author)

    text = request_text(approval, name, has_name(approval, PLATFORM), where=IN_REPLY)
    nameless = replace(approval, names={})
    shorter = [request_text(each, where=IN_REPLY) for each in (nameless, replace(nameless, reason=""))]
    return next((each for each in (text, *shorter) if len(each) <= _MOST_CHARS), shorter[-1])


def _users_to_notify(approval: Approval) -> list[int]:
    """Return the users to notify: the approvers that the message names."""
    approvers = (each.partition(":") for each in approval.approvers[:MOST_NAMES])
    return [int(user) for platform, _, user in approvers if platform == PLATFORM and user.isdecimal()]


class Approvals:
    """Approval requests of one answer.

    Keys of the receipt: `extras` (the messages of requests, `[channel, id]` each), and while one is being
    sent `asking` (its text and the time), since it may have arrived without an answer.
    """

    def __init__(
        self, api: DiscordApi, destination: Destination, receipt: Receipt, lookup: InboxLookup
    ) -> None:
        self._api = api
        self._destination = destination
        self._receipt = receipt
        self._lookup = lookup

    async def show(self, approval: Approval) -> None:
        """Send the message of a request once."""
        extras: dict[str, Json] = dict(self._receipt.state.get("extras", {}))
        if approval.id in extras:
            return
        text = render_request(approval)
        id = await self._find(text)
        if id is None:
            await self._receipt.save(asking={"text": text, "at": time.time()})
            sent = await self._api.send(
                self._destination.channel,
                text,
                nonce=nonce_of(self._receipt.turn, f"request {approval.id} {self._destination.channel}"),
                reply_to=self._destination.reply_to,
                hold=self._receipt.hold,
                buttons=buttons(approval.id),
                tell=_users_to_notify(approval),
            )
            id = sent.id
        extras[approval.id] = [str(self._destination.channel), str(id)]
        await self._receipt.save(extras=extras, asking=None)

    async def _find(self, text: str) -> int | None:
        """Return the message that an earlier attempt has sent without an answer."""
        asking = self._receipt.state.get("asking")
        if not asking or asking["text"] != text:
            return None
        recent = await find_messages(self._api, self._destination, asking["at"])
        return next((each.id for each in recent if each.text == text.strip()), None)

    async def settle(self, approval: Approval) -> None:
        """Replace the buttons of a request with the decision, if its message still exists."""
        message = await find_request(approval, self._lookup)
        if message is None:
            return
        try:
            await _settle(approval, message, self._api, self._receipt)
        except Refused as error:  # a user has deleted it
            log.warning("approval buttons not removed", extra={"reason": str(error)})


async def _settle(approval: Approval, message: Json, api: DiscordApi, receipt: Receipt) -> None:
    channel, id = map(int, message)
    await api.edit(channel, id, render_request(approval), hold=receipt.hold, without_buttons=True)


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
    await Approvals(api, Destination(int(channel)), receipt, lookup).show(approval)


async def settle_request(approval: Approval, receipt: Receipt, api: DiscordApi) -> None:
    """Show the decision in a message of `show_request`. Raises `PlatformError`."""
    await _settle(approval, receipt.state["extras"][approval.id], api, receipt)


def buttons(request: str) -> ui.View:
    """Return the two buttons of a request, which `ApprovalButton` listens to."""
    view = ui.View(timeout=None)
    for verb in _LABELS:
        view.add_item(ApprovalButton(verb, request))
    view.stop()  # nothing waits for it: otherwise discord.py would keep every view for ever
    return view


class Host(Protocol):
    """Client that receives a press."""

    commands: Commands
    handlers: Handlers


class ApprovalButton(
    ui.DynamicItem[ui.Button[Any]], template=r"(?P<verb>approve|reject):(?P<request>[0-9a-f]{1,64})"
):
    """Button of a request, recognised by its id, so that it also works after a restart."""

    def __init__(self, verb: str, request: str) -> None:
        label, style = _LABELS[verb]
        super().__init__(ui.Button(label=label, style=style, custom_id=f"{verb}:{request}"))
        self._verb = verb
        self._request = request

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Create the button; discord.py calls this for each press."""
        return cls(match["verb"], match["request"])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Store the decision, and answer the user privately."""
        host = cast(Host, interaction.client)
        host.handlers.join()
        await interaction.response.defer(ephemeral=True, thinking=True)
        try:
            answer = await decide(
                host.commands,
                self._request,
                f"{PLATFORM}:{interaction.user.id}",
                approve=self._verb == APPROVE,
                name=interaction.user.display_name,
                is_external=is_guest(interaction.user),
            )
        except Exception as error:  # noqa: BLE001 - discord.py would let the user wait for ever
            await apologise(interaction, error)
        else:
            await follow_up(interaction, answer)
