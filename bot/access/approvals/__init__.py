"""Approval requests: created once, shown to those who can approve them, decided once."""

from bot.access.approvals.approvals import Approvals
from bot.access.approvals.copies import Copies
from bot.access.approvals.moderators import Moderators
from bot.access.approvals.request_store import RequestStore

__all__ = ["Approvals", "Copies", "Moderators", "RequestStore"]
