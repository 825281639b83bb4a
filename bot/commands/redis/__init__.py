"""Operations on keys and values that people run: typed, for administrators, with a line in the log for each.

Slack, Discord and HTTP make the same typed operations, so that they cannot differ.
"""

from bot.commands.redis.format import describe
from bot.commands.redis.operations import (
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
from bot.commands.redis.parser import (
    HELP,
    Draft,
    NotUnderstood,
    parse,
    parse_data,
    parse_ttl,
)
from bot.commands.redis.runner import Caller, NotAllowed, Operations

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
