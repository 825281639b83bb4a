"""Slack: its events become messages, our answers become streamed replies in threads."""

from bot.slack.adapter import ADAPTER

__all__ = ["ADAPTER"]
