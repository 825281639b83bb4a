"""Answers to interactions, which only the caller sees."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import discord

from bot.chat import StorageDown
from bot.chat.texts import NO_STORAGE, command_failed
from bot.discord.markdown.split import split

log = logging.getLogger(__name__)

Interaction = discord.Interaction[discord.Client]


async def answer(interaction: Interaction, text: Callable[[], Awaitable[str]]) -> None:
    """Answer with `text`. The answer is deferred, since Discord waits only 3 s."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    try:
        words = await text()
    except StorageDown as error:
        log.warning("command not executed", extra={"error": str(error)})
        words = NO_STORAGE
    await follow_up(interaction, words)


async def follow_up(interaction: discord.Interaction[Any], text: str) -> None:
    """Show the text of a deferred answer, without link previews: Discord would fetch made-up addresses."""
    for piece in split(text):
        await interaction.followup.send(piece, ephemeral=True, suppress_embeds=True)


async def apologise(interaction: Interaction, error: Exception) -> None:
    """Answer an unexpected error with a sentence; the log has the error with the same reference."""
    log.error("command failed", extra={"reference": interaction.id}, exc_info=error)
    if interaction.type is discord.InteractionType.autocomplete:  # cannot show a text
        return
    sentence = command_failed(interaction.id)
    try:
        if interaction.response.is_done():
            await interaction.followup.send(sentence, ephemeral=True)
        else:
            await interaction.response.send_message(sentence, ephemeral=True)
    except discord.HTTPException as refusal:
        log.warning("command error not shown", extra={"reason": str(refusal)})
