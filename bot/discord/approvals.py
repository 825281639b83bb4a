"""Approval requests as messages with buttons, and the presses on these."""

import logging
import re
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol, Self, cast

import discord
from discord import ui

from bot.chat import Approval, InboxLookup, Json, Receipt, StorageDown, Undeliverable
from bot.commands.commands import (
    MOST_NAMES,
    NOT_FOR_EXTERNAL,
    Commands,
    asked,
    named,
)
from bot.discord.api import Sender
from bot.discord.destination import Place
from bot.discord.errors import Refused
from bot.discord.events import PLATFORM, is_guest
from bot.discord.handlers import Handlers
from bot.discord.messages import CLOCKS, nonce_of
from bot.discord.responses import apologise, follow_up

log = logging.getLogger(__name__)

_LABELS = {
    "approve": ("Approve", discord.ButtonStyle.success),
    "reject": ("Reject", discord.ButtonStyle.danger),
}


_MOST_CHARS = 2_000

_WHERE = "in a reply to this message"
"""Place where words decide, in whatever kind of channel the request is shown."""


def text_of(approval: Approval) -> str:
    """The message of a request; names, and then the reason, are left out where they do not fit."""

    def name(author: str) -> str:
        platform, _, user = author.partition(":")
        return f"<@{user}>" if platform == PLATFORM else named(approval, author)

    def is_named(author: str) -> bool:
        return author.startswith(f"{PLATFORM}:") or author in approval.names

    text = asked(approval, name, is_named, where=_WHERE)
    nameless = replace(approval, names={})
    shorter = [asked(each, where=_WHERE) for each in (nameless, replace(nameless, reason=""))]
    return next((each for each in (text, *shorter) if len(each) <= _MOST_CHARS), shorter[-1])


def _told(approval: Approval) -> list[int]:
    """Whom the message notifies: those who may decide, as many as it names."""
    people = (each.partition(":") for each in approval.approvers[:MOST_NAMES])
    return [int(user) for platform, _, user in people if platform == PLATFORM and user.isdecimal()]


class Asking:
    """Shows requests beside one answer.

    Keys of the receipt: `extras` (the messages of requests, `[channel, id]` each), and while one is being
    sent `asking` (its text and the time), since it may have arrived although we never heard so.
    """

    def __init__(self, sender: Sender, place: Place, receipt: Receipt, lookup: InboxLookup) -> None:
        self._sender = sender
        self._place = place
        self._receipt = receipt
        self._lookup = lookup

    async def show(self, approval: Approval) -> None:
        """Send the message of a request, once."""
        extras: dict[str, Json] = dict(self._receipt.state.get("extras", {}))
        if approval.id in extras:
            return
        text = text_of(approval)
        id = await self._found(text)
        if id is None:
            await self._receipt.save(asking={"text": text, "at": time.time()})
            sent = await self._sender.send(
                self._place.channel,
                text,
                nonce=nonce_of(self._receipt.turn, f"request {approval.id} {self._place.channel}"),
                reply_to=self._place.reply_to,
                hold=self._receipt.hold,
                buttons=buttons(approval.id),
                tell=_told(approval),
            )
            id = sent.id
        extras[approval.id] = [str(self._place.channel), str(id)]
        await self._receipt.save(extras=extras, asking=None)

    async def _found(self, text: str) -> int | None:
        """The message that an earlier attempt has sent without hearing of it."""
        asking = self._receipt.state.get("asking")
        if not asking or asking["text"] != text:
            return None
        since = datetime.fromtimestamp(asking["at"], UTC) - CLOCKS
        try:
            recent = await self._sender.sent_since(self._place.channel, since, reply_to=self._place.reply_to)
        except Undeliverable:  # we may not read here; the nonce still holds for some minutes
            return None
        return next((each.id for each in recent if each.text == text.strip()), None)

    async def settle(self, approval: Approval) -> None:
        """Take the buttons of a request away and say what was decided, if its message is still there."""
        receipt = await self._lookup.receipt_of(approval.asked_in) or {}
        place = receipt.get("extras", {}).get(approval.id)
        if place is None:
            log.warning("the message of a request is not known", extra={"request": approval.id})
            return
        try:
            await _settle(approval, place, self._sender, self._receipt)
        except Refused as error:  # somebody has deleted it
            log.warning("the message of a request keeps its buttons", extra={"reason": str(error)})


async def _settle(approval: Approval, place: Json, sender: Sender, receipt: Receipt) -> None:
    channel, message = map(int, place)
    await sender.edit(channel, message, text_of(approval), hold=receipt.hold, without_buttons=True)


async def show(
    approval: Approval, to: str, receipt: Receipt, sender: Sender, lookup: InboxLookup, *, is_channel: bool
) -> None:
    """Post a request in a channel or in somebody's direct messages; see `bot.chat.Platform.show_request`.

    No thread begins below it: in a channel people write in threads and replies of their own, and direct
    messages go on for ever, with the request far above.
    """
    if "channel" not in receipt.state:
        name = to.partition(":")[2]
        if not (name.isascii() and name.isdecimal()):
            raise Undeliverable(f"{to} names nobody and no channel on Discord")
        id = int(name)
        await receipt.save(channel=str(id if is_channel else await sender.open_direct(id)))
    channel = receipt.state["channel"]
    await Asking(sender, Place(int(channel)), receipt, lookup).show(approval)


async def settle(approval: Approval, receipt: Receipt, sender: Sender) -> None:
    """Let such a message say what was decided. Raises `PlatformError`."""
    await _settle(approval, receipt.state["extras"][approval.id], sender, receipt)


def buttons(request: str) -> ui.View:
    """The two buttons of a request, which `Press` listens to."""
    view = ui.View(timeout=None)
    for verb in _LABELS:
        view.add_item(Press(verb, request))
    view.stop()  # nobody waits for it: else discord.py would keep each one for ever
    return view


class Host(Protocol):
    """The client that hears a press."""

    commands: Commands
    handling: Handlers


class Press(ui.DynamicItem[ui.Button[Any]], template=r"(?P<verb>approve|reject):(?P<request>[0-9a-f]{1,64})"):
    """A button of a request. It is known by its id, so that a press counts after a restart, too."""

    def __init__(self, verb: str, request: str) -> None:
        label, style = _LABELS[verb]
        super().__init__(ui.Button(label=label, style=style, custom_id=f"{verb}:{request}"))
        self._verb = verb
        self._request = request

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Called for each press."""
        return cls(match["verb"], match["request"])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Take the decision, and tell who pressed what comes of it, for their eyes only."""
        host = cast(Host, interaction.client)
        host.handling.join()
        await interaction.response.defer(ephemeral=True, thinking=True)
        try:
            words = await self._decide(host.commands, interaction.user)
        except Exception as error:  # noqa: BLE001 - discord.py would let who pressed wait for good
            await apologise(interaction, error)
        else:
            await follow_up(interaction, words)

    async def _decide(self, commands: Commands, user: discord.User | discord.Member) -> str:
        """Take the decision; returns the words for who pressed."""
        approve = self._verb == "approve"
        if approve and is_guest(user):
            return NOT_FOR_EXTERNAL
        by = f"{PLATFORM}:{user.id}"
        try:
            decided = await commands.decide(self._request, by, approve=approve, name=user.display_name)
        except StorageDown as error:
            log.warning("a decision was not taken", extra={"error": str(error)})
            return "That could not be taken just now. Please press the button again in a moment."
        return decided.words
