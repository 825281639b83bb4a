"""Entry point of a bot that will be killed, in a fork of an interpreter that has imported it."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from bot import main
from bot.discord import identify
from bot.platforms import supervise
from tests.support import hanging_bot


def run(environ: Mapping[str, str], log: str, is_faulty: bool, is_hasty: bool) -> None:
    """Run `python -m bot` with only these variables, and append its output to the file `log`."""
    _check_parent()
    os.environ.clear()
    os.environ.update(environ)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(output, sys.stdout.fileno())
    os.dup2(output, sys.stderr.fileno())
    if is_faulty:
        hanging_bot.install()
    if is_hasty:
        supervise.CATCH_UP_SECONDS = 0.2
        identify.IDENTIFY_SECONDS, identify.LOOK_SECONDS = 0.15, 0.02
    sys.exit(main.main([]))


def _check_parent() -> None:
    """Check that there is only one thread: others would not survive the fork, but their locks would."""
    threads = Path(f"/proc/{os.getppid()}/task")
    assert not threads.exists() or len(list(threads.iterdir())) == 1, "the imports have started a thread"
