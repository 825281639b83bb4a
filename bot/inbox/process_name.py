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
from typing import TextIO

from bot.chat import CredentialsRejected


@contextmanager
def process_name(given: str, data_dir: Path) -> Iterator[str]:
    """BOT_NAME, or a name that is the same whenever this machine starts on this data directory.

    By its name a process takes its own unfinished work back after a restart, so no two that run may have the
    same one: the name holds the first number whose lock in `data_dir` is free. The kernel frees a lock with
    its process, also under kill -9. Raises `CredentialsRejected` when `data_dir` cannot be written to.
    """
    if given:
        yield given
        return
    place = f"{socket.gethostname()}:{data_dir.resolve()}"
    digest = hashlib.sha256(os.fsencode(place)).hexdigest()[:8]  # `/a/b` and `/a-b` are two places
    for number in count(1):
        with _opened(data_dir, f"process-{number}.lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield re.sub(r"[^A-Za-z0-9_-]+", "-", f"{place}-{digest}-{number}")
            return


def _opened(data_dir: Path, name: str) -> TextIO:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        return (data_dir / name).open("w")
    except OSError as error:
        raise CredentialsRejected(
            f"DATA_DIR={data_dir} cannot be written to ({error.strerror}): set another one, or BOT_NAME"
        ) from error
