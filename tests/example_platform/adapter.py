"""The line protocol as the bot registers it: facts, settings, and how it is opened."""

from collections.abc import AsyncIterator, Set
from contextlib import asynccontextmanager

from pydantic import Field

from bot.chat import PlatformInfo, register
from bot.platforms.adapter import Adapter, PlatformSettings, Receiver, Services

INFO = register(
    PlatformInfo(
        name="lines",
        title="Lines",
        location="over lines",
        has_global_ids=True,
        user_example="ada",
    )
)


class LinesSettings(PlatformSettings):
    """The port of the line protocol."""

    info = INFO
    switch = "lines_port"
    advice = "set LINES_PORT"

    lines_port: int | None = Field(
        None, ge=0, le=65535, description="port of the line protocol on loopback, 0 takes a free one"
    )

    def problems(self, roles: Set[str]) -> list[str]:
        """Return what is wrong with the roles of this process."""
        if self.is_configured and len(roles & {"lines", "worker"}) == 1:
            return ["BOT_ROLES: use lines and worker together: an answer leaves by its question's connection"]
        return []


@asynccontextmanager
async def _open(settings: LinesSettings, services: Services) -> AsyncIterator[Receiver]:
    from tests.example_platform.platform import connect

    assert settings.lines_port is not None
    async with connect(settings.lines_port) as platform:
        yield platform


ADAPTER = Adapter(LinesSettings, _open)
