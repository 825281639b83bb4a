"""Operations on keys and values that people run: typed, for administrators, with a line in the log for each.

Slack, Discord and HTTP make the same typed operations, so that they cannot differ.
"""

from bot.operations.answers import describe
from bot.operations.audited import Caller, NotAllowed, Operations
from bot.operations.kinds import (
    All,
    Delete,
    Get,
    Info,
    Keys,
    Listing,
    Mset,
    NotStorable,
    Operation,
    Set,
    Store,
    Value,
)
from bot.operations.typed import HELP, Draft, NotUnderstood, parse, parse_data, parse_ttl

__all__ = [
    "HELP",
    "All",
    "Caller",
    "Delete",
    "Draft",
    "Get",
    "Info",
    "Keys",
    "Listing",
    "Mset",
    "NotAllowed",
    "NotStorable",
    "NotUnderstood",
    "Operation",
    "Operations",
    "Set",
    "Store",
    "Value",
    "describe",
    "parse",
    "parse_data",
    "parse_ttl",
]
