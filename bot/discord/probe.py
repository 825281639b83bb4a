"""Whether Discord's REST API takes our token, asked so rarely that anybody may ask for our health."""

import asyncio
import time
from dataclasses import replace

from bot.chat import CredentialsRejected, Health, PlatformError
from bot.discord.api import Sender
from bot.discord.events import PLATFORM

KEPT_SECONDS = 60.0
"""How long an answer is told again before Discord is asked anew."""

PROBE_SECONDS = 2.0


class Probe:
    """Asks REST who we are, and remembers the answer."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._asking = asyncio.Lock()
        self._known: Health | None = None
        self._known_at = 0.0

    async def __call__(self) -> Health:
        """`down` when the token is refused, `degraded` when no answer came in `PROBE_SECONDS`.

        `last_probe_s` tells how old that is.
        """
        async with self._asking:
            if self._known is None or time.monotonic() - self._known_at > KEPT_SECONDS:
                self._known = await self._ask()
                self._known_at = time.monotonic()
            age = round(time.monotonic() - self._known_at, 1)
            return replace(self._known, evidence={**self._known.evidence, "last_probe_s": age})

    async def _ask(self) -> Health:
        began = time.monotonic()
        try:
            await self._sender.who_am_i(PROBE_SECONDS)
        except CredentialsRejected as error:
            return Health(name=PLATFORM, state="down", evidence={"rest": str(error)})
        except PlatformError as error:
            return Health(name=PLATFORM, state="degraded", evidence={"rest": str(error)})
        probe_ms = round((time.monotonic() - began) * 1000)
        return Health(name=PLATFORM, state="ok", evidence={"probe_ms": probe_ms})
