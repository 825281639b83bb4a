"""`/agent-memory` on Discord: a command with subcommands."""

import io
from functools import partial
from typing import Literal

import discord
from discord import app_commands

from bot.commands import texts
from bot.commands.memory import Caller, PersonalMemory, Verb
from bot.discord.events import PLATFORM
from bot.discord.responses import Interaction, answer, follow_up
from bot.platforms import memory_command
from bot.platforms.memory_command import FILE


def add_memory_command(tree: app_commands.CommandTree[discord.Client], memory: PersonalMemory) -> None:
    """Register `/agent-memory` with `tree`; only the caller sees the answers."""
    group = app_commands.Group(name="agent-memory", description=texts.MEMORY)

    async def run_verb(interaction: Interaction, verb: Verb, argument: str = "") -> None:
        await answer(interaction, partial(memory_command.run, memory, _caller(interaction), verb, argument))

    @group.command(name="show", description=texts.MEMORY_SHOW)
    async def show(interaction: Interaction) -> None:
        await run_verb(interaction, "show")

    @group.command(name="list", description=texts.MEMORY_LIST)
    @app_commands.describe(words=texts.MEMORY_WORDS)
    async def list_facts(interaction: Interaction, words: str | None = None) -> None:
        await run_verb(interaction, "list", words or "")

    @group.command(name="correct", description=texts.MEMORY_CORRECT)
    @app_commands.describe(fact=texts.MEMORY_FACT, text=texts.MEMORY_TEXT)
    async def correct(interaction: Interaction, fact: str, text: str) -> None:
        await run_verb(interaction, "correct", f"{fact} {text}")

    @group.command(name="export", description=texts.MEMORY_EXPORT)
    async def export(interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        send = partial(_send, interaction)
        if error := await memory_command.export(memory, _caller(interaction), send):
            await follow_up(interaction, error)

    @group.command(name="forget", description=texts.MEMORY_FORGET)
    @app_commands.describe(fact=texts.MEMORY_FACT, confirm=texts.MEMORY_CONFIRM)
    async def forget(
        interaction: Interaction, fact: str | None = None, confirm: Literal["everything"] | None = None
    ) -> None:
        await run_verb(interaction, "forget", fact or confirm or "")

    @group.command(name="link", description=texts.MEMORY_LINK)
    @app_commands.describe(code=texts.MEMORY_CODE)
    async def link(interaction: Interaction, code: app_commands.Range[str, 1, 64] | None = None) -> None:
        await run_verb(interaction, "link", code or "")

    @group.command(name="unlink", description=texts.MEMORY_UNLINK)
    async def unlink(interaction: Interaction) -> None:
        await run_verb(interaction, "unlink")

    tree.add_command(group)


def _caller(interaction: Interaction) -> Caller:
    return Caller(f"{PLATFORM}:{interaction.user.id}", "")


async def _send(interaction: Interaction, data: bytes) -> str:
    file = discord.File(io.BytesIO(data), FILE)
    await interaction.followup.send(texts.MEMORY_FILE, file=file, ephemeral=True)
    return ""
