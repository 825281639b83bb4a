"""Cancellation of tasks, and waiting for the first failure of several."""

import asyncio
from collections.abc import Coroutine
from typing import Any

CLEAN_UP_SECONDS = 2.0
"""Seconds that each layer of a turn gives the one below to clean up before it cancels it again."""


async def cancel(*tasks: asyncio.Task[Any], patience: float = 0.5) -> None:
    """Cancel tasks until all have ended: redis-py under Python 3.11 sometimes swallows a cancellation.

    Each task has `patience` seconds to clean up before it is cancelled again. A cancellation of the caller is
    passed on to the tasks, and raised once they have ended: none runs on behind its back.
    """
    pending = {task for task in tasks if not task.done()}
    cancelled: asyncio.CancelledError | None = None
    while pending:
        for task in pending:
            task.cancel()
        try:
            await asyncio.wait(pending, timeout=patience)
        except asyncio.CancelledError as error:
            cancelled = error
        pending = {task for task in pending if not task.done()}
    if cancelled:
        raise cancelled


async def first_failure(*waits: Coroutine[Any, Any, None]) -> None:
    """Run coroutines until the first one ends; raise its error, if any, and cancel the others."""
    tasks = [asyncio.create_task(each) for each in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await cancel(*tasks)
