"""Event loops that the program can run on, for tests of what differs between them."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

ON_EACH_LOOP = pytest.mark.parametrize("loop", ["uvloop", "asyncio"])


def run_on(loop: str, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work` on a new event loop; skip the test if its package is not installed."""
    try:
        factory = pytest.importorskip(loop).new_event_loop
    except pytest.skip.Exception:
        work.close()
        raise
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)
