"""Composition root: opens all parts, runs them on one event loop, closes them in order.

The shutdown order, defined only here:

1. the platforms stop receiving (events that they have not acknowledged arrive again later);
2. running turns finish within SHUTDOWN_GRACE, the others go back to the inbox;
3. the HTTP server closes, then the agent, the platforms and the pools, then the embedded servers.
"""

from bot.composition.parts import open_bot
from bot.composition.program import export_feedback, operate, serve

__all__ = ["export_feedback", "open_bot", "operate", "serve"]
