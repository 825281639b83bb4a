"""The one error that a tool raises on purpose."""

from langchain_core.tools import ToolException


class ToolFailure(ToolException):
    """A tool could not do what it was asked; `str()` tells the model why and what it can do about it.

    Whoever runs the tool makes it a `ToolMessage` with status "error"; any other exception is a defect.
    """
