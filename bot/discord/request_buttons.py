"""Buttons and menus of requests, recognised by their ids, so that they also work after a restart."""

import re
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol, Self, cast

import discord
from discord import ui

from bot.chat import Approval, Question, Request
from bot.chat.text import one_line
from bot.commands import approval_texts, question_texts
from bot.commands.commands import Commands
from bot.commands.decisions import Chooser
from bot.commands.question_texts import MOST_BUTTONS
from bot.discord.events import PLATFORM, is_guest, roles
from bot.discord.handlers import Handlers
from bot.discord.responses import apologise, follow_up
from bot.platforms.requests import ANSWER, APPROVE, REJECT, choose, decide

_LABELS = {
    APPROVE: (approval_texts.APPROVE, discord.ButtonStyle.success),
    REJECT: (approval_texts.REJECT, discord.ButtonStyle.danger),
}

_MOST_LABEL = 80
"""Most characters of a button's label; an option in a menu can have more."""

MOST_ROWS = 5
"""Most rows of buttons below a message."""


def buttons(request: Request) -> ui.View | None:
    """Return the buttons of a request, or a menu if there are many options; None if there are none."""
    items = _items(request)
    if not items:
        return None
    view = ui.View(timeout=None)
    for item in items:
        view.add_item(item)
    view.stop()  # nothing waits for it: otherwise discord.py would keep every view for ever
    return view


def buttons_of_all(requests: Sequence[Request]) -> ui.View | None:
    """Return the buttons of several requests in one message, a row for each; None if there are none."""
    view = ui.View(timeout=None)
    rows = [items for each in requests if (items := _items(each))][:MOST_ROWS]
    for row, items in enumerate(rows):
        for item in items:
            item.row = row
            view.add_item(item)
    view.stop()
    return view if rows else None


def _items(request: Request) -> list[ui.Item[Any]]:
    match request:
        case Approval():
            return [ApprovalButton(verb, request.id) for verb in _LABELS]
        case Question() if len(request.options) > MOST_BUTTONS:
            return [OptionMenu(request.id, _menu(request))]
        case Question():
            return [OptionButton(request.id, *each) for each in enumerate(request.options)]


def _menu(question: Question) -> ui.Select[Any]:
    menu: ui.Select[Any] = ui.Select(
        custom_id=f"{ANSWER}:{question.id}", placeholder=question_texts.PLACEHOLDER
    )
    for number, option in enumerate(question.options):
        menu.add_option(label=one_line(option, _MOST_LABEL), value=str(number))
    return menu


class Host(Protocol):
    """Client that receives a press."""

    commands: Commands
    handlers: Handlers


async def defer(interaction: discord.Interaction[Any]) -> Commands:
    """Show that the answer to a press will follow; return the commands."""
    host = cast(Host, interaction.client)
    host.handlers.join()
    await interaction.response.defer(ephemeral=True, thinking=True)
    return host.commands


async def answer_press(interaction: discord.Interaction[Any], outcome: Awaitable[str]) -> None:
    """Answer a user privately with the outcome of their press."""
    try:
        answer = await outcome
    except Exception as error:  # noqa: BLE001 - discord.py would let the user wait for ever
        await apologise(interaction, error)
    else:
        await follow_up(interaction, answer)


async def _choose(interaction: discord.Interaction[Any], request: str, option: int) -> None:
    """Store the answer to a question."""
    commands, user = await defer(interaction), interaction.user
    by = Chooser(f"{PLATFORM}:{user.id}", user.display_name, roles(user), is_guest(user))
    await answer_press(interaction, choose(commands, request, option, by))


class ApprovalButton(
    ui.DynamicItem[ui.Button[Any]], template=r"(?P<verb>approve|reject):(?P<request>[0-9a-f]{1,64})"
):
    """Button of an approval request."""

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
        """Store the decision."""
        commands, user = await defer(interaction), interaction.user
        decision = decide(
            commands,
            self._request,
            f"{PLATFORM}:{user.id}",
            approve=self._verb == APPROVE,
            name=user.display_name,
            is_external=is_guest(user),
        )
        await answer_press(interaction, decision)


class OptionButton(
    ui.DynamicItem[ui.Button[Any]],
    template=rf"{ANSWER}:(?P<request>[0-9a-f]{{1,64}}):(?P<option>[0-9]{{1,2}})",
):
    """Button of a question for one of its options."""

    def __init__(self, request: str, option: int, label: str) -> None:
        custom_id = f"{ANSWER}:{request}:{option}"
        super().__init__(ui.Button(label=one_line(label, _MOST_LABEL), custom_id=custom_id))
        self._request = request
        self._option = option

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Create the button; discord.py calls this for each press."""
        return cls(match["request"], int(match["option"]), "")

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Store the answer."""
        await _choose(interaction, self._request, self._option)


class OptionMenu(ui.DynamicItem[ui.Select[Any]], template=rf"{ANSWER}:(?P<request>[0-9a-f]{{1,64}})"):
    """Menu of a question with all of its options."""

    def __init__(self, request: str, menu: ui.Select[Any]) -> None:
        super().__init__(menu)
        self._request = request

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Create the menu; discord.py calls this for each choice."""
        return cls(match["request"], cast("ui.Select[Any]", item))

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Store the answer."""
        await _choose(interaction, self._request, int(self.item.values[0]))
