"""Functions for child processes."""

import os
import sys
from collections.abc import Mapping

from bot.chat import Json

Answer = tuple[Mapping[str, Json], bytes]


def about_itself() -> Answer:
    """Return the id of the process and the names of its environment variables."""
    print("a library that prints")
    return {"pid": os.getpid(), "variables": sorted(os.environ)}, b"file"


def double(content: bytes) -> Answer:
    return {}, content * 2


def spin() -> Answer:
    while True:
        pass


def end() -> Answer:
    os._exit(1)


def fail() -> Answer:
    raise RuntimeError("out of order")


def fill_memory() -> Answer:
    return {}, bytes(2 << 30)


def write_nonsense() -> Answer:
    """Answer as a library does that a hostile value has taken over."""
    for number in range(3, 10):
        try:
            os.write(number, bytes(7) + b"\x02" + bytes(7) + b"\x00" + b"[]")
        except OSError:
            continue
    sys.exit()
