"""Health of Slack: whether it answers, and accepts the token if there is only one."""

import asyncio
import time
from abc import abstractmethod

from bot.chat import CredentialsRejected, PlatformError
from bot.platforms import health
from bot.platforms.health import Finding
from bot.slack.api import Clients, SlackApi
from bot.slack.errors import translate_errors
from bot.slack.timing import Timing


class _Probe(health.TokenProbe):
    """Probe that calls `method`, which costs nothing and needs no scope."""

    method: str

    def __init__(self, timing: Timing) -> None:
        super().__init__(timing.probe_max_age)
        self._timeout = timing.probe_timeout

    async def __call__(self) -> Finding:
        """Return whether Slack can be called. Never raises, and ends within `Timing.probe_timeout` seconds.

        Without an answer the state is `degraded`: events on sockets do not depend on it.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await super().__call__()
        except TimeoutError:
            return "degraded", {"error": f"no answer to {self.method} in {self._timeout:g} s"}
        except PlatformError as error:
            return "degraded", {"error": f"{self.method}: {type(error).__name__}"}

    async def _ask(self) -> Finding:
        began = time.monotonic()
        try:
            await self._call()
        except CredentialsRejected as error:
            return "down", {"error": str(error)}
        return "ok", {"probe_ms": round((time.monotonic() - began) * 1000, 1)}

    @abstractmethod
    async def _call(self) -> None:
        """Call the method. Raises `PlatformError`."""


class TokenProbe(_Probe):
    """Probe of the only token."""

    method = "auth.test"

    def __init__(self, api: SlackApi, timing: Timing) -> None:
        super().__init__(timing)
        self._api = api

    async def _call(self) -> None:
        await self._api.identify()


class ServiceProbe(_Probe):
    """Probe of Slack without a token: with many workspaces none stands for the others."""

    method = "api.test"

    def __init__(self, clients: Clients, timing: Timing) -> None:
        super().__init__(timing)
        self._clients = clients

    async def _call(self) -> None:
        with translate_errors(self.method, "no token"):
            await self._clients.reader.api_call(self.method)
