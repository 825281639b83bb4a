"""File locks between processes. The kernel releases them with the process, also after kill -9."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

LOOK_EVERY = 0.01
"""Seconds between two attempts at a held lock: a blocking flock would need a thread."""


@asynccontextmanager
async def hold_lock(path: Path, mode: int) -> AsyncIterator[int]:
    """Wait for and hold a lock on `path` (LOCK_SH or LOCK_EX); yield its descriptor, for child processes."""
    descriptor = _open(path)
    try:
        await until(lambda: _try_lock(descriptor, mode))
        yield descriptor
    finally:
        os.close(descriptor)


def is_free(path: Path, mode: int = fcntl.LOCK_SH) -> bool:
    """Return True if the lock is available in this mode; takes it for an instant to find out."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        return _try_lock(descriptor, mode)
    finally:
        os.close(descriptor)


@contextmanager
def take_lock(path: Path, mode: int) -> Iterator[bool]:
    """Hold a lock on `path` if it is free; yield False if it is not."""
    descriptor = _open(path)
    try:
        yield _try_lock(descriptor, mode)
    finally:
        os.close(descriptor)


async def until(holds: Callable[[], bool]) -> None:
    """Poll until `holds` returns True."""
    while True:
        if holds():
            return
        await asyncio.sleep(LOOK_EVERY)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _try_lock(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
