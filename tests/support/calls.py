"""Function calls of this thread, by the code that is called: a measure that other processes cannot change."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from tests.support.redis_trips import BACKGROUND

_ROOT = Path(__file__).parents[2]


class Calls:
    """Calls of Python functions, and of built-in functions by the Python code that calls them.

    A coroutine or generator counts as called each time it continues. The background is left out.
    """

    def __init__(self) -> None:
        self.of: Counter[CodeType] = Counter()
        self.built_in: Counter[CodeType] = Counter()

    @property
    def total(self) -> int:
        """Return the number of calls of both kinds."""
        return self.of.total() + self.built_in.total()

    @property
    def objects(self) -> int:
        """Return the number of objects whose class initialises them in Python."""
        return sum(count for code, count in self.of.items() if code.co_name == "__init__")

    def by_module(self, most: int = 25) -> list[str]:
        """Return the modules with the most calls, for a person who wants to know what has grown."""
        modules: Counter[str] = Counter()
        for code, count in (*self.of.items(), *self.built_in.items()):
            modules[_module(code)] += count
        return [f"{count:7} {module}" for module, count in modules.most_common(most)]


@contextmanager
def count_calls() -> Iterator[Calls]:
    """Count the calls while the context is open."""
    calls = Calls()
    of, built_in = calls.of, calls.built_in
    outer: FrameType | None = None  # of the background's step that is running

    def profile(frame: FrameType, event: str, _: Any) -> None:
        nonlocal outer
        if outer is not None:
            if event == "return" and frame is outer:
                outer = None
        elif event == "call":
            if frame.f_code.co_qualname in BACKGROUND:
                outer = frame
            else:
                of[frame.f_code] += 1
        elif event == "c_call":
            built_in[frame.f_code] += 1

    sys.setprofile(profile)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def _module(code: CodeType) -> str:
    path = code.co_filename
    for folder in ("site-packages/", "python3.11/", f"{_ROOT}/"):
        _, found, rest = path.rpartition(folder)
        if found:
            return rest
    return path
