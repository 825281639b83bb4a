"""Buttons below answers, recognised by their ids, so that they also work after a restart.

So does the form for a reason: discord.py forgets an open form when the process ends, and therefore a
submitted one is handled as the interaction that it is (`take_reason`).
"""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any, Self, cast

import discord
from discord import ui

from bot.chat import AnswerButtons, Json, Vote
from bot.commands import answer_texts
from bot.commands.answers import MOST_REASON
from bot.commands.commands import Commands
from bot.discord.events import PLATFORM, parse_press
from bot.discord.request_buttons import Host, answer_press, defer
from bot.discord.responses import answer, apologise
from bot.platforms.answers import DETAILS, RATE, REASON, REGENERATE, describe, explain, rate, regenerate

_ID = r"(?P<answer>[0-9a-f]{1,64})"

_ACTIONS = {REGENERATE: (answer_texts.REGENERATE, regenerate), DETAILS: (answer_texts.DETAILS, describe)}
"""Labels of the buttons that store no vote, and what each one does."""

Interaction = discord.Interaction[Any]


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
        host = cast(Host, interaction.client)
        host.handlers.join()
        try:
            # before any response: a form can only be the first one, within 3 s
            error = await rate(host.commands, self._answer, parse_press(interaction), self._vote)
            if error or self._vote == "up":
                words = error or answer_texts.rated(self._vote)
                await interaction.response.send_message(words, ephemeral=True)
            else:
                await interaction.response.send_modal(_reason_form(self._answer))
        except Exception as error:  # noqa: BLE001 - discord.py would let the user wait for ever
            await apologise(interaction, error)


class ActionButton(ui.DynamicItem[ui.Button[Any]], template=rf"(?P<action>{'|'.join(_ACTIONS)}):{_ID}"):
    """Button for another answer, or for the details of one."""

    def __init__(self, action: str, answer: str) -> None:
        label, self._act = _ACTIONS[action]
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
        await answer_press(interaction, self._take(interaction, commands))

    async def _take(self, interaction: Interaction, commands: Commands) -> str:
        return await self._act(commands, self._answer, parse_press(interaction))


def _reason_form(answer: str) -> ui.Modal:
    form = ui.Modal(title=answer_texts.FORM, custom_id=f"{REASON}:{answer}", timeout=None)
    reason: ui.TextInput[Any] = ui.TextInput(
        custom_id=REASON, style=discord.TextStyle.paragraph, max_length=MOST_REASON
    )
    form.add_item(ui.Label(text=answer_texts.FORM_REASON, component=reason))
    form.stop()  # as in `answer_view`
    return form


async def take_reason(interaction: Interaction, commands: Commands) -> None:
    """Store the reason in a submitted form; other interactions are left alone."""
    data: Json = interaction.data or {}
    form, _, id = str(data.get("custom_id", "")).partition(":")
    if interaction.type is not discord.InteractionType.modal_submit or form != REASON:
        return
    reason = next(_texts(data.get("components")), "")
    await answer(interaction, partial(_store_reason, commands, id, _author(interaction), reason))


async def _store_reason(commands: Commands, id: str, by: str, reason: str) -> str:
    return await explain(commands, id, by, reason) or answer_texts.THANKS


def _texts(components: Json) -> Iterator[str]:
    """Yield the texts that were typed into a form."""
    for each in components or ():
        if isinstance(each.get("value"), str):
            yield each["value"]
        inner = each.get("component")
        yield from _texts([*(each.get("components") or ()), *([inner] if inner else ())])


def _author(interaction: Interaction) -> str:
    return f"{PLATFORM}:{interaction.user.id}"
