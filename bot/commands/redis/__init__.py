"""Operations on keys and values for administrators, the same on every platform, with an audit log."""

from bot.commands.redis.operations import (
    ARGUMENTS,
    TABLE,
    All,
    Command,
    Delete,
    Get,
    Info,
    Keys,
    Mset,
    Operation,
    Set,
)
from bot.commands.redis.parser import HELP, Draft, NotUnderstood, build, parse, parse_ttl
from bot.commands.redis.runner import Caller, NotAllowed, Operations
from bot.storage.key_value import NotStorable

__all__ = [
    "ARGUMENTS",
    "HELP",
    "TABLE",
    "All",
    "Caller",
    "Command",
    "Delete",
    "Draft",
    "Get",
    "Info",
    "Keys",
    "Mset",
    "NotAllowed",
    "NotStorable",
    "NotUnderstood",
    "Operation",
    "Operations",
    "Set",
    "build",
    "parse",
    "parse_ttl",
]
