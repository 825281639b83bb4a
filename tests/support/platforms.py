"""Platforms of the program with the durations that tests choose."""

from collections.abc import Sequence
from typing import Any

from bot import discord
from bot.discord.adapter import build_adapter
from bot.discord.timing import Timing
from bot.main import PLATFORMS
from bot.platforms.adapter import Adapter

QUICK_DISCORD = Timing(identify_interval=0.15, identify_poll=0.02)
"""Durations for a Discord server that lets a session begin every tenth of a second."""


def platforms_with(discord_timing: Timing = QUICK_DISCORD) -> Sequence[Adapter[Any]]:
    """Return the platforms of the program, in their order, with these durations."""
    replacements = {discord.ADAPTER: build_adapter(discord_timing)}
    return [replacements.get(each, each) for each in PLATFORMS]
