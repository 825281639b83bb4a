"""Operations on keys and values for administrators, the same on every platform, with an audit log."""

from bot.commands.redis import texts
from bot.commands.redis.arguments import parse_ttl
from bot.commands.redis.operations import OPERATIONS, Operation, Set
from bot.commands.redis.parser import build
from bot.commands.redis.runner import NotAllowed, Operations, RedisCaller
from bot.storage.key_value import InvalidArgument

__all__ = [
    "OPERATIONS",
    "InvalidArgument",
    "NotAllowed",
    "Operation",
    "Operations",
    "RedisCaller",
    "Set",
    "build",
    "parse_ttl",
    "texts",
]
