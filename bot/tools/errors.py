"""Error that tools raise deliberately. Child processes import it, so it has no base class of LangChain."""


class ToolFailure(Exception):
    """Failure of a tool call; `str()` tells the model why, and what it can do about it.

    Like the `ToolException` of a plug-in it becomes a `ToolMessage` with status "error"; any other is a bug.
    """
