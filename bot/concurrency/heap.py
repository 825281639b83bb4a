"""Heap of glibc: one for all threads, and what is free in it goes back to the system."""

import ctypes
import sys

_ARENA_MAX = -8
"""Parameter of mallopt(3)."""


def share() -> None:
    """Let all threads use one arena; by default each has its own, which keeps what its work has freed.

    Has to be called before there are other threads. They wait for each other only where they allocate at the
    same time, and one of them holds the interpreter lock.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_ARENA_MAX, 1)


def trim() -> None:
    """Give free memory back to the system, after work that needs much for a moment; takes less than 1 ms."""
    if sys.platform == "linux" and (malloc_trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        malloc_trim(0)
