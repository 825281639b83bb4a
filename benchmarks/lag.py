"""Lag of an event loop: the time by which a sleep of 10 ms ends too late."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import quantiles

VARIABLE = "LAG_FILE"
SLEEP = 0.01
WRITE_EVERY = 100
"""Samples between two writes, so that the file costs nothing."""


@asynccontextmanager
async def record_lag() -> AsyncIterator[None]:
    """Append `time.monotonic()` and the lag to the file named by `LAG_FILE`, if there is one."""
    path = os.environ.get(VARIABLE)
    recorder = asyncio.create_task(_record(Path(path))) if path else None
    try:
        yield
    finally:
        if recorder:
            recorder.cancel()


async def _record(path: Path) -> None:
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
