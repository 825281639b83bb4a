"""Attachments of messages, converted for the model: text, CSV, Markdown, code, PDF and pictures."""

from bot.agent.attachments.reader import AttachmentLimits, Reader

__all__ = ["AttachmentLimits", "Reader"]
