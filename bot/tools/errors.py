"""Error that tools raise deliberately."""

from langchain_core.tools import ToolException


class ToolFailure(ToolException):
    """Failure of a tool call; `str()` tells the model why, and what it can do about it.

    The graph turns it into a `ToolMessage` with status "error"; any other exception is a bug.
    """
