"""Slack: its events become messages, our answers become streamed replies in threads."""

from bot.slack.platform import connect

__all__ = ["connect"]
