"""Buttons below answers, recognised by their ids, so that they also work after a restart.

An answer itself stays an ordinary text, which users can search, quote and edit; so its buttons are no layout.
"""

import logging
import re
from typing import Any, Self, cast

import discord
from discord import ui

from bot.chat import AnswerButtons, Vote
from bot.commands import answer_texts
from bot.commands.commands import Commands
from bot.discord.cards import MOST_TEXT, text_card
from bot.discord.events import parse_press
from bot.discord.forms import vote_form
from bot.discord.presses import Interaction, answer_press, defer, take_press
from bot.discord.responses import apologise, edit_response, follow_up
from bot.platforms.answers import DETAILS, RATE, REGENERATE, describe, rate, regenerate

log = logging.getLogger(__name__)

_ID = r"(?P<answer>[0-9a-f]{1,64})"

_ACTIONS = {REGENERATE: (answer_texts.REGENERATE, regenerate), DETAILS: (answer_texts.DETAILS, describe)}
"""Labels of the buttons that store no vote, and what each one does."""


def answer_view(buttons: AnswerButtons) -> ui.View | None:
    """Return the buttons of an answer; None if it has none."""
    if not buttons.answer:
        return None
    view = ui.View(timeout=None)
    if buttons.can_be_rated:
        view.add_item(RateButton("up", buttons.answer))
        view.add_item(RateButton("down", buttons.answer))
    for action in _ACTIONS:
        view.add_item(ActionButton(action, buttons.answer))
    view.stop()  # nothing waits for it: otherwise discord.py would keep every view for ever
    return view


class RateButton(ui.DynamicItem[ui.Button[Any]], template=rf"{RATE}:(?P<vote>up|down):{_ID}"):
    """Button for a vote."""

    def __init__(self, vote: Vote, answer: str) -> None:
        emoji = answer_texts.MARKS[vote]
        super().__init__(ui.Button(emoji=emoji, custom_id=f"{RATE}:{vote}:{answer}"))
        self._vote = vote
        self._answer = answer

    @classmethod
    async def from_custom_id(
        cls, interaction: Interaction, item: ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Create the button; discord.py calls this for each press."""
        return cls(cast("Vote", match["vote"]), match["answer"])

    async def callback(self, interaction: Interaction) -> None:
        """Store the vote; after one against the answer, open the form for a reason."""
        commands = take_press(interaction)
        try:
            # before any response: a form can only be the first one, within 3 s
            error = await rate(commands, self._answer, parse_press(interaction), self._vote)
            if error or self._vote == "up":
                words = error or answer_texts.rated(self._vote)
                await interaction.response.send_message(words, ephemeral=True)
            else:
                await interaction.response.send_modal(vote_form(self._answer))
        except Exception as error:  # noqa: BLE001 - discord.py would let the user wait for ever
            await apologise(interaction, error)


class ActionButton(ui.DynamicItem[ui.Button[Any]], template=rf"(?P<action>{'|'.join(_ACTIONS)}):{_ID}"):
    """Button for another answer, or for the details of one."""

    def __init__(self, action: str, answer: str) -> None:
        label, self._act = _ACTIONS[action]
        self._action = action
        super().__init__(ui.Button(label=label, custom_id=f"{action}:{answer}"))
        self._answer = answer

    @classmethod
    async def from_custom_id(
        cls, interaction: Interaction, item: ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Create the button; discord.py calls this for each press."""
        return cls(match["action"], match["answer"])

    async def callback(self, interaction: Interaction) -> None:
        """Take the press, and answer the user in private."""
        commands = await defer(interaction)
        show = follow_up if self._action == REGENERATE else _show_details
        await answer_press(interaction, self._take(interaction, commands), show)

    async def _take(self, interaction: Interaction, commands: Commands) -> str:
        return await self._act(commands, self._answer, parse_press(interaction))


async def _show_details(interaction: Interaction, text: str) -> None:
    """Show the details of an answer as a card; a sentence, and a text too long for a card, as they are."""
    if "\n" in text and len(text) <= MOST_TEXT:
        try:
            await edit_response(interaction.client, interaction.token, text_card(text))
        except discord.HTTPException as error:
            log.warning("details not shown as a card", extra={"error": str(error)})
        else:
            return
    await follow_up(interaction, text)
