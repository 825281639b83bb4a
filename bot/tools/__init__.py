"""The tools that the agent is given, and the stores behind them."""

from bot.tools.failure import ToolFailure
from bot.tools.kv import KeyValueStore, NotStorable
from bot.tools.memory import ThreadMemory
from bot.tools.sql import Limits
from bot.tools.sql_pool import open_pool
from bot.tools.sql_role import RoleCheck, RolePolicy
from bot.tools.toolset import toolset

__all__ = [
    "KeyValueStore",
    "Limits",
    "NotStorable",
    "RoleCheck",
    "RolePolicy",
    "ThreadMemory",
    "ToolFailure",
    "open_pool",
    "toolset",
]
