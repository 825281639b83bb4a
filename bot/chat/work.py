"""The work that a task does, by a name that is the same when it is tried again.

When the event loop hangs, the watchdog puts it down to this work.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_work: ContextVar[str] = ContextVar("work", default="")


@contextmanager
def working_on(name: str) -> Iterator[None]:
    """Name the work of this task, and of those that it starts: `turn:<id>` or `event:<id>`."""
    token = _work.set(name)
    try:
        yield
    finally:
        _work.reset(token)


def work_at_hand() -> str:
    """Return the name of the current task's work, empty when it has none."""
    return _work.get()
