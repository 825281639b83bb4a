"""Attachments of messages, converted for the model: text, documents and pictures."""

from bot.agent.attachments.reader import AttachmentLimits, AttachmentReader

__all__ = ["AttachmentLimits", "AttachmentReader"]
