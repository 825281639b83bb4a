"""State of a program's event loop, recorded in files for whoever watches it from outside."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import quantiles

LAG_FILE = "LAG_FILE"
TASKS_FILE = "TASKS_FILE"
"""Variables that name the files."""

SLEEP = 0.01
WRITE_EVERY = 100
"""Samples between two writes, so that the file costs nothing."""


TASKS_EVERY = 1.0
"""Seconds between two counts of the tasks."""


@asynccontextmanager
async def record_lag() -> AsyncIterator[None]:
    """Append `time.monotonic()` and the lag to the file that `LAG_FILE` names, if it is set.

    The lag is the time by which a sleep of 10 ms ends too late.
    """
    async with _record(LAG_FILE, _append_lag):
        yield


@asynccontextmanager
async def record_tasks() -> AsyncIterator[None]:
    """Keep the number of asyncio tasks in the file that `TASKS_FILE` names, if it is set."""
    async with _record(TASKS_FILE, _count_tasks):
        yield


@asynccontextmanager
async def _record(variable: str, write: Callable[[Path], Awaitable[None]]) -> AsyncIterator[None]:
    path = os.environ.get(variable)
    recorder = asyncio.ensure_future(write(Path(path))) if path else None
    try:
        yield
    finally:
        if recorder:
            recorder.cancel()


async def _count_tasks(path: Path) -> None:
    while True:
        path.write_text(str(len(asyncio.all_tasks())))  # noqa: ASYNC240 - a few bytes
        await asyncio.sleep(TASKS_EVERY)


async def _append_lag(path: Path) -> None:
    with path.open("a", buffering=1 << 16) as file:
        while True:
            for _ in range(WRITE_EVERY):
                began = time.monotonic()
                await asyncio.sleep(SLEEP)
                ended = time.monotonic()
                file.write(f"{ended:.6f} {ended - began - SLEEP:.6f}\n")
            file.flush()


def p99_lag(path: Path, began: float, ended: float) -> float | None:
    """Return the 99th percentile of the seconds recorded between two times, or None without records."""
    lines = path.read_text().splitlines() if path.exists() else []
    pairs = [tuple(map(float, line.split())) for line in lines]
    lags = [lag for at, lag in pairs if began <= at <= ended]
    return quantiles(lags, n=100)[98] if len(lags) > 1 else None
