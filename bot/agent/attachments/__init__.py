"""Attachments of messages, converted for the model: text, CSV, Markdown, code, PDF and pictures."""

from bot.agent.attachments.reader import Limits, Reader

__all__ = ["Limits", "Reader"]
