"""`/agent-memory` on Discord: a command with subcommands."""

import io
from collections.abc import Awaitable
from typing import Literal

import discord
from discord import app_commands

from bot.chat import BotError
from bot.commands.commands import Caller, PersonalMemory
from bot.discord.events import PLATFORM
from bot.discord.responses import follow_up

Interaction = discord.Interaction[discord.Client]

FILE = "memory.json"


def memory_group(memory: PersonalMemory) -> app_commands.Group:
    """The command, to be added to a tree."""
    group = app_commands.Group(name="agent-memory", description="What the bot keeps about you")

    @group.command(name="show", description="Show what the bot keeps about you")
    async def show(interaction: Interaction) -> None:
        await _answer(interaction, memory.show(_caller(interaction)))

    @group.command(name="export", description="Get all that the bot keeps about you, as a file")
    async def export(interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        try:
            data = await memory.export(_caller(interaction))
        except BotError as error:
            await interaction.followup.send(str(error), ephemeral=True)
            return
        await interaction.followup.send(
            "Here it is.", file=discord.File(io.BytesIO(data), FILE), ephemeral=True
        )

    @group.command(name="forget", description="Remove all that the bot keeps about you")
    @app_commands.describe(confirm="Without it you are told what goes, and nothing does")
    async def forget(interaction: Interaction, confirm: Literal["everything"] | None = None) -> None:
        await _answer(interaction, memory.forget(_caller(interaction), confirmed=confirm == "everything"))

    @group.command(name="link", description="Make one person of this account and one on another platform")
    @app_commands.describe(code="The code from the other platform; without it you get one for there")
    async def link(interaction: Interaction, code: app_commands.Range[str, 1, 64] | None = None) -> None:
        await _answer(interaction, memory.link(_caller(interaction), code or ""))

    @group.command(name="unlink", description="Make this account a person of its own again")
    async def unlink(interaction: Interaction) -> None:
        await _answer(interaction, memory.unlink(_caller(interaction)))

    return group


def _caller(interaction: Interaction) -> Caller:
    return Caller(f"{PLATFORM}:{interaction.user.id}", "")


async def _answer(interaction: Interaction, words: Awaitable[str]) -> None:
    """Answer for the caller's eyes only. It is deferred, since Discord waits no longer than 3 s."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    try:
        text = await words
    except BotError as error:
        text = str(error)
    await follow_up(interaction, text)
