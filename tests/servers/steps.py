"""Observation of the requests that reach a server."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext

Steps = Callable[[str], AbstractAsyncContextManager[None]]
"""Returns for the name of a step a context that is entered before the step is taken, and left before the
client receives the response. Its errors are raised in the handler of the request."""


def unobserved(_: str) -> AbstractAsyncContextManager[None]:
    """Return a context that observes nothing."""
    return nullcontext()
