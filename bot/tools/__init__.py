"""The tools that the agent is given, and the stores behind them."""

from bot.tools.failure import ToolFailure
from bot.tools.guarded import GuardedTool, Preview
from bot.tools.kv import NOTHING_KEPT, KeyValueStore
from bot.tools.made import files_of, naming
from bot.tools.scope import for_tools, proposal_of, turn_of
from bot.tools.sql import Limits
from bot.tools.sql_pool import Pool, open_pool
from bot.tools.sql_role import RoleCheck, RolePolicy
from bot.tools.sql_write import Orders
from bot.tools.toolset import OPEN_TOOLS, toolset

__all__ = [
    "NOTHING_KEPT",
    "OPEN_TOOLS",
    "GuardedTool",
    "KeyValueStore",
    "Limits",
    "Orders",
    "Pool",
    "Preview",
    "RoleCheck",
    "RolePolicy",
    "ToolFailure",
    "files_of",
    "for_tools",
    "naming",
    "open_pool",
    "proposal_of",
    "toolset",
    "turn_of",
]
