"""Files that people send along, read for the model: text, CSV, Markdown, code, PDF and pictures."""

from bot.agent.attachments.reader import Limits, Reader

__all__ = ["Limits", "Reader"]
