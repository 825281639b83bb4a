"""Approval requests: created once, shown to those who can approve them, decided once."""

from bot.access.approvals.approvals import Approvals
from bot.access.approvals.copies import Copies

__all__ = ["Approvals", "Copies"]
