"""Slash commands on Slack. https://docs.slack.dev/interactivity/implementing-slash-commands"""

import asyncio
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping

import aiohttp
from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.chat import Json, Stop, StorageDown
from bot.commands.commands import Commands
from bot.slack.markdown import mrkdwn
from bot.slack.memory_command import MEMORY
from bot.slack.response_url import respond

log = logging.getLogger(__name__)

HEALTH = "/agent-health"
STOP = "/agent-stop"
REDIS = "/agent-redis"
USAGE = "/agent-usage"

ACK_SECONDS = 2.0
"""Slack waits 3 s for the acknowledgement; what takes longer is answered after it."""


IsExternal = Callable[[str], Awaitable[bool]]
"""Tells if the user of that id is of another organisation or a guest, as far as Slack says."""


def answer_commands(
    app: AsyncApp, commands: Commands, session: aiohttp.ClientSession, is_external: IsExternal
) -> None:
    """Let `app` answer slash commands, for the caller's eyes only."""

    async def examined(user: str) -> str:
        return await commands.health(f"slack:{user}", is_external=await is_external(user))

    async def spent(user: str, *, of_all: bool) -> str:
        is_outsider = of_all and await is_external(user)
        return await commands.spending(f"slack:{user}", of_all=of_all, is_external=is_outsider)

    async def health(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        await answer_in_time(ack, session, body, examined(body["user_id"]))

    async def stop(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        request = Stop(by=f"slack:{body['user_id']}", channel=body["channel_id"])
        await answer_in_time(ack, session, body, commands.stop(request))

    async def usage(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        of_all = body.get("text", "").strip().lower() == "all"
        await answer_in_time(ack, session, body, spent(body["user_id"], of_all=of_all))

    async def unknown(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        known = [HEALTH, STOP, USAGE]
        known += [REDIS] * bool(commands.operations) + [MEMORY] * bool(commands.memory)
        await ack(mrkdwn(f"I do not know {body['command']}. What I know: {', '.join(known)}"))

    app.command(HEALTH)(health)
    app.command(STOP)(stop)
    app.command(USAGE)(usage)
    app.command(re.compile(""))(unknown)


async def answer_in_time(
    ack: AsyncAck, session: aiohttp.ClientSession, body: Mapping[str, Json], work: Awaitable[str]
) -> None:
    """Acknowledge with the answer of `work`, or answer when it is there; an empty one is not shown."""
    answering = asyncio.ensure_future(_answered(work))
    await asyncio.wait([answering], timeout=ACK_SECONDS)
    if answering.done():
        await ack(mrkdwn(answering.result()))
        return
    await ack()
    if answer := await answering:
        await respond(session, body["response_url"], mrkdwn(answer))


async def _answered(work: Awaitable[str]) -> str:
    try:
        return await work
    except StorageDown as error:
        log.warning("a command was not carried out", extra={"error": str(error)})
        return "Redis does not answer, so I cannot tell. Try again in a minute."
    except Exception as error:  # noqa: BLE001 - the outermost boundary of a command: the caller gets an answer
        return failure(error)


def failure(error: Exception) -> str:
    """Log what nobody foresaw; returns what to tell the person, with the same reference."""
    reference = uuid.uuid4().hex[:12]
    log.error("command failed", extra={"reference": reference}, exc_info=error)
    return f"That did not work. The log says why, under the reference {reference}."
