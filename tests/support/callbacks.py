"""Longest callback of the event loop, in CPU time of its thread, which other processes do not change."""

import asyncio
import time
from asyncio import events
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest


@dataclass(slots=True)
class LongestCallback:
    """Seconds of CPU time of the longest callback so far."""

    seconds: float = 0.0


@contextmanager
def longest_callback() -> Iterator[LongestCallback]:
    """Watch the callbacks of all event loops of Python's own, among them each step of a task."""
    if not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
        pytest.skip("callbacks of uvloop cannot be watched")
    longest = LongestCallback()
    run = events.Handle._run

    def run_watched(handle: events.Handle) -> None:
        began = time.thread_time()
        run(handle)
        longest.seconds = max(longest.seconds, time.thread_time() - began)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events.Handle, "_run", run_watched)
        yield longest
