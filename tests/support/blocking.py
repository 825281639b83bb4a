"""Detector of calls that block the event loop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from blockbuster import blockbuster_ctx


@asynccontextmanager
async def detect_blocking() -> AsyncIterator[None]:
    """Let each call of the bot that blocks the event loop raise `BlockingError`.

    Allowed are a line of the log, asyncpg's look for password and key files at a new connection, and the
    start of another bot or of an embedded server that has died, without which nobody gets an answer.
    """
    with blockbuster_ctx("bot") as detector:
        for each in detector.functions.values():
            each.can_block_in("bot/composition/parts.py", {"open_bot"})
            each.can_block_in("tests/support/bot.py", {"run_bot"})
            each.can_block_in("bot/storage/embedded/server.py", {"_watch"})
        for name in ("io.TextIOWrapper.write", "io.BufferedWriter.write"):
            detector.functions[name].can_block_in("logging/__init__.py", {"emit"})
        detector.functions["os.stat"].can_block_in(
            "asyncpg/connect_utils.py", {"_parse_connect_dsn_and_args"}
        )
        yield
