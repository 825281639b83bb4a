"""Discord as a `Platform` of chat.py."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot.chat import Deliver, Health, Json, Shared, ThreadId
from bot.commands import Commands
from bot.discord import events
from bot.discord.gateway import Listener
from bot.discord.holder import Holder
from bot.discord.line import Line
from bot.discord.pace import Pace
from bot.discord.probe import Probe
from bot.discord.reply import DiscordThread
from bot.discord.sender import Sender
from bot.gap import Gap
from bot.tasks import first_failure


@asynccontextmanager
async def connect(
    *,
    token: str,
    api_url: str | None,
    commands: Commands,
    shared: Shared,
    catch_up_hours: float,
) -> AsyncIterator["Discord"]:
    """Open Discord; makes no request yet. `api_url` replaces the REST base, and by that the gateway too.

    discord.py keeps both addresses in its classes, so a process can have one Discord at a time.
    """
    with _addressed(api_url):
        async with Sender(token) as sender:
            gap = Gap(shared, catch_up_hours)
            yield Discord(token, commands, sender, shared, gap, ask_gateway=api_url is not None)


@contextmanager
def _addressed(api_url: str | None) -> Iterator[None]:
    base, gateway = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    if api_url is not None:
        Route.BASE = api_url.rstrip("/")
    try:
        yield
    finally:
        Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = base, gateway


class Discord:
    """Two clients: one sends for as long as this is open, one listens and is made anew in each `receive`."""

    name: Final = events.PLATFORM

    def __init__(
        self, token: str, commands: Commands, sender: Sender, shared: Shared, gap: Gap, *, ask_gateway: bool
    ) -> None:
        self._token = token
        self._commands = commands
        self._sender = sender
        self._shared = shared
        self._holder = Holder(shared)
        self._gap = gap
        self._ask_gateway = ask_gateway
        self._pace = Pace()
        self._line = Line()
        self._probe = Probe(sender)
        self._listener: Listener | None = None

    async def receive(self, deliver: Deliver) -> None:
        """See `bot.chat.Platform`."""
        listener = Listener(
            deliver, self._commands, self._line, self._shared, self._gap, ask_gateway=self._ask_gateway
        )
        self._listener = listener
        try:
            async with self._holder.holding(), listener:
                await first_failure(listener.listen(self._token), self._gap.deaf(), self._holder.keep())
        finally:
            self._listener = None
            self._gap.lost()

    async def catch_up(self, deliver: Deliver) -> None:
        """See `bot.chat.Platform`."""
        await self._gap.close(deliver)

    def thread(self, id: ThreadId) -> DiscordThread:
        """See `bot.chat.Platform`."""
        return DiscordThread(id, self._sender, self._pace)

    async def health(self) -> Health:
        """See `bot.chat.Platform`."""
        rest = await self._probe()
        if self._holder.standing_by:
            return Health(name=self.name, state=rest.state, evidence={"standing_by": True, **rest.evidence})
        session = _session(self._listener) if self._listener else {}
        return Health(
            name=self.name,
            state=max(self._line.state(), rest.state, key=("ok", "degraded", "down").index),
            evidence={**self._line.evidence(), **session, **rest.evidence},
        )


def _session(listener: Listener) -> dict[str, Json]:
    evidence: dict[str, Json] = {"guilds": len(listener.guilds), "user": str(listener.user)}
    if 0 <= listener.latency < float("inf"):  # else there was no heartbeat yet
        evidence["latency_ms"] = round(listener.latency * 1000)
    return evidence
