"""What a test may see of the requests that reach a server."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext

Steps = Callable[[str], AbstractAsyncContextManager[None]]
"""Gives for the name of a step a context that is entered before the step is taken, and left when it is taken
and the client was not told yet. What it raises is raised to whoever serves the request."""


def unobserved(_: str) -> AbstractAsyncContextManager[None]:
    """Nobody looks."""
    return nullcontext()
