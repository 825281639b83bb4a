"""Buttons and menus of requests, recognised by their ids, so that they also work after a restart."""

import re
from typing import Any, Self, cast

import discord
from discord import ui

from bot.chat import Approval, Question, Request
from bot.chat.text import one_line
from bot.commands import approval_texts, question_texts
from bot.commands.question_texts import MOST_BUTTONS
from bot.discord.forms import WHY, WORDS, rejection_form, words_form
from bot.discord.presses import Interaction, answer_press, chooser, defer, take_press
from bot.discord.responses import apologise
from bot.platforms.requests import ANSWER, APPROVE, REJECT, choose, decide, find_waiting

_LABELS = {
    APPROVE: (approval_texts.APPROVE, discord.ButtonStyle.success),
    REJECT: (approval_texts.REJECT, discord.ButtonStyle.danger),
}

_MOST_LABEL = 80
"""Most characters of a button's label; an option in a menu can have more."""

_ID = r"(?P<request>[0-9a-f]{1,64})"


def buttons(request: Request) -> ui.View:
    """Return the buttons of a request below a message without layout."""
    view = ui.View(timeout=None)
    for row, items in enumerate(button_rows(request)):
        for item in items:
            item.row = row
            view.add_item(item)
    view.stop()  # nothing waits for it: otherwise discord.py would keep every view for ever
    return view


def button_rows(request: Request) -> list[list[ui.Item[Any]]]:
    """Return the buttons of a request in rows; a menu stands for many options."""
    match request:
        case Approval():
            return [[*(ApprovalButton(verb, request.id) for verb in _LABELS), RejectionButton(request.id)]]
        case Question() if len(request.options) > MOST_BUTTONS:
            options: list[ui.Item[Any]] = [OptionMenu(request.id, _menu(request))]
        case Question():
            options = [OptionButton(request.id, *each) for each in enumerate(request.options)]
    return [*([options] if options else []), [WordsButton(request.id)]]


def _menu(question: Question) -> ui.Select[Any]:
    menu: ui.Select[Any] = ui.Select(
        custom_id=f"{ANSWER}:{question.id}", placeholder=question_texts.PLACEHOLDER
    )
    for number, option in enumerate(question.options):
        menu.add_option(label=one_line(option, _MOST_LABEL), value=str(number))
    return menu


async def _choose(interaction: Interaction, request: str, option: int) -> None:
    """Store the answer to a question."""
    commands = await defer(interaction)
    await answer_press(interaction, choose(commands, request, option, chooser(interaction)))


class ApprovalButton(ui.DynamicItem[ui.Button[Any]], template=rf"(?P<verb>{APPROVE}|{REJECT}):{_ID}"):
    """Button of an approval request."""

    def __init__(self, verb: str, request: str) -> None:
        label, style = _LABELS[verb]
        super().__init__(ui.Button(label=label, style=style, custom_id=f"{verb}:{request}"))
        self._verb = verb
        self._request = request

    @classmethod
    async def from_custom_id(
        cls, interaction: Interaction, item: ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Create the button; discord.py calls this for each press."""
        return cls(match["verb"], match["request"])

    async def callback(self, interaction: Interaction) -> None:
        """Store the decision."""
        commands, by = await defer(interaction), chooser(interaction)
        decision = decide(
            commands,
            self._request,
            by.author,
            approve=self._verb == APPROVE,
            name=by.name,
            is_external=by.is_external,
        )
        await answer_press(interaction, decision)


class OptionButton(
    ui.DynamicItem[ui.Button[Any]],
    template=rf"{ANSWER}:{_ID}:(?P<option>[0-9]{{1,2}})",
):
    """Button of a question for one of its options."""

    def __init__(self, request: str, option: int, label: str) -> None:
        custom_id = f"{ANSWER}:{request}:{option}"
        super().__init__(ui.Button(label=one_line(label, _MOST_LABEL), custom_id=custom_id))
        self._request = request
        self._option = option

    @classmethod
    async def from_custom_id(
        cls, interaction: Interaction, item: ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Create the button; discord.py calls this for each press."""
        return cls(match["request"], int(match["option"]), "")

    async def callback(self, interaction: Interaction) -> None:
        """Store the answer."""
        await _choose(interaction, self._request, self._option)


class OptionMenu(ui.DynamicItem[ui.Select[Any]], template=rf"{ANSWER}:{_ID}"):
    """Menu of a question with all of its options."""

    def __init__(self, request: str, menu: ui.Select[Any]) -> None:
        super().__init__(menu)
        self._request = request

    @classmethod
    async def from_custom_id(
        cls, interaction: Interaction, item: ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Create the menu; discord.py calls this for each choice."""
        return cls(match["request"], cast("ui.Select[Any]", item))

    async def callback(self, interaction: Interaction) -> None:
        """Store the answer."""
        await _choose(interaction, self._request, int(self.item.values[0]))


class RejectionButton(ui.DynamicItem[ui.Button[Any]], template=rf"{REJECT}:{_ID}:{WHY}"):
    """Button of an approval request for a rejection with a reason."""

    def __init__(self, request: str) -> None:
        label = approval_texts.REJECT_WITH_REASON
        super().__init__(ui.Button(label=label, custom_id=f"{REJECT}:{request}:{WHY}"))
        self._request = request

    @classmethod
    async def from_custom_id(
        cls, interaction: Interaction, item: ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Create the button; discord.py calls this for each press."""
        return cls(match["request"])

    async def callback(self, interaction: Interaction) -> None:
        """Open the form for the reason."""
        await _open(interaction, self._request, Approval)


class WordsButton(ui.DynamicItem[ui.Button[Any]], template=rf"{ANSWER}:{_ID}:{WORDS}"):
    """Button of a question for an answer in words."""

    def __init__(self, request: str) -> None:
        super().__init__(ui.Button(label=question_texts.IN_WORDS, custom_id=f"{ANSWER}:{request}:{WORDS}"))
        self._request = request

    @classmethod
    async def from_custom_id(
        cls, interaction: Interaction, item: ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Create the button; discord.py calls this for each press."""
        return cls(match["request"])

    async def callback(self, interaction: Interaction) -> None:
        """Open the form for the answer."""
        await _open(interaction, self._request, Question)


async def _open(interaction: Interaction, request: str, kind: type[Approval] | type[Question]) -> None:
    """Open the form of a request that waits, or say why there is none.

    It can only be the first response, within 3 s.
    """
    commands = take_press(interaction)
    try:
        found = await find_waiting(commands, request, kind)
        if isinstance(found, str):
            await interaction.response.send_message(found, ephemeral=True, suppress_embeds=True)
        else:
            form = words_form(found) if isinstance(found, Question) else rejection_form(request)
            await interaction.response.send_modal(form)
    except Exception as error:  # noqa: BLE001 - discord.py would let the user wait for ever
        await apologise(interaction, error)


REQUEST_ITEMS = (ApprovalButton, RejectionButton, OptionButton, OptionMenu, WordsButton)
"""Buttons and menus of requests, for the client that receives their presses."""
