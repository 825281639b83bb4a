"""Slash commands on Slack. https://docs.slack.dev/interactivity/implementing-slash-commands"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Mapping

import aiohttp
from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.chat import Json, Stop, StorageDown
from bot.commands import Commands
from bot.slack.markdown import mrkdwn

log = logging.getLogger(__name__)

HEALTH = "/agent-health"
STOP = "/agent-stop"
USAGE = "/agent-usage"

_ACK_SECONDS = 2.0
"""Slack waits 3 s for the acknowledgement; what takes longer is answered after it."""


def answer_commands(app: AsyncApp, commands: Commands, session: aiohttp.ClientSession) -> None:
    """Let `app` answer slash commands, for the caller's eyes only."""

    async def answer(ack: AsyncAck, body: Mapping[str, Json], words: Awaitable[str]) -> None:
        said = asyncio.ensure_future(_told(words))
        await asyncio.wait([said], timeout=_ACK_SECONDS)
        if said.done():
            await ack(mrkdwn(said.result()))
            return
        await ack()
        await _respond(session, body["response_url"], mrkdwn(await said))

    async def health(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        await answer(ack, body, commands.health())

    async def stop(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        request = Stop(by=f"slack:{body['user_id']}", channel=body["channel_id"])
        await ack(mrkdwn(await commands.stop(request)))

    async def usage(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        of_all = body.get("text", "").strip().lower() == "all"
        await answer(ack, body, commands.usage(f"slack:{body['user_id']}", of_all))

    async def unknown(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        await ack(mrkdwn(f"I do not know {body['command']}. What I know: {HEALTH}, {STOP}, {USAGE}"))

    app.command(HEALTH)(health)
    app.command(STOP)(stop)
    app.command(USAGE)(usage)
    app.command(re.compile(""))(unknown)


async def _told(words: Awaitable[str]) -> str:
    try:
        return await words
    except StorageDown:
        log.warning("a command was not carried out", exc_info=True)
        return "Redis does not answer, so I cannot tell. Try again in a minute."


async def _respond(session: aiohttp.ClientSession, url: str, text: str) -> None:
    # not Bolt's respond(): it takes a proxy from the environment and opens a session for each answer
    try:
        async with session.post(url, json={"response_type": "ephemeral", "text": text}) as response:
            response.raise_for_status()
    except (aiohttp.ClientError, TimeoutError) as error:
        log.warning("A command was not answered", extra={"error": repr(error)})
