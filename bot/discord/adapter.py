"""Registration of Discord. discord.py is imported only when the platform is opened."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from pydantic import Field, PositiveInt, SecretStr

from bot.chat import PlatformInfo, register
from bot.discord.timing import Timing
from bot.platforms.adapter import Adapter, HttpAddress, PlatformSettings, Receiver, Services

INFO = register(
    PlatformInfo(
        name="discord",
        title="Discord",
        location="on Discord",
        has_global_ids=True,
        user_example="80351",
        channel_example="80351",
        channel_ids=re.compile(r"[0-9]+"),
        redaction=re.compile(
            r"(?<=Bot )[\w-]{20,}\.[\w-]+\.[\w-]+"
            # secret addresses: they let anyone answer in the bot's name
            r"|(?<=/interactions/)\d+/[\w.-]+|(?<=/webhooks/)\d+/[\w.-]+"
        ),
    )
)


class DiscordSettings(PlatformSettings):
    """Settings of Discord: token, API address and number of shards."""

    info = INFO
    switch = "discord_token"
    advice = "set DISCORD_TOKEN (docs/discord.md)"

    discord_token: SecretStr | None = Field(None, description="Discord bot token; switches Discord on")
    discord_api_url: HttpAddress | None = Field(
        None,
        description="base of Discord's REST API, default `https://discord.com/api/v10`; when set, the "
        "gateway's address is asked of `GET <base>/gateway/bot`",
    )
    discord_shards: PositiveInt | None = Field(
        None,
        description="shards of Discord's gateway, over all processes together; default what Discord "
        "recommends",
    )


@asynccontextmanager
async def _open(settings: DiscordSettings, services: Services, timing: Timing) -> AsyncIterator[Receiver]:
    from bot.discord.platform import connect  # discord.py alone takes a third of a second

    assert settings.discord_token is not None
    async with connect(
        token=settings.discord_token.get_secret_value(),
        api_url=settings.discord_api_url,
        coordination=services.coordination,
        lookup=services.lookup,
        files=services.files,
        catch_up_hours=services.catch_up_hours,
        shards=settings.discord_shards,
        bots=services.bots,
        timing=timing,
    ) as platform:
        yield platform


def build_adapter(timing: Timing) -> Adapter[DiscordSettings]:
    """Return the registration of Discord with these durations."""
    return Adapter(DiscordSettings, partial(_open, timing=timing))


ADAPTER = build_adapter(Timing())
