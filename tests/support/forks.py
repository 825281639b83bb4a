"""Processes forked from one interpreter that has the bot imported: a start costs no seconds of imports."""

import multiprocessing
import os
import sys
from collections.abc import Mapping
from pathlib import Path

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.support.preload"])


def become(environ: Mapping[str, str], output: int) -> None:
    """Take this environment, and write to this file."""
    _check_parent()
    os.environ.clear()
    os.environ.update(environ)
    os.dup2(output, sys.stdout.fileno())
    os.dup2(output, sys.stderr.fileno())


def _check_parent() -> None:
    """Raise `AssertionError` when the imports have started a thread: a fork has only the one that forks."""
    threads = Path(f"/proc/{os.getppid()}/task")
    assert not threads.exists() or len(list(threads.iterdir())) == 1, "the imports have started a thread"
