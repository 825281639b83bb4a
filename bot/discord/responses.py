"""Answers to interactions, for the eyes of the person who asked alone."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import discord

from bot.discord.markdown.split import split

log = logging.getLogger(__name__)

Interaction = discord.Interaction[discord.Client]


async def answer(interaction: Interaction, text: Callable[[], Awaitable[str]]) -> None:
    """Answer when `text` is there. It is deferred, since Discord waits no longer than 3 s."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    await follow_up(interaction, await text())


async def follow_up(interaction: discord.Interaction[Any], text: str) -> None:
    """Show the text of a deferred answer. Links get no preview: Discord would fetch what a model made up."""
    for piece in split(text):
        await interaction.followup.send(piece, ephemeral=True, suppress_embeds=True)


async def apologise(interaction: Interaction, error: Exception) -> None:
    """Answer what nobody foresaw with a sentence; the log has the error under the same reference."""
    log.error("command failed", extra={"reference": interaction.id}, exc_info=error)
    if interaction.type is discord.InteractionType.autocomplete:  # takes no words
        return
    sentence = f"That did not work. The log says why, under the reference {interaction.id}."
    try:
        if interaction.response.is_done():
            await interaction.followup.send(sentence, ephemeral=True)
        else:
            await interaction.response.send_message(sentence, ephemeral=True)
    except discord.HTTPException as refusal:
        log.warning("no answer to a failed command", extra={"reason": str(refusal)})
