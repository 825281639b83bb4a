"""Name of this process among those that share a Redis server."""

import fcntl
import hashlib
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TextIO

from bot.chat import CredentialsRejected


@contextmanager
def process_name(name: str, data_dir: Path) -> Iterator[str]:
    """Yield BOT_NAME, or a name that is stable for this machine and data directory.

    A restarted process takes back unfinished work by its name, so running processes need different names:
    each locks the first free number in `data_dir`; the kernel releases the lock even after kill -9. Raises
    `CredentialsRejected` if `data_dir` is not writable.
    """
    if name:
        yield name
        return
    place = f"{socket.gethostname()}:{data_dir.resolve()}"
    digest = hashlib.sha256(os.fsencode(place)).hexdigest()[:8]  # `/a/b` and `/a-b` are different
    for number in count(1):
        with _open(data_dir, f"process-{number}.lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield re.sub(r"[^A-Za-z0-9_-]+", "-", f"{place}-{digest}-{number}")
            return


def _open(data_dir: Path, name: str) -> TextIO:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        return (data_dir / name).open("w")
    except OSError as error:
        raise CredentialsRejected(
            f"DATA_DIR={data_dir} is not writable ({error.strerror}): set another directory, or BOT_NAME"
        ) from error
