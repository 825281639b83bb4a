"""`/health`, `/livez` and `/readyz`: what monitors ask."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from bot.chat import Health, Json
from bot.commands import Commands
from bot.http.errors import not_now

CRITICAL = frozenset({"redis"})
"""Parts without which no message can be taken."""


@dataclass(frozen=True, slots=True)
class Probes:
    """Answers monitors; `receiving` tells whether chat messages are taken."""

    commands: Commands
    receiving: Callable[[], bool]

    async def health(self, request: web.Request) -> web.Response:
        """Each part's state and evidence; 503 when one is down."""
        parts = await self.commands.examine()
        down = any(part.state == "down" for part in parts)
        body = {"status": "unhealthy" if down else "healthy", "agent_status": _describe(parts)}
        return web.json_response(body, status=503 if down else 200)

    async def live(self, request: web.Request) -> web.Response:
        """That the event loop runs is all this tells: a process that fails it is beyond help."""
        return web.json_response({"status": "alive"})

    async def ready(self, request: web.Request) -> web.Response:
        """Whether a message sent now would be taken; 503 says why not."""
        parts = await self.commands.examine()
        reasons = [f"{part.name} is down" for part in parts if part.name in CRITICAL and part.state == "down"]
        if not self.receiving():
            reasons.insert(0, "messages are not taken")
        if reasons:
            raise not_now(f"Not ready: {', '.join(reasons)}.")
        return web.json_response({"status": "ready"})


def _describe(parts: Sequence[Health]) -> dict[str, Json]:
    return {part.name: {"state": part.state, **part.evidence} for part in parts}
