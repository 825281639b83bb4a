"""Requests to users: created once, shown to those who can decide or answer them, decided once."""

from bot.access.requests.approvals import ApprovalRules
from bot.access.requests.copies import Copies
from bot.access.requests.moderators import Moderators
from bot.access.requests.questions import QuestionRules
from bot.access.requests.request_store import RequestStore
from bot.access.requests.requests import Requests
from bot.access.requests.waiting import WaitingRequests

__all__ = [
    "ApprovalRules",
    "Copies",
    "Moderators",
    "QuestionRules",
    "RequestStore",
    "Requests",
    "WaitingRequests",
]
