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

_GROUP = "Manage what the bot remembers about you"
_SHOW = "Show what the bot remembers about you"
_EXPORT = "Get everything that the bot remembers about you, as a file"
_FORGET = "Delete everything that the bot remembers about you"
_CONFIRM = "Confirms the deletion; without it, you only see what would be deleted"
_LINK = "Link this account with your account on another platform"
_CODE = "The code from the other platform; without it, you get a code to use there"
_UNLINK = "Unlink this account from your other accounts"
_SENT = "Here is everything that I remember about you."


def add_memory_command(tree: app_commands.CommandTree[discord.Client], memory: PersonalMemory) -> None:
    """Register `/agent-memory` with `tree`; only the caller sees the answers."""
    group = app_commands.Group(name="agent-memory", description=_GROUP)

    async def run(interaction: Interaction, verb: Verb, argument: str = "") -> None:
        await answer(interaction, partial(memory_command.run, memory, _caller(interaction), verb, argument))

    @group.command(name="show", description=_SHOW)
    async def show(interaction: Interaction) -> None:
        await run(interaction, "show")

    @group.command(name="export", description=_EXPORT)
    async def export(interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        send = partial(_send, interaction)
        if error := await memory_command.export(memory, _caller(interaction), send):
            await follow_up(interaction, error)

    @group.command(name="forget", description=_FORGET)
    @app_commands.describe(confirm=_CONFIRM)
    async def forget(interaction: Interaction, confirm: Literal["everything"] | None = None) -> None:
        await run(interaction, "forget", confirm or "")

    @group.command(name="link", description=_LINK)
    @app_commands.describe(code=_CODE)
    async def link(interaction: Interaction, code: app_commands.Range[str, 1, 64] | None = None) -> None:
        await run(interaction, "link", code or "")

    @group.command(name="unlink", description=_UNLINK)
    async def unlink(interaction: Interaction) -> None:
        await run(interaction, "unlink")

    tree.add_command(group)


def _caller(interaction: Interaction) -> Caller:
    return Caller(f"{PLATFORM}:{interaction.user.id}", "")


async def _send(interaction: Interaction, data: bytes) -> str:
    file = discord.File(io.BytesIO(data), FILE)
    await interaction.followup.send(_SENT, file=file, ephemeral=True)
    return ""
