"""Approval requests: created once, shown to those who can approve them, decided once."""

from bot.approvals.approvals import Approvals
from bot.approvals.copies import Copies

__all__ = ["Approvals", "Copies"]
