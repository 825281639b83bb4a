"""Processes forked from one interpreter that has the bot imported: a start costs no seconds of imports.

That is safe because the imports start neither a thread (each fork checks that) nor an event loop.
"""

import gc
import multiprocessing
import os
import sys
from collections.abc import Mapping
from pathlib import Path

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        *(
            "bot.main",
            "bot.composition",
            "bot.slack",
            "bot.discord",
            "bot.agent.models.openai_service",
            "tests.crash.child",
            "tests.support.bot",
        ),
        # imported by libraries when they are first used: a third of a start
        *("anyio.abc", "httpcore2", "langchain_core.tracers.context", "openai.resources.chat.completions"),
        "redis.commands.json",
    ]
)


def become(environ: Mapping[str, str], output: int) -> None:
    """Take this environment, and write to this file."""
    _check_parent()
    gc.freeze()  # the imports are no garbage: each collection would visit them, and so copy their pages
    os.environ.clear()
    os.environ.update(environ)
    os.dup2(output, sys.stdout.fileno())
    os.dup2(output, sys.stderr.fileno())


def _check_parent() -> None:
    """Raise `AssertionError` when the imports have started a thread: a fork has only the one that forks."""
    threads = Path(f"/proc/{os.getppid()}/task")
    assert not threads.exists() or len(list(threads.iterdir())) == 1, "the imports have started a thread"
