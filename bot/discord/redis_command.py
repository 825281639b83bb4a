"""`/agent-redis` on Discord: a subcommand for each operation, suggestions of keys, a form for long values."""

from collections.abc import Awaitable, Callable
from functools import partial
from inspect import Parameter, Signature
from typing import Any

import discord
from discord import app_commands

from bot.commands.redis import (
    ARGUMENTS,
    TABLE,
    Caller,
    Command,
    Draft,
    NotUnderstood,
    Operation,
    Operations,
    Set,
    build,
)
from bot.discord.events import PLATFORM, is_guest, space_of
from bot.discord.responses import Interaction, answer, apologise

Subcommand = app_commands.Command[Any, ..., None]

_TEXT = app_commands.Range[str, 1]
_NUMBER = app_commands.Range[int, 1]
_OPTIONS: dict[str, tuple[Any, Any]] = {
    "key": (_TEXT, Parameter.empty),
    "value": (_TEXT | None, None),
    "data": (_TEXT, Parameter.empty),
    "ttl": (_NUMBER | None, None),
    "pattern": (_TEXT, "*"),
}
"""Type and default of each argument, as discord.py needs them."""

_MAX_CHOICE = 100
"""Most characters of a suggestion, https://discord.com/developers/docs/interactions/application-commands"""

_MAX_INPUT = 4_000
_FORM_SECONDS = 900.0
"""Seconds that a form is kept: Discord does not report that a user closes it without submitting it."""

_GROUP = "Keys and values in Redis, for administrators of the bot"
_TITLE, _VALUE = "Store a value", "Value"


def add_redis_command(
    tree: app_commands.CommandTree[discord.Client], operations: Operations, join: Callable[[], None]
) -> None:
    """Register `/agent-redis` with `tree`. `join` counts the task in which a form is handled."""
    group = app_commands.Group(
        name="agent-redis",
        description=_GROUP,
        # only hides the command by default: the permission is checked with each use
        default_permissions=discord.Permissions(manage_guild=True),
    )
    for command in TABLE:
        group.add_command(_subcommand(command, operations, join))
    tree.add_command(group)


def _subcommand(command: Command, operations: Operations, join: Callable[[], None]) -> Subcommand:
    async def run(interaction: Interaction, operation: Operation) -> None:
        await answer(interaction, partial(operations.answer, operation, _caller(interaction)))

    async def callback(interaction: Interaction, /, **values: Any) -> None:
        try:
            operation = build(command, values)
        except NotUnderstood as error:
            sentence = operations.refusal(None, _caller(interaction)) or str(error)
            await interaction.response.send_message(sentence, ephemeral=True)
            return
        if not isinstance(operation, Draft):
            await run(interaction, operation)
        elif refusal := operations.refusal(operation, _caller(interaction)):
            await interaction.response.send_message(refusal, ephemeral=True)
        else:
            await interaction.response.send_modal(Form(operation, run, join))

    async def suggest(interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
        keys = await operations.suggest(typed, _caller(interaction))
        return [app_commands.Choice(name=key, value=key) for key in keys if len(key) <= _MAX_CHOICE]

    callback.__signature__ = _signature(command)  # type: ignore[attr-defined]  # typeshed does not know it
    subcommand: Subcommand = app_commands.Command(
        name=command.word, description=command.summary, callback=callback
    )
    app_commands.describe(**{name: ARGUMENTS[name].description for name in command.arguments})(subcommand)
    if "key" in command.arguments:
        subcommand.autocomplete("key")(suggest)
    return subcommand


class Form(discord.ui.Modal):
    """Form for the value of a draft, over several lines. It is lost when the process ends."""

    def __init__(
        self, draft: Draft, run: Callable[[Interaction, Operation], Awaitable[None]], join: Callable[[], None]
    ) -> None:
        super().__init__(title=_TITLE, timeout=_FORM_SECONDS)
        self._draft = draft
        self._run = run
        self._join = join
        self._value = discord.ui.TextInput[Form](
            custom_id="value", style=discord.TextStyle.paragraph, max_length=_MAX_INPUT
        )
        self.add_item(discord.ui.Label(text=_VALUE, component=self._value))

    async def interaction_check(self, interaction: Interaction, /) -> bool:
        """Count the task of the submitted form; discord.py calls this first."""
        self._join()
        return True

    async def on_submit(self, interaction: Interaction, /) -> None:
        """Store the value; the operation checks the permission again."""
        await self._run(interaction, Set(self._draft.key, self._value.value, self._draft.ttl))

    async def on_error(  # type: ignore[override]  # discord.py's own Modal differs from its base, too
        self, interaction: Interaction, error: Exception, /
    ) -> None:
        """Answer with a sentence, as `discord.ui.Modal.on_error` is expected to."""
        await apologise(interaction, error)


def _signature(command: Command) -> Signature:
    """Return the signature from which discord.py reads the options of a command."""
    interaction = Parameter("interaction", Parameter.POSITIONAL_ONLY, annotation=Interaction)
    options = [
        Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind, default=default)
        for name, kind, default in ((name, *_OPTIONS[name]) for name in command.arguments)
    ]
    return Signature([interaction, *options])


def _caller(interaction: Interaction) -> Caller:
    where = f"{PLATFORM}:{space_of(interaction)}:{interaction.channel_id}"
    return Caller(f"{PLATFORM}:{interaction.user.id}", where, is_external=is_guest(interaction.user))
