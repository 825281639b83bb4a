"""Name of the work that a task does, the same on every attempt.

If the event loop hangs, the watchdog attributes that to this work.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_work: ContextVar[str] = ContextVar("work", default="")


@contextmanager
def name_work(name: str) -> Iterator[None]:
    """Set the name of the work of this task and of tasks that it starts: `turn:<id>` or `event:<id>`."""
    token = _work.set(name)
    try:
        yield
    finally:
        _work.reset(token)


def work_at_hand() -> str:
    """Return the name of the current task's work, or an empty string."""
    return _work.get()
