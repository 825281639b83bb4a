"""Slash commands on Slack. https://docs.slack.dev/interactivity/implementing-slash-commands"""

import re
from collections.abc import Mapping

import aiohttp
from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.chat import Json, Stop
from bot.commands.commands import Commands
from bot.slack.answer_buttons import add_reason_form, is_reason
from bot.slack.ask import is_ask
from bot.slack.channel_command import ShowHome, add_channel_command, is_channel_form
from bot.slack.home_forms import is_feedback
from bot.slack.memory_command import add_memory_command
from bot.slack.mrkdwn import mrkdwn
from bot.slack.redis_command import add_redis_command, is_form
from bot.slack.responses import answer
from bot.slack.slash_commands import CHANNEL, HEALTH, MEMORY, REDIS, STOP, USAGE, ApiOf, IsExternal
from bot.slack.texts import unknown_command


def is_listened_to(body: Mapping[str, Json]) -> bool:
    """Return whether a payload of Slack is a command, a shortcut or a form: Bolt has a listener for each."""
    is_any_form = is_form(body) or is_reason(body) or is_channel_form(body) or is_feedback(body)
    return "command" in body or is_any_form or is_ask(body)


def add_commands(
    app: AsyncApp,
    commands: Commands,
    api_of: ApiOf,
    session: aiohttp.ClientSession,
    is_external: IsExternal,
    show_home: ShowHome,
    ack_timeout: float,
) -> None:
    """Register the slash commands and forms with `app`; only the caller sees the answers."""
    if commands.operations:
        add_redis_command(app, commands.operations, api_of, session, is_external, ack_timeout)
    if commands.memory:
        add_memory_command(app, commands.memory, api_of)
    if commands.channel:
        add_channel_command(app, commands.channel, api_of, session, is_external, show_home, ack_timeout)
    add_reason_form(app, commands, api_of)

    def author(body: Mapping[str, Json]) -> str:
        return api_of(body).ids.user(body["user_id"])

    async def health_text(body: Mapping[str, Json]) -> str:
        return await commands.health(author(body), is_external=await is_external(body))

    async def usage_text(body: Mapping[str, Json], *, of_all: bool) -> str:
        by, is_outsider = author(body), of_all and await is_external(body)
        return await commands.report_usage(by, of_all=of_all, is_external=is_outsider)

    async def health(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        await answer(ack, session, body, health_text(body), ack_timeout)

    async def stop(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        request = Stop(by=author(body), channel=api_of(body).ids.own(body["channel_id"]))
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
    app.command(re.compile(""))(unknown)  # the last one: it takes what no other listener does
