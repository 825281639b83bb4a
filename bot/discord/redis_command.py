"""`/agent-redis` on Discord: a subcommand for each operation, suggestions of keys, a form for long values."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from inspect import Parameter, Signature
from typing import Any

import discord
from discord import app_commands

from bot.commands.redis import (
    OPERATIONS,
    InvalidArgument,
    Operation,
    Operations,
    RedisCaller,
    Set,
    build,
    texts,
)
from bot.discord.events import PLATFORM, is_guest, space_of
from bot.discord.responses import Interaction, answer, apologise

_TEXT = app_commands.Range[str, 1]
_OPTIONS: dict[str, tuple[Any, Any]] = {
    "key": (_TEXT, Parameter.empty),
    "value": (_TEXT, ""),
    "data": (_TEXT, Parameter.empty),
    "ttl": (app_commands.Range[int, 1] | None, None),
    "pattern": (_TEXT, "*"),
}
"""Type and default of each argument, as discord.py needs them."""

_MAX_CHOICE = 100
"""Most characters of a suggestion, https://discord.com/developers/docs/interactions/application-commands"""

_MAX_INPUT = 4_000
_FORM_SECONDS = 900.0
"""Seconds that a form is kept: Discord does not report that a user closes it without submitting it."""


def add_redis_command(
    tree: app_commands.CommandTree[discord.Client], operations: Operations, join: Callable[[], None]
) -> None:
    """Register `/agent-redis` with `tree`. `join` counts the task in which a form is handled."""
    group = app_commands.Group(
        name="agent-redis",
        description=texts.GROUP,
        # only hides the command by default: the permission is checked with each use
        default_permissions=discord.Permissions(manage_guild=True),
    )
    for kind in OPERATIONS:
        group.add_command(_subcommand(kind, operations, join))
    tree.add_command(group)


def _subcommand(
    kind: type[Operation], operations: Operations, join: Callable[[], None]
) -> app_commands.Command[Any, ..., None]:
    async def run(interaction: Interaction, operation: Operation) -> None:
        await answer(interaction, partial(operations.answer, operation, _caller(interaction)))

    async def callback(interaction: Interaction, /, **values: Any) -> None:
        caller = _caller(interaction)
        try:
            operation = build(kind, values)
        except InvalidArgument as error:
            sentence = operations.refusal(None, caller) or str(error)
            await interaction.response.send_message(sentence, ephemeral=True)
            return
        if operations.is_draft(operation, caller):
            await interaction.response.send_modal(Form(operation, run, join))
        else:
            await run(interaction, operation)

    async def suggest(interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        keys = await operations.suggest(current, _caller(interaction))
        return [app_commands.Choice(name=key, value=key) for key in keys if len(key) <= _MAX_CHOICE]

    arguments = kind.arguments()
    interaction = Parameter("interaction", Parameter.POSITIONAL_ONLY, annotation=Interaction)
    # discord.py reads the options of a command from its signature
    callback.__signature__ = Signature([interaction, *map(_option, arguments)])  # type: ignore[attr-defined]
    callback = app_commands.describe(**{name: each.description for name, each in arguments.items()})(callback)
    if "key" in arguments:
        callback = app_commands.autocomplete(key=suggest)(callback)
    return app_commands.Command(name=kind.word, description=kind.summary, callback=callback)


def _option(name: str) -> Parameter:
    annotation, default = _OPTIONS[name]
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


class Form(discord.ui.Modal, title=texts.FORM):
    """Form for the value of a draft, over several lines. It is lost when the process ends."""

    def __init__(
        self, draft: Set, run: Callable[[Interaction, Operation], Awaitable[None]], join: Callable[[], None]
    ) -> None:
        super().__init__(timeout=_FORM_SECONDS)
        self._draft = draft
        self._run = run
        self._join = join
        self._value = discord.ui.TextInput[Form](
            custom_id="value", style=discord.TextStyle.paragraph, max_length=_MAX_INPUT
        )
        self.add_item(discord.ui.Label(text=texts.FORM_VALUE, component=self._value))

    async def interaction_check(self, interaction: Interaction, /) -> bool:
        """Count the task of the submitted form; discord.py calls this first."""
        self._join()
        return True

    async def on_submit(self, interaction: Interaction, /) -> None:
        """Store the value; the operation checks the permission again."""
        await self._run(interaction, replace(self._draft, value=self._value.value))

    async def on_error(  # type: ignore[override]  # discord.py's own Modal differs from its base, too
        self, interaction: Interaction, error: Exception, /
    ) -> None:
        """Answer with a sentence, as `discord.ui.Modal.on_error` is expected to."""
        await apologise(interaction, error)


def _caller(interaction: Interaction) -> RedisCaller:
    where = f"{PLATFORM}:{space_of(interaction)}:{interaction.channel_id}"
    return RedisCaller(f"{PLATFORM}:{interaction.user.id}", where, is_external=is_guest(interaction.user))
