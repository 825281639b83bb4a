"""Supervision of platforms: a lost connection is opened again, with back-off, while others continue."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from bot.chat import CredentialsRejected, Deliver, PlatformError, StorageDown
from bot.platforms.receiver import Receiver

if TYPE_CHECKING:  # as in bot.platforms.receiver
    from bot.commands.commands import Commands

log = logging.getLogger(__name__)

FIRST_MINUTE = 60.0
"""Seconds in which refused credentials mean a wrong setting; later they mean a token that was revoked."""

FIRST_DELAY = 1.0
"""Seconds until the first attempt to connect again; each further pause is twice as long."""

_LONGEST_DELAY = 60.0

CATCH_UP_SECONDS = 10.0
"""Seconds between two checks for missed messages."""


async def supervise(
    platform: Receiver, deliver: Deliver, commands: "Commands", *, first_delay: float = FIRST_DELAY
) -> None:
    """Receive until cancelled. Raises `CredentialsRejected` only in the first minute."""
    await persevere(
        platform.name,
        lambda: platform.receive(deliver, commands),
        strict_seconds=FIRST_MINUTE,
        first_delay=first_delay,
    )


async def persevere(
    name: str,
    receive: Callable[[], Awaitable[None]],
    *,
    strict_seconds: float = math.inf,
    first_delay: float = FIRST_DELAY,
) -> None:
    """Call `receive` again whenever it ends, with back-off, until cancelled.

    Raises `CredentialsRejected` in the first `strict_seconds`.
    """
    delay = first_delay
    started = time.monotonic()
    while True:
        began = time.monotonic()
        try:
            await receive()
            log.warning("platform stopped receiving", extra={"platform": name})
        except CredentialsRejected as error:
            if time.monotonic() - started < strict_seconds:
                raise
            log.warning("credentials refused", extra={"platform": name, "error": str(error)})
        except (PlatformError, StorageDown) as error:
            log.warning(
                "platform disconnected", extra={"platform": name, "error": str(error), "retry_s": delay}
            )
        except Exception:  # a bug is logged with its trace; the platform reconnects while the others serve
            log.exception("platform failed", extra={"platform": name, "retry_s": delay})
        if time.monotonic() - began > FIRST_MINUTE:
            delay = first_delay
        await asyncio.sleep(delay)
        delay = min(2 * delay, _LONGEST_DELAY)


async def keep_up(platform: Receiver, deliver: Deliver, *, seconds: float = CATCH_UP_SECONDS) -> None:
    """Catch up with missed messages until cancelled; pause for `seconds` between two checks."""
    while True:
        try:
            await platform.catch_up(deliver)
        except Exception as error:  # noqa: BLE001 - after any error live messages continue, and it is tried again
            log.warning("catch-up not finished", extra={"platform": platform.name, "error": repr(error)})
        await asyncio.sleep(seconds)
