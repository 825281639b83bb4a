"""Ending tasks, and waiting for the first of several."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def cancel(*tasks: asyncio.Task[Any], patience: float = 0.5) -> None:
    """Cancel until all have ended: redis-py under Python 3.11 swallows a cancellation now and then.

    Each task has `patience` seconds for its cleaning up before it is cancelled once more.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=patience)


async def first_failure(*waits: Coroutine[Any, Any, None]) -> None:
    """Wait for several things at once; raises what the first of them raises."""
    tasks = [asyncio.create_task(each) for each in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await cancel(*tasks)
