"""Presses of buttons and submitted forms: answered within Discord's 3 seconds, and only to their user."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

import discord

from bot.commands.commands import Commands
from bot.commands.decisions import Chooser
from bot.discord.events import PLATFORM, is_guest, roles
from bot.discord.handlers import Handlers
from bot.discord.responses import apologise, follow_up

Interaction = discord.Interaction[Any]


class Host(Protocol):
    """Client that receives a press."""

    commands: Commands
    handlers: Handlers


def take_press(interaction: Interaction) -> Commands:
    """Count the task of a press; return the commands."""
    host = cast(Host, interaction.client)
    host.handlers.join()
    return host.commands


async def defer(interaction: Interaction) -> Commands:
    """Show that the answer to a press will follow; return the commands."""
    commands = take_press(interaction)
    await interaction.response.defer(ephemeral=True, thinking=True)
    return commands


async def answer_press(
    interaction: Interaction,
    outcome: Awaitable[str],
    show: Callable[[Interaction, str], Awaitable[None]] = follow_up,
) -> None:
    """Answer a user privately with the outcome of their press."""
    try:
        answer = await outcome
    except Exception as error:  # noqa: BLE001 - discord.py would let the user wait for ever
        await apologise(interaction, error)
    else:
        await show(interaction, answer)


def chooser(interaction: Interaction) -> Chooser:
    """Return the user of a press, as decisions take them."""
    user = interaction.user
    return Chooser(f"{PLATFORM}:{user.id}", user.display_name, roles(user), is_guest(user))
