"""Discord: messages in over the gateway, answers out over REST."""

from bot.discord.adapter import ADAPTER

__all__ = ["ADAPTER"]
