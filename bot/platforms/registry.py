"""The chat services that are switched on, and how to find the one that a message belongs to."""

import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack

from bot import http
from bot.chat import (
    Audience,
    Fetch,
    Files,
    InboxLookup,
    Message,
    Platform,
    Shared,
    Thread,
    ThreadId,
    Unreachable,
)
from bot.commands.commands import Commands
from bot.commands.redis import Operations
from bot.config import Settings, secret_value

log = logging.getLogger(__name__)


class Platforms(list[Platform]):
    """The platforms that have been opened; others may hold it before there is any."""

    def of(self, name: str) -> Platform:
        """The platform of that name. Raises `Unreachable` where it is switched off."""
        for platform in self:
            if platform.name == name:
                return platform
        raise Unreachable(f"{name} is switched off in this process")

    def thread(self, id: ThreadId) -> Thread:
        """The place to answer. Raises `Unreachable`."""
        return self.of(id.platform).thread(id)

    def fetch(self, message: Message) -> Fetch:
        """How to get the files of a message. Raises `Unreachable`."""
        return self.of(message.thread.platform).fetch

    async def audience(self, message: Message) -> Audience:
        """Who reads the place of a message; where its platform is switched off nothing is known."""
        try:
            return await self.of(message.thread.platform).audience(message)
        except Unreachable:
            return "outsiders"


async def open_platforms(
    stack: AsyncExitStack,
    settings: Settings,
    commands: Commands,
    operations: Operations,
    shared: Shared,
    lookup: InboxLookup,
    files: Files,
) -> Sequence[Platform]:
    """The platforms that have tokens: a worker answers on all of them, whatever this process listens to.

    HTTP comes last: it carries the others' webhooks.
    """
    platforms: list[Platform] = []
    mounts: dict[str, http.Handler] = {}
    # imported where they are needed: discord.py alone takes a third of a second
    if settings.slack_bot_token and settings.bot_roles & {"slack", "worker"}:
        from bot import slack

        workspace = await stack.enter_async_context(
            slack.connect(
                bot_token=settings.slack_bot_token.get_secret_value(),
                app_token=secret_value(settings.slack_app_token),
                signing_secret=secret_value(settings.slack_signing_secret),
                api_url=settings.slack_api_url,
                commands=commands,
                shared=shared,
                lookup=lookup,
                files=files,
                catch_up_hours=settings.catch_up_hours,
                bots=settings.allowed_bots,
            )
        )
        platforms.append(workspace)
        if workspace.endpoint:
            mounts["/slack/events"] = workspace.endpoint
    if settings.discord_token and settings.bot_roles & {"discord", "worker"}:
        from bot import discord

        token = settings.discord_token.get_secret_value()
        platforms.append(
            await stack.enter_async_context(
                discord.connect(
                    token=token,
                    api_url=settings.discord_api_url,
                    commands=commands,
                    shared=shared,
                    lookup=lookup,
                    files=files,
                    catch_up_hours=settings.catch_up_hours,
                    shards=settings.discord_shards,
                    bots=settings.allowed_bots,
                )
            )
        )
    if "http" in settings.bot_roles:
        server = await stack.enter_async_context(
            http.connect(
                host=settings.http_host,
                port=settings.http_port,
                api_token=secret_value(settings.api_token),
                commands=commands,
                operations=operations,
                lookup=lookup,
                files=files,
                mounts=mounts,
            )
        )
        platforms.append(server)
        log.info("listening", extra={"page": local_address(settings.http_host, server.port)})
    else:
        platforms.append(http.AbsentHttp(files))
    return platforms


def local_address(host: str, port: int) -> str:
    """Return the address by which a browser on this machine reaches a server that listens on `host`."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not bound
    return f"http://[{reached}]:{port}/" if ":" in reached else f"http://{reached}:{port}/"
