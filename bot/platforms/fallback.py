"""Last resort for an answer that cannot be shown in its place: its author is notified in another one."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from bot.chat import Json, PlatformError

log = logging.getLogger(__name__)

Way = tuple[Mapping[str, Json], Callable[[], Awaitable[object]]]
"""A way to notify somebody: fields that name it in the log, and the function that does it."""


async def notify(ways: Iterable[Way]) -> bool:
    """Try one way after another until one works; return whether one did. Never raises `PlatformError`."""
    for fields, send in ways:
        try:
            await send()
        except PlatformError as error:
            log.info("author not notified", extra={**fields, "error": str(error)})
        else:
            log.warning("reply impossible, its author was notified elsewhere", extra=fields)
            return True
    return False
