"""Cancellation of tasks that take their time."""

import asyncio

import pytest

from bot.concurrency.tasks import cancel


async def test_a_task_is_cancelled_until_it_ends() -> None:
    """As if a library had swallowed the first cancellation."""
    cancellations = 0

    async def work() -> None:
        nonlocal cancellations
        while cancellations < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancellations += 1

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    await cancel(task, patience=0.01)
    assert task.done()
    assert cancellations == 3


async def test_a_cancelled_cancellation_still_waits_for_the_end() -> None:
    """Fault: a second cancellation left the task behind, which went on beside its successor."""
    may_end = asyncio.Event()
    cancellations: asyncio.Queue[None] = asyncio.Queue()

    async def work() -> None:
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                cancellations.put_nowait(None)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    ending = asyncio.create_task(cancel(task, patience=60))
    await cancellations.get()
    for _ in range(2):
        ending.cancel()
        await cancellations.get()  # it was passed on
    assert not ending.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert task.done()
