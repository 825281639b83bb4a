"""Slack platform: events become messages, answers become streamed replies in threads."""

from bot.slack.adapter import ADAPTER

__all__ = ["ADAPTER"]
