"""The tools that the agent is given, and the stores behind them."""

from bot.tools.failure import ToolFailure
from bot.tools.kv import KeyValueStore
from bot.tools.memory import ThreadMemory
from bot.tools.sql import Limits, open_pool
from bot.tools.sql_role import role_report
from bot.tools.toolset import toolset

__all__ = [
    "KeyValueStore",
    "Limits",
    "ThreadMemory",
    "ToolFailure",
    "open_pool",
    "role_report",
    "toolset",
]
