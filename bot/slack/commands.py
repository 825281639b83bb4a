"""Slash commands on Slack. https://docs.slack.dev/interactivity/implementing-slash-commands"""

import asyncio
import re
from collections.abc import Mapping

import aiohttp
from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.chat import Json, Stop
from bot.commands import Commands
from bot.slack.markdown import mrkdwn
from bot.slack.memory_commands import MEMORY
from bot.slack.respond import respond

HEALTH = "/agent-health"
STOP = "/agent-stop"

_ACK_SECONDS = 2.0
"""Slack waits 3 s for the acknowledgement; what takes longer is answered after it."""


def answer_commands(app: AsyncApp, commands: Commands, session: aiohttp.ClientSession) -> None:
    """Let `app` answer slash commands, for the caller's eyes only."""

    async def health(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        examination = asyncio.ensure_future(commands.health())
        await asyncio.wait([examination], timeout=_ACK_SECONDS)
        if examination.done():
            await ack(mrkdwn(examination.result()))
            return
        await ack()
        await respond(session, body["response_url"], mrkdwn(await examination))

    async def stop(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        request = Stop(by=f"slack:{body['user_id']}", channel=body["channel_id"])
        await ack(mrkdwn(await commands.stop(request)))

    async def unknown(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        await ack(mrkdwn(f"I do not know {body['command']}. What I know: {HEALTH}, {STOP}, {MEMORY}"))

    app.command(HEALTH)(health)
    app.command(STOP)(stop)
    app.command(re.compile(""))(unknown)
