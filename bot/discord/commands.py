"""Application commands: health, stop and usage; others have their own files."""

import logging
from functools import partial
from typing import Any

import discord
from discord import app_commands
from tenacity import AsyncRetrying, RetryCallState, wait_exponential

from bot.chat import Json, Stop, ThreadId
from bot.commands import texts
from bot.commands.commands import Commands
from bot.discord.ask import HandOver, add_ask
from bot.discord.channel_command import add_channel_command
from bot.discord.errors import translate_errors
from bot.discord.events import PLATFORM, is_guest, space_of
from bot.discord.handlers import Handlers
from bot.discord.memory_command import add_memory_command
from bot.discord.redis_command import add_redis_command
from bot.discord.responses import Interaction, answer, apologise
from bot.discord.timing import Timing

log = logging.getLogger(__name__)


class CommandTree(app_commands.CommandTree[discord.Client]):
    """Command tree for guilds, direct messages and users who installed the bot for themselves."""

    def __init__(
        self,
        client: discord.Client,
        commands: Commands,
        handlers: Handlers,
        hand_over: HandOver,
        timing: Timing,
    ) -> None:
        super().__init__(
            client,
            allowed_contexts=app_commands.AppCommandContext(
                guild=True, dm_channel=True, private_channel=True
            ),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=True),
        )
        self._handlers = handlers
        self._timing = timing
        add_commands(self, commands, handlers, hand_over)

    def payload(self) -> list[Json]:
        """Return the commands in the form in which they are registered."""
        return [command.to_dict(self) for command in self.get_commands()]

    async def interaction_check(self, interaction: Interaction, /) -> bool:
        """Count in the task of an interaction; discord.py calls this first."""
        self._handlers.join()
        return True

    async def on_error(self, interaction: Interaction, error: app_commands.AppCommandError, /) -> None:
        """Answer a failed command with a sentence."""
        await apologise(interaction, error)

    async def _call(self, interaction: Interaction) -> None:
        """Run an interaction; one that discord.py cannot read is answered with a sentence."""
        try:
            await super()._call(interaction)
        except app_commands.AppCommandError:
            raise
        except Exception as error:  # noqa: BLE001 - discord.py raises any error for unexpected data
            await apologise(interaction, error)

    async def keep_synced(self) -> None:
        """Register the commands with Discord if they have changed, and retry until it succeeds.

        Discord allows 200 changes a day. Messages are answered without commands, too.
        """
        repeated = AsyncRetrying(
            wait=wait_exponential(
                multiplier=self._timing.sync_backoff, max=self._timing.longest_sync_backoff
            ),
            before_sleep=_log_retry,
        )
        await repeated(self._sync_if_changed)

    async def _sync_if_changed(self) -> None:
        with translate_errors(is_reading=True):
            application = self.client.application_id
            assert application is not None  # set by login
            theirs: list[Json] = list(await self.client.http.get_global_commands(application))
            ours = self.payload()
            if not _covers(sorted(theirs, key=_name), sorted(ours, key=_name)):
                # not CommandTree.sync: its reading of the answer is not needed
                await self.client.http.bulk_upsert_global_commands(application, payload=ours)
                log.info("application commands synced")


def add_commands(tree: CommandTree, commands: Commands, handlers: Handlers, hand_over: HandOver) -> None:
    """Register the commands with `tree`; except for `/ask`, only the caller sees the answers."""
    add_ask(tree, hand_over, handlers.join)
    tree.add_command(_health(commands))
    tree.add_command(_stop(commands))
    if commands.operations:
        add_redis_command(tree, commands.operations, handlers.join)
    tree.add_command(_usage(commands))
    if commands.memory:
        add_memory_command(tree, commands.memory)
    if commands.channel:
        add_channel_command(tree, commands.channel)


def _log_retry(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning(
        "application commands not synced", extra={"error": str(error), "retry_s": round(state.upcoming_sleep)}
    )


def _name(command: dict[str, Json]) -> str:
    return str(command["name"])


def _covers(theirs: Json, ours: Json) -> bool:
    """Return whether Discord's copy equals ours. Discord adds keys of its own, and omits defaults."""
    match ours:
        case dict():
            return all(_covers((theirs or {}).get(key), value) for key, value in ours.items())
        case list():
            theirs = theirs or []
            return len(theirs) == len(ours) and all(map(_covers, theirs, ours))
        case _:
            return bool(theirs == ours or not (theirs or ours))


def _health(commands: Commands) -> app_commands.Command[Any, ..., None]:
    @app_commands.command(name="agent-health", description=texts.HEALTH)
    async def agent_health(interaction: Interaction) -> None:
        by, is_external = f"{PLATFORM}:{interaction.user.id}", is_guest(interaction.user)
        await answer(interaction, partial(commands.health, by, is_external=is_external))

    return agent_health


def _stop(commands: Commands) -> app_commands.Command[Any, ..., None]:
    @app_commands.command(name="agent-stop", description=texts.STOP)
    async def agent_stop(interaction: Interaction) -> None:
        space = space_of(interaction)
        channel = str(interaction.channel_id)
        request = Stop(
            by=f"{PLATFORM}:{interaction.user.id}",
            thread=ThreadId(PLATFORM, space, channel),
            channel=channel,
            is_external=is_guest(interaction.user),
        )
        await answer(interaction, partial(commands.stop, request))

    return agent_stop


def _usage(commands: Commands) -> app_commands.Command[Any, ..., None]:
    @app_commands.command(name="agent-usage", description=texts.USAGE)
    @app_commands.describe(all=texts.USAGE_OF_ALL)
    async def agent_usage(interaction: Interaction, all: bool = False) -> None:
        by, is_external = f"{PLATFORM}:{interaction.user.id}", is_guest(interaction.user)
        await answer(interaction, partial(commands.report_usage, by, of_all=all, is_external=is_external))

    return agent_usage
