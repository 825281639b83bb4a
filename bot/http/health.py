"""Routes `/health`, `/livez` and `/readyz` for monitoring."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence

from aiohttp import web

from bot.chat import Health, Json
from bot.commands.commands import Commands
from bot.http import texts
from bot.http.callers import CALLER, is_administrator
from bot.http.errors import not_now

CRITICAL = frozenset({"redis"})
"""Parts without which no message can be accepted."""


class Probes:
    """Health routes; `receiving` returns True while chat messages are accepted.

    `/readyz` reuses a result for `max_age`.
    """

    def __init__(self, commands: Commands, is_receiving: Callable[[], bool], max_age: float) -> None:
        self._commands = commands
        self._is_receiving = is_receiving
        self._max_age = max_age
        self._health: Sequence[Health] = ()
        self._checked_at = -math.inf
        self._examination = asyncio.Lock()

    async def health(self, request: web.Request) -> web.Response:
        """Return each part's state, for administrators with evidence; 503 with an error if one is down."""
        parts = await self._commands.check_health()
        states = {part.state for part in parts}
        sees_evidence = is_administrator(request[CALLER], self._commands)
        body: dict[str, Json] = {"agent_status": _describe(parts, with_evidence=sees_evidence)}
        if "down" in states:
            error = texts.parts_down(part.name for part in parts if part.state == "down")
            return web.json_response({"status": "unhealthy", "error": error, **body}, status=503)
        return web.json_response({"status": "degraded" if "degraded" in states else "healthy", **body})

    async def live(self, request: web.Request) -> web.Response:
        """Return 200: the event loop runs. A process that fails this must be restarted."""
        return web.json_response({"status": "alive"})

    async def ready(self, request: web.Request) -> web.Response:
        """Return 200 if a message sent now would be accepted; 503 with the reasons otherwise."""
        parts = await self._recent_health()
        down = [part.name for part in parts if part.name in CRITICAL and part.state == "down"]
        is_receiving = self._is_receiving()
        if down or not is_receiving:
            raise not_now(texts.not_ready(down, is_receiving=is_receiving))
        return web.json_response({"status": "ready"})

    async def _recent_health(self) -> Sequence[Health]:
        """Examine the parts, unless the last result may be reused."""
        async with self._examination:
            if time.monotonic() - self._checked_at >= self._max_age:
                self._health = await self._commands.check_health()
                self._checked_at = time.monotonic()
        return self._health


def _describe(parts: Sequence[Health], *, with_evidence: bool) -> dict[str, Json]:
    return {part.name: {"state": part.state, **(part.evidence if with_evidence else {})} for part in parts}
