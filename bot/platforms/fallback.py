"""Last resort for an answer that cannot be shown: the author of the question is notified elsewhere."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from bot.chat import Json, PlatformError

log = logging.getLogger(__name__)

Way = tuple[Mapping[str, Json], Callable[[], Awaitable[object]]]
"""One way to notify a user: fields for the log, and the function that sends the message."""


async def notify(ways: Iterable[Way]) -> bool:
    """Try one way after another until one works; return whether one did. Never raises `PlatformError`."""
    for fields, send in ways:
        try:
            await send()
        except PlatformError as error:
            log.info("author not notified", extra={**fields, "error": str(error)})
        else:
            log.warning("author notified elsewhere", extra=fields)
            return True
    return False
