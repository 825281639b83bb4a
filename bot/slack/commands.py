"""Slash commands on Slack. https://docs.slack.dev/interactivity/implementing-slash-commands"""

import re
from collections.abc import Awaitable, Callable, Mapping

import aiohttp
from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.chat import Json, Stop
from bot.commands.commands import Commands
from bot.slack.markdown import mrkdwn
from bot.slack.memory_command import MEMORY
from bot.slack.responses import answer
from bot.slack.texts import unknown_command

HEALTH = "/agent-health"
STOP = "/agent-stop"
REDIS = "/agent-redis"
USAGE = "/agent-usage"
CHANNEL = "/agent-channel"

IsExternal = Callable[[Mapping[str, Json]], Awaitable[bool]]
"""Function that tells whether the user of a payload is a guest or from another organisation, as far as Slack
says."""


def add_commands(
    app: AsyncApp,
    commands: Commands,
    session: aiohttp.ClientSession,
    is_external: IsExternal,
    ack_timeout: float,
) -> None:
    """Register the slash commands with `app`; only the caller sees the answers."""

    async def health_text(body: Mapping[str, Json]) -> str:
        return await commands.health(f"slack:{body['user_id']}", is_external=await is_external(body))

    async def usage_text(body: Mapping[str, Json], *, of_all: bool) -> str:
        by, is_outsider = f"slack:{body['user_id']}", of_all and await is_external(body)
        return await commands.report_usage(by, of_all=of_all, is_external=is_outsider)

    async def health(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        await answer(ack, session, body, health_text(body), ack_timeout)

    async def stop(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        request = Stop(by=f"slack:{body['user_id']}", channel=body["channel_id"])
        await answer(ack, session, body, commands.stop(request), ack_timeout)

    async def usage(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        of_all = body.get("text", "").strip().lower() == "all"
        await answer(ack, session, body, usage_text(body, of_all=of_all), ack_timeout)

    async def unknown(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        known = [HEALTH, STOP, USAGE]
        known += [REDIS] * bool(commands.operations) + [MEMORY] * bool(commands.memory)
        known += [CHANNEL] * bool(commands.channel)
        await ack(mrkdwn(unknown_command(body["command"], known)))

    app.command(HEALTH)(health)
    app.command(STOP)(stop)
    app.command(USAGE)(usage)
    app.command(re.compile(""))(unknown)
