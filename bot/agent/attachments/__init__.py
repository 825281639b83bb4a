"""Attachments of messages, converted for the model: text, documents and pictures."""

from bot.agent.attachments.reader import AttachmentLimits, AttachmentReader
from bot.agent.attachments.recordings import RecordingReader

__all__ = ["AttachmentLimits", "AttachmentReader", "RecordingReader"]
