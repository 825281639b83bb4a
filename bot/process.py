"""Who this process is among those that share a Redis."""

import fcntl
import hashlib
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path


@contextmanager
def process_name(given: str, data_dir: Path) -> Iterator[str]:
    """BOT_NAME, or a name that is the same whenever this machine starts on this data directory.

    By its name a process takes its own unfinished work back after a restart, so no two that run may have the
    same one: the name holds the first number whose lock in `data_dir` is free. The kernel frees a lock with
    its process, also under kill -9.
    """
    if given:
        yield given
        return
    place = f"{socket.gethostname()}:{data_dir.resolve()}"
    digest = hashlib.sha256(os.fsencode(place)).hexdigest()[:8]  # `/a/b` and `/a-b` are two places
    data_dir.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        with (data_dir / f"process-{number}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield re.sub(r"[^A-Za-z0-9_-]+", "-", f"{place}-{digest}-{number}")
            return
