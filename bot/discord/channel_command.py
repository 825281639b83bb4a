"""`/agent-channel` on Discord: a command with subcommands."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import discord
from discord import app_commands

from bot.chat import FollowUp
from bot.commands import channel_texts as texts
from bot.commands.channel import MOST_INSTRUCTIONS, ChannelCaller, ChannelCommand, Verb
from bot.discord.events import PLATFORM, is_guest
from bot.discord.responses import Interaction, answer

_MOST_CHOICE = 100
"""Most characters of a suggestion, https://discord.com/developers/docs/interactions/application-commands"""

_Text = app_commands.Range[str, 1, MOST_INSTRUCTIONS]
_Policy = Literal[FollowUp, "default"]


def add_channel_command(tree: app_commands.CommandTree[discord.Client], command: ChannelCommand) -> None:
    """Register `/agent-channel` with `tree`; only the caller sees the answers."""
    group = app_commands.Group(
        name="agent-channel",
        description=texts.GROUP,
        # only hides the command by default: the permission is checked with each use
        default_permissions=discord.Permissions(manage_guild=True),
    )

    async def run_verb(interaction: Interaction, verb: Verb, argument: str = "") -> None:
        await answer(interaction, partial(command.run, verb, argument, _caller(interaction)))

    @group.command(name="show", description=texts.SHOW)
    async def show(interaction: Interaction) -> None:
        await run_verb(interaction, "show")

    @group.command(name="instructions", description=texts.INSTRUCTIONS)
    @app_commands.describe(text=texts.TEXT)
    async def instructions(interaction: Interaction, text: _Text) -> None:
        await run_verb(interaction, "instructions", text)

    @group.command(name="follow-up", description=texts.FOLLOW_UP)
    @app_commands.describe(policy=texts.POLICY)
    async def follow_up(interaction: Interaction, policy: _Policy) -> None:
        await run_verb(interaction, "follow-up", policy)

    @group.command(name="model", description=texts.MODEL)
    @app_commands.describe(name=texts.NAME)
    async def model(interaction: Interaction, name: _Text) -> None:
        await run_verb(interaction, "model", name)

    @group.command(name="tools", description=texts.TOOLS)
    @app_commands.describe(names=texts.NAMES)
    async def tools(interaction: Interaction, names: _Text) -> None:
        await run_verb(interaction, "tools", names)

    @model.autocomplete("name")
    async def suggest_model(interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
        return _choices(command.suggest("model", typed, _caller(interaction)))

    @tools.autocomplete("names")
    async def suggest_tools(interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
        return _choices(command.suggest("tools", typed, _caller(interaction)))

    @group.command(name="reset", description=texts.RESET)
    async def reset(interaction: Interaction) -> None:
        await run_verb(interaction, "reset")

    tree.add_command(group)


def _choices(values: Sequence[str]) -> list[app_commands.Choice[str]]:
    return [app_commands.Choice(name=each, value=each) for each in values if len(each) <= _MOST_CHOICE]


def _caller(interaction: Interaction) -> ChannelCaller:
    # a thread belongs to its parent, as in `bot.access.origin`
    channel = getattr(interaction.channel, "parent_id", None) or interaction.channel_id
    return ChannelCaller(
        author=f"{PLATFORM}:{interaction.user.id}",
        name=interaction.user.display_name,
        channel=f"{PLATFORM}:{channel}",
        is_external=is_guest(interaction.user),
    )
