"""Discord: messages in over the gateway, answers out over REST."""

from bot.discord.platform import Discord, connect

__all__ = ["Discord", "connect"]
