"""Tools of the agent, and the database behind them.

Nothing is imported here, because child processes need single modules of it.
"""

import importlib

_OF_PLUGINS = {"GuardedTool": "waiting", "Preview": "waiting", "ToolFailure": "errors"}
"""Names that plug-ins import from here (docs/plugins.md), and their modules."""


def __getattr__(name: str) -> object:
    """Import a name of a plug-in on demand. Raises `AttributeError` for any other."""
    if name not in _OF_PLUGINS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_OF_PLUGINS[name]}"), name)
