"""Ways to hang an event loop."""

import itertools
import re
import socket
from collections.abc import Callable


def backtrack() -> None:
    """Compute in a regular expression, which keeps the interpreter lock."""
    re.match(r"(a+)+$", "a" * 60 + "b")


def compute() -> None:
    """Compute in Python, where other threads run."""
    while True:
        pass


def block() -> None:
    """Wait in a system call, which takes no CPU time."""
    one, _other = socket.socketpair()
    one.recv(1)


def keep() -> None:
    """Compute in C code that neither gives up the lock nor handles a signal."""
    sum(itertools.repeat(0))


HANGS: dict[str, Callable[[], None]] = {each.__name__: each for each in (backtrack, compute, block, keep)}
