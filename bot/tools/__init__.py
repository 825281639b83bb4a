"""Tools of the agent, and the database behind them."""

from bot.tools.artifacts import artifact_of, files_of
from bot.tools.context import (
    proposal_of,
    tool_config,
    turn_of,
    use_asker,
)
from bot.tools.errors import ToolFailure
from bot.tools.questions import ASK_USER
from bot.tools.sql.database import Database, QueryLimits, open_database
from bot.tools.sql.role import RoleCheck, RolePolicy
from bot.tools.sql.write import DatabaseWriter, open_database_writer
from bot.tools.toolset import OPEN_TOOLS, STAY_SILENT, toolset
from bot.tools.waiting import AskingTool, GuardedTool, Preview, WaitingTool

__all__ = [
    "ASK_USER",
    "OPEN_TOOLS",
    "STAY_SILENT",
    "AskingTool",
    "Database",
    "DatabaseWriter",
    "GuardedTool",
    "Preview",
    "QueryLimits",
    "RoleCheck",
    "RolePolicy",
    "ToolFailure",
    "WaitingTool",
    "artifact_of",
    "files_of",
    "open_database",
    "open_database_writer",
    "proposal_of",
    "tool_config",
    "toolset",
    "turn_of",
    "use_asker",
]
