"""Durable mailboxes on Redis Streams, one per thread: each message is answered in order and once."""

from bot.inbox import admin
from bot.inbox.attempt import Work
from bot.inbox.erasure import Erasure
from bot.inbox.fence import FencedRedis
from bot.inbox.hangs import note_hang, note_hang_apart
from bot.inbox.inbox import Inbox
from bot.inbox.lookup import Lookup
from bot.inbox.queries import health as inbox_health
from bot.inbox.worker import serve

__all__ = [
    "Erasure",
    "FencedRedis",
    "Inbox",
    "Lookup",
    "Work",
    "admin",
    "inbox_health",
    "note_hang",
    "note_hang_apart",
    "serve",
]
