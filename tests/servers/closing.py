"""End of a server whose clients may have died while they connected."""

import asyncio


async def take_up_connections() -> None:
    """Let the event loop take up the connections that wait.

    One that it takes up while its server closes is neither served nor closed: a `ResourceWarning` follows.
    """
    for _ in range(3):  # it is accepted, its task runs, and its transport is ready
        await asyncio.sleep(0)
