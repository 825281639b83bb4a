"""`/agent-memory` on Discord: a command with subcommands."""

import io
from functools import partial
from typing import Literal

import discord
from discord import app_commands

from bot.commands.commands import Caller, PersonalMemory
from bot.discord.events import PLATFORM
from bot.discord.responses import Interaction, answer, follow_up
from bot.platforms import memory_command
from bot.platforms.memory_command import FILE, Verb


def add_memory_command(tree: app_commands.CommandTree[discord.Client], memory: PersonalMemory) -> None:
    """Let `tree` answer `/agent-memory`, for the caller's eyes only."""
    group = app_commands.Group(name="agent-memory", description="What the bot keeps about you")

    async def run(interaction: Interaction, verb: Verb, argument: str = "") -> None:
        await answer(interaction, partial(memory_command.run, memory, _caller(interaction), verb, argument))

    @group.command(name="show", description="Show what the bot keeps about you")
    async def show(interaction: Interaction) -> None:
        await run(interaction, "show")

    @group.command(name="export", description="Get all that the bot keeps about you, as a file")
    async def export(interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        send = partial(_send, interaction)
        if error := await memory_command.export(memory, _caller(interaction), send):
            await follow_up(interaction, error)

    @group.command(name="forget", description="Remove all that the bot keeps about you")
    @app_commands.describe(confirm="Without it you are told what goes, and nothing does")
    async def forget(interaction: Interaction, confirm: Literal["everything"] | None = None) -> None:
        await run(interaction, "forget", confirm or "")

    @group.command(name="link", description="Make one person of this account and one on another platform")
    @app_commands.describe(code="The code from the other platform; without it you get one for there")
    async def link(interaction: Interaction, code: app_commands.Range[str, 1, 64] | None = None) -> None:
        await run(interaction, "link", code or "")

    @group.command(name="unlink", description="Make this account a person of its own again")
    async def unlink(interaction: Interaction) -> None:
        await run(interaction, "unlink")

    tree.add_command(group)


def _caller(interaction: Interaction) -> Caller:
    return Caller(f"{PLATFORM}:{interaction.user.id}", "")


async def _send(interaction: Interaction, data: bytes) -> str:
    file = discord.File(io.BytesIO(data), FILE)
    await interaction.followup.send("Here it is.", file=file, ephemeral=True)
    return ""
