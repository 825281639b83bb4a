"""Health of Slack: whether it answers and accepts the token."""

import asyncio
import time

from bot.chat import CredentialsRejected, PlatformError
from bot.platforms import health
from bot.platforms.health import Finding
from bot.slack.api import SlackApi
from bot.slack.timing import Timing


class TokenProbe(health.TokenProbe):
    """Probe that calls `auth.test`, which costs nothing and needs no scope."""

    def __init__(self, api: SlackApi, timing: Timing) -> None:
        super().__init__(timing.probe_max_age)
        self._api = api
        self._timeout = timing.probe_timeout

    async def __call__(self) -> Finding:
        """Return whether Slack can be called. Never raises, and ends within `Timing.probe_timeout` seconds.

        Without an answer the state is `degraded`: events on sockets do not depend on it.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await super().__call__()
        except TimeoutError:
            return "degraded", {"error": f"no answer to auth.test in {self._timeout:g} s"}
        except PlatformError as error:
            return "degraded", {"error": f"auth.test: {type(error).__name__}"}

    async def _ask(self) -> Finding:
        began = time.monotonic()
        try:
            await self._api.identify()
        except CredentialsRejected as error:
            return "down", {"error": str(error)}
        return "ok", {"probe_ms": round((time.monotonic() - began) * 1000, 1)}
