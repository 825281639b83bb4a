"""Durable mailboxes, one per thread, on Redis Streams: what is put here is answered, in order, once."""

from bot.inbox.inbox import Inbox
from bot.inbox.worker import Work, serve

__all__ = ["Inbox", "Work", "serve"]
