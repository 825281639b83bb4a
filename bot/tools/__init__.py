"""The tools that the agent is given, and the stores behind them."""

from bot.tools.approval import GuardedTool, Preview
from bot.tools.artifacts import files_of, naming
from bot.tools.context import (
    asking_for,
    for_tools,
    proposal_of,
    turn_of,
)
from bot.tools.errors import ToolFailure
from bot.tools.sql.database import Database, Limits, open_database
from bot.tools.sql.role import RoleCheck, RolePolicy
from bot.tools.sql.write import Orders, open_orders
from bot.tools.toolset import OPEN_TOOLS, toolset

__all__ = [
    "OPEN_TOOLS",
    "Database",
    "GuardedTool",
    "Limits",
    "Orders",
    "Preview",
    "RoleCheck",
    "RolePolicy",
    "ToolFailure",
    "asking_for",
    "files_of",
    "for_tools",
    "naming",
    "open_database",
    "open_orders",
    "proposal_of",
    "toolset",
    "turn_of",
]
