"""Wait for a condition, never for a time."""

import asyncio
from collections.abc import Awaitable, Callable


async def wait_until(
    predicate: Callable[[], bool | Awaitable[bool]], description: str, timeout: float = 30
) -> None:
    """Return once `predicate` holds; fail with `description` after `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            while True:
                holds = predicate()
                if holds if isinstance(holds, bool) else await holds:
                    return
                await asyncio.sleep(0.01)  # polling interval, not the time to wait
    except TimeoutError:
        raise AssertionError(f"not within {timeout} s: {description}") from None
