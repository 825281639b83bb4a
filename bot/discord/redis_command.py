"""`/agent-redis` on Discord: subcommands with options, suggestions of keys, and a form for long values."""

from collections.abc import Awaitable, Callable
from functools import partial

import discord
from discord import app_commands

from bot.commands.redis import (
    All,
    Caller,
    Delete,
    Draft,
    Get,
    Info,
    Keys,
    Mset,
    NotUnderstood,
    Operation,
    Operations,
    Set,
    parse_data,
)
from bot.discord.events import PLATFORM, is_guest, space_of
from bot.discord.responses import Interaction, answer, apologise

Text = app_commands.Range[str, 1]
Ttl = app_commands.Range[int, 1]
Run = Callable[[Interaction, Operation], Awaitable[None]]

_CHOICE_LIMIT = 100
"""Characters of a suggestion, https://discord.com/developers/docs/interactions/application-commands"""

_INPUT_LIMIT = 4_000
_FORM_SECONDS = 900.0
"""How long a form is kept: Discord does not tell when a person closes it without sending it off."""

_KEY = "The key, without the prefix that the bot adds"
_TTL = "Seconds after which it is deleted; without it the value stays"


def add_redis_command(
    tree: app_commands.CommandTree[discord.Client], operations: Operations, join: Callable[[], None]
) -> None:
    """Let `tree` answer `/agent-redis`. `join` counts in the task in which a form is handled."""
    group = app_commands.Group(
        name="agent-redis",
        description="Keys and values in Redis, for administrators of the bot",
        # only what is shown at first: who may is checked with each use
        default_permissions=discord.Permissions(manage_guild=True),
    )

    async def run(interaction: Interaction, operation: Operation) -> None:
        await answer(interaction, partial(operations.answer, operation, _caller(interaction)))

    async def suggest(interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
        keys = await operations.suggest(typed, _caller(interaction))
        return [app_commands.Choice(name=key, value=key) for key in keys if len(key) <= _CHOICE_LIMIT]

    @group.command(name="get", description="Show a value")
    @app_commands.describe(key=_KEY)
    @app_commands.autocomplete(key=suggest)
    async def get(interaction: Interaction, key: Text) -> None:
        await run(interaction, Get(key))

    @group.command(name="set", description="Store a value")
    @app_commands.describe(key=_KEY, value="The value; without it a form for several lines opens", ttl=_TTL)
    @app_commands.autocomplete(key=suggest)
    async def set_(
        interaction: Interaction, key: Text, value: Text | None = None, ttl: Ttl | None = None
    ) -> None:
        if value is not None:
            await run(interaction, Set(key, value, ttl))
            return
        draft = Draft(key, ttl)
        if refusal := operations.refusal(draft, _caller(interaction)):
            await interaction.response.send_message(refusal, ephemeral=True)
            return
        await interaction.response.send_modal(Form(draft, run, join))

    @group.command(name="del", description="Delete a value")
    @app_commands.describe(key=_KEY)
    @app_commands.autocomplete(key=suggest)
    async def delete(interaction: Interaction, key: Text) -> None:
        await run(interaction, Delete(key))

    @group.command(name="keys", description="List keys")
    @app_commands.describe(pattern="The wildcards are *, ? and [ab]; without it all keys")
    async def keys(interaction: Interaction, pattern: Text = "*") -> None:
        await run(interaction, Keys(pattern))

    @group.command(name="all", description="List keys with their values")
    async def all_(interaction: Interaction) -> None:
        await run(interaction, All())

    @group.command(name="mset", description="Store several values at once")
    @app_commands.describe(data='A JSON object of texts, such as {"greeting": "hello"}', ttl=_TTL)
    async def mset(interaction: Interaction, data: Text, ttl: Ttl | None = None) -> None:
        try:
            await run(interaction, Mset(parse_data(data), ttl))
        except NotUnderstood as error:
            sentence = operations.refusal(None, _caller(interaction)) or str(error)
            await interaction.response.send_message(sentence, ephemeral=True)

    @group.command(name="info", description="Show what Redis says of itself")
    async def info(interaction: Interaction) -> None:
        await run(interaction, Info())

    tree.add_command(group)


class Form(discord.ui.Modal):
    """Asks for the value of a draft, over several lines. It does not outlive the process."""

    def __init__(self, draft: Draft, run: Run, join: Callable[[], None]) -> None:
        super().__init__(title="Store a value", timeout=_FORM_SECONDS)
        self._draft = draft
        self._run = run
        self._join = join
        self._value = discord.ui.TextInput[Form](
            custom_id="value", style=discord.TextStyle.paragraph, max_length=_INPUT_LIMIT
        )
        self.add_item(discord.ui.Label(text="Value", component=self._value))

    async def interaction_check(self, interaction: Interaction, /) -> bool:
        """Called first in the task of the form that was sent off."""
        self._join()
        return True

    async def on_submit(self, interaction: Interaction, /) -> None:
        """Store what was typed; whether the person still may is checked again there."""
        await self._run(interaction, Set(self._draft.key, self._value.value, self._draft.ttl))

    async def on_error(  # type: ignore[override]  # discord.py's own Modal differs from its base, too
        self, interaction: Interaction, error: Exception, /
    ) -> None:
        """See `discord.ui.Modal.on_error`."""
        await apologise(interaction, error)


def _caller(interaction: Interaction) -> Caller:
    space = space_of(interaction)
    where = f"{PLATFORM}:{space}:{interaction.channel_id}"
    return Caller(f"{PLATFORM}:{interaction.user.id}", where, is_external=is_guest(interaction.user))
