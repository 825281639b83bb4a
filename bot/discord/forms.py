"""Forms about requests and answers, recognised by their ids, so that they also work after a restart.

discord.py forgets an open form when the process ends. Therefore a submitted one is handled as the interaction
that it is. https://docs.discord.com/developers/components/using-modal-components
"""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import discord
from discord import ui

from bot.chat import MOST_REASON, Json, Question
from bot.commands import answer_texts, answers, approval_texts, question_texts
from bot.commands.commands import Commands
from bot.commands.question_texts import MOST_WORDS
from bot.discord.presses import Interaction, chooser
from bot.discord.responses import answer
from bot.platforms.answers import REASON, explain
from bot.platforms.requests import ANSWER, REJECT, choose, decide

WHY, WORDS = "why", "words"
"""Last parts of the ids of the forms for a rejection and for an answer, and of the buttons that open them."""

_OPTION = "option"
_ID = "[0-9a-f]{1,64}"
_CUSTOM_ID = re.compile(f"{REASON}:{_ID}|{REJECT}:{_ID}:{WHY}|{ANSWER}:{_ID}:{WORDS}")
_MOST_RADIOS = 10
"""Most options beside each other in a form; more are a menu."""

_MOST_LABEL = 100
_MOST_QUESTION = 2_000


def vote_form(of: str) -> ui.Modal:
    """Return the form for the reason of a vote against an answer."""
    words = _text_input(REASON, answers.MOST_REASON)
    return _form(
        answer_texts.FORM, f"{REASON}:{of}", ui.Label(text=answer_texts.FORM_REASON, component=words)
    )


def rejection_form(request: str) -> ui.Modal:
    """Return the form for a rejection with its reason, which may be left out."""
    words = _text_input(WHY, MOST_REASON, is_required=False)
    label = ui.Label[Any](text=approval_texts.FORM_REASON, component=words)
    return _form(approval_texts.REJECT_WITH_REASON, f"{REJECT}:{request}:{WHY}", label)


def words_form(question: Question) -> ui.Modal:
    """Return the form for an answer: the question, its options if there are any, and room for words."""
    items: list[ui.Item[Any]] = []
    if text := question.text.strip()[:_MOST_QUESTION]:
        items.append(ui.TextDisplay(text))
    if question.options:
        items.append(ui.Label(text=question_texts.FORM_OPTION, component=_options(question.options)))
    words = _text_input(WORDS, MOST_WORDS, is_required=not question.options)
    label = question_texts.FORM_WORDS if question.options else question_texts.FORM
    items.append(ui.Label(text=label, component=words))
    return _form(question_texts.FORM, f"{ANSWER}:{question.id}:{WORDS}", *items)


def _options(options: tuple[str, ...]) -> ui.Item[Any]:
    """Return the options of a question; a single one, which a group cannot have, is a menu, too."""
    if 1 < len(options) <= _MOST_RADIOS:
        radios = [
            discord.RadioGroupOption(label=each[:_MOST_LABEL], value=str(number))
            for number, each in enumerate(options)
        ]
        return ui.RadioGroup(custom_id=_OPTION, options=radios, required=False)
    menu: ui.Select[Any] = ui.Select(
        custom_id=_OPTION, required=False, min_values=0, placeholder=question_texts.PLACEHOLDER
    )
    for number, each in enumerate(options):
        menu.add_option(label=each[:_MOST_LABEL], value=str(number))
    return menu


def _text_input(name: str, most: int, *, is_required: bool = True) -> ui.TextInput[Any]:
    return ui.TextInput(
        custom_id=name, style=discord.TextStyle.paragraph, max_length=most, required=is_required
    )


def _form(title: str, custom_id: str, *items: ui.Item[Any]) -> ui.Modal:
    form = ui.Modal(title=title, custom_id=custom_id, timeout=None)
    for each in items:
        form.add_item(each)
    form.stop()  # discord.py need not keep it: it is recognised by its id
    return form


def is_form(custom_id: str) -> bool:
    """Return whether an id is that of one of these forms."""
    return _CUSTOM_ID.fullmatch(custom_id) is not None


async def take_form(interaction: Interaction, commands: Commands) -> None:
    """Store what a user has submitted; other interactions are left alone."""
    data: Json = interaction.data or {}
    custom_id = str(data.get("custom_id", ""))
    if interaction.type is not discord.InteractionType.modal_submit or not is_form(custom_id):
        return
    values = dict(_values(data.get("components")))
    kind, id, *_ = custom_id.split(":")
    store = {REASON: _store_reason, REJECT: _reject, ANSWER: _answer}[kind]
    await answer(interaction, partial(store, interaction, commands, id, values))


async def _store_reason(interaction: Interaction, commands: Commands, id: str, values: dict[str, str]) -> str:
    by = chooser(interaction).author
    return await explain(commands, id, by, values.get(REASON, "")) or answer_texts.THANKS


async def _reject(interaction: Interaction, commands: Commands, id: str, values: dict[str, str]) -> str:
    by = chooser(interaction)
    return await decide(
        commands,
        id,
        by.author,
        approve=False,
        name=by.name,
        is_external=by.is_external,
        reason=values.get(WHY, "").strip(),
    )


async def _answer(interaction: Interaction, commands: Commands, id: str, values: dict[str, str]) -> str:
    """Take words for the answer, or else the chosen option."""
    words, option = values.get(WORDS, "").strip(), values.get(_OPTION, "")
    if not words and not (option.isascii() and option.isdecimal()):
        return question_texts.EMPTY
    return await choose(commands, id, words or int(option[:3]), chooser(interaction))


def _values(components: Json) -> Iterator[tuple[str, str]]:
    """Yield what was typed or chosen in a form, by the ids of its fields."""
    for each in components or ():
        chosen = each.get("value") or next(iter(each.get("values") or ()), None)
        if isinstance(chosen, str):
            yield str(each.get("custom_id", "")), chosen
        inner = each.get("component")
        yield from _values([*(each.get("components") or ()), *([inner] if inner else ())])
