"""Application commands: `/agent-health` and `/agent-stop`."""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import discord
from discord import app_commands

from bot.chat import Json, PlatformError, Stop, ThreadId
from bot.commands import Commands
from bot.discord.errors import translated
from bot.discord.events import DIRECT, PLATFORM
from bot.discord.handlers import Handlers
from bot.discord.markdown import split
from bot.discord.memory_commands import memory_group

log = logging.getLogger(__name__)


class Tree(app_commands.CommandTree[discord.Client]):
    """Our commands, for guilds, direct messages and people who installed the bot for themselves."""

    def __init__(self, client: discord.Client, commands: Commands, handlers: Handlers) -> None:
        super().__init__(
            client,
            allowed_contexts=app_commands.AppCommandContext(
                guild=True, dm_channel=True, private_channel=True
            ),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=True),
        )
        self._handlers = handlers
        self.add_command(_health(commands))
        self.add_command(_stop(commands))
        if commands.memory:
            self.add_command(memory_group(commands.memory))

    async def interaction_check(self, interaction: discord.Interaction[discord.Client], /) -> bool:
        """Called first in each interaction's task."""
        self._handlers.join()
        return True

    async def on_error(
        self, interaction: discord.Interaction[discord.Client], error: app_commands.AppCommandError, /
    ) -> None:
        """Answer with a sentence; the log has the error under the same reference."""
        log.error("command failed", extra={"reference": interaction.id}, exc_info=error)
        sentence = f"That did not work. The log says why, under the reference {interaction.id}."
        try:
            if interaction.response.is_done():
                await interaction.followup.send(sentence, ephemeral=True)
            else:
                await interaction.response.send_message(sentence, ephemeral=True)
        except discord.HTTPException as refusal:
            log.warning("no answer to a failed command", extra={"reason": str(refusal)})

    async def sync_if_changed(self) -> None:
        """Tell Discord our commands unless it knows them: it takes 200 a day.

        A failure is only logged: messages are answered without commands too.
        """
        try:
            with translated():
                if not await self._known():
                    await self.sync()
                    log.info("application commands synced")
        except PlatformError as error:
            log.warning("application commands not synced", extra={"reason": str(error)})

    async def _known(self) -> bool:
        application = self.client.application_id
        assert application is not None  # set by login
        theirs: list[Json] = list(await self.client.http.get_global_commands(application))
        ours = [command.to_dict(self) for command in self.get_commands()]
        return _covers(sorted(theirs, key=_name), sorted(ours, key=_name))


def _name(command: dict[str, Json]) -> str:
    return str(command["name"])


def _covers(theirs: Json, ours: Json) -> bool:
    """Whether Discord's copy says what ours does. It adds keys of its own, and leaves defaults out."""
    match ours:
        case dict():
            return all(_covers((theirs or {}).get(key), value) for key, value in ours.items())
        case list():
            theirs = theirs or []
            return len(theirs) == len(ours) and all(map(_covers, theirs, ours))
        case _:
            return bool(theirs == ours or not (theirs or ours))


def _health(commands: Commands) -> app_commands.Command[Any, ..., None]:
    @app_commands.command(name="agent-health", description="Show how the bot and its parts are doing")
    async def agent_health(interaction: discord.Interaction[discord.Client]) -> None:
        await _answer(interaction, commands.health)

    return agent_health


def _stop(commands: Commands) -> app_commands.Command[Any, ..., None]:
    @app_commands.command(name="agent-stop", description="Stop the answers to what you asked here")
    async def agent_stop(interaction: discord.Interaction[discord.Client]) -> None:
        space = str(interaction.guild_id) if interaction.guild_id else DIRECT
        channel = str(interaction.channel_id)
        request = Stop(
            by=f"{PLATFORM}:{interaction.user.id}",
            thread=ThreadId(PLATFORM, space, channel),
            channel=channel,
        )
        await _answer(interaction, partial(commands.stop, request))

    return agent_stop


async def _answer(
    interaction: discord.Interaction[discord.Client], text: Callable[[], Awaitable[str]]
) -> None:
    """Answer for the caller's eyes only. It is deferred, since Discord waits no longer than 3 s."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    for piece in split(await text()):
        await interaction.followup.send(piece, ephemeral=True)
