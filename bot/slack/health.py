"""Whether Slack answers us and takes our token, asked no more often than is useful."""

import asyncio
import time
from collections.abc import Mapping
from typing import Literal

from bot.chat import CredentialsRejected, Json, PlatformError
from bot.slack.api import SlackApi

State = Literal["ok", "degraded", "down"]
Finding = tuple[State, Mapping[str, Json]]
"""A state and the evidence for it, as in `bot.chat.Health`."""

FRESH_SECONDS = 60.0
"""How long an answer of Slack counts."""

_TIMEOUT = 2.0


class TokenProbe:
    """Calls `auth.test`, which costs nothing and needs no scope."""

    def __init__(self, api: SlackApi) -> None:
        self._api = api
        self._asking = asyncio.Lock()  # many may want to know at once
        self._known: Finding | None = None
        self._known_at = 0.0

    async def __call__(self) -> Finding:
        """Whether we can call Slack. Never raises, and ends within two seconds.

        Without an answer it is `degraded`: what we hear on sockets does not depend on it.
        """
        try:
            async with asyncio.timeout(_TIMEOUT), self._asking:
                if self._known is None or time.monotonic() - self._known_at > FRESH_SECONDS:
                    self._known = await self._ask()
                    self._known_at = time.monotonic()
                state, evidence = self._known
                return state, {**evidence, "last_probe_s": round(time.monotonic() - self._known_at, 1)}
        except TimeoutError:
            return "degraded", {"error": f"no answer to auth.test in {_TIMEOUT:g} s"}
        except PlatformError as error:
            return "degraded", {"error": f"auth.test: {type(error).__name__}"}

    async def _ask(self) -> Finding:
        began = time.monotonic()
        try:
            await self._api.identify()
        except CredentialsRejected as error:
            return "down", {"error": str(error)}
        return "ok", {"probe_ms": round((time.monotonic() - began) * 1000, 1)}
