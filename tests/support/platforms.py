"""Platforms of the program with the durations that tests choose."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bot import discord, slack
from bot.discord import adapter as discord_adapter
from bot.discord.timing import Timing as DiscordTiming
from bot.main import PLATFORMS
from bot.platforms.adapter import Adapter
from bot.platforms.supervise import CATCH_UP_SECONDS
from bot.slack import adapter as slack_adapter
from bot.slack.rate_limits import PER_MINUTE
from bot.slack.timing import Timing as SlackTiming

QUICK_DISCORD = DiscordTiming(identify_interval=0.15, identify_poll=0.02)
"""Durations for a Discord server that lets a session begin every tenth of a second."""

SLACK = SlackTiming()


def platforms_with(
    discord_timing: DiscordTiming = QUICK_DISCORD,
    slack_timing: SlackTiming = SLACK,
    *,
    slack_per_minute: Mapping[str, int] = PER_MINUTE,
    catch_up_seconds: float = CATCH_UP_SECONDS,
) -> Sequence[Adapter[Any]]:
    """Return the platforms of the program, in their order, with these durations and rate limits."""
    replacements: dict[Adapter[Any], Adapter[Any]] = {
        discord.ADAPTER: discord_adapter.build_adapter(discord_timing),
        slack.ADAPTER: slack_adapter.build_adapter(slack_timing, slack_per_minute),
    }
    return [replace(replacements.get(each, each), catch_up_seconds=catch_up_seconds) for each in PLATFORMS]
