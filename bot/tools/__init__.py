"""The tools that the agent is given, and the stores behind them."""

from bot.tools.failure import ToolFailure
from bot.tools.kv import KeyValueStore, NotStorable
from bot.tools.scope import for_tools, turn_of
from bot.tools.sql import Limits, open_pool
from bot.tools.sql_role import role_report
from bot.tools.toolset import toolset

__all__ = [
    "KeyValueStore",
    "Limits",
    "NotStorable",
    "ToolFailure",
    "for_tools",
    "open_pool",
    "role_report",
    "toolset",
    "turn_of",
]
