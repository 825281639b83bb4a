"""Program of a pool's child process: calls come on standard input, answers go to standard output.

A call is a pickle of the function and its arguments, an answer a JSON object and bytes; each has its length
before it. The pool never unpickles: a library that a hostile value has taken over must not reach the bot.
"""

import contextlib
import json
import os
import pickle
import struct
import sys
import traceback
from typing import BinaryIO

HEADER = struct.Struct("!Q")
"""Length of what follows."""

ERROR = "error"
"""Only key of the answer to a call that failed."""

_MEMORY_BYTES = 1 << 30
_NICE = 5
"""Lower priority than the bot's: its event loop gets the processor first."""


def serve() -> None:
    """Answer calls until the input ends."""
    _limit()
    # a library that prints does not write into an answer
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    calls = sys.stdin.buffer
    while header := calls.read(HEADER.size):
        _answer(calls.read(HEADER.unpack(header)[0]), output)


def _answer(call: bytes, output: BinaryIO) -> None:
    try:
        function, args, kwargs = pickle.loads(call)  # noqa: S301 - the bot wrote it
        told, content = function(*args, **kwargs)
        head = json.dumps(told).encode()
    except Exception:  # noqa: BLE001 - any function may run here; the bot gets its error, and logs it
        head, content = json.dumps({ERROR: traceback.format_exc()}).encode(), b""
    output.writelines((HEADER.pack(len(head)), HEADER.pack(len(content)), head, content))
    output.flush()


def _limit() -> None:
    """Bound the memory and lower the priority, where the system can."""
    if hasattr(os, "nice"):
        os.nice(_NICE)
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
