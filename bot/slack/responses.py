"""Answers to interactions, which only the caller sees.

https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Mapping

import aiohttp
from slack_bolt.async_app import AsyncAck

from bot.chat import Json, PlatformError, StorageDown
from bot.chat.texts import NO_STORAGE, command_failed
from bot.slack.api import SlackApi
from bot.slack.fallback import NO_PREVIEWS
from bot.slack.mrkdwn import mrkdwn

log = logging.getLogger(__name__)


async def answer(
    ack: AsyncAck,
    session: aiohttp.ClientSession,
    body: Mapping[str, Json],
    work: Awaitable[str],
    ack_timeout: float,
) -> None:
    """Acknowledge with the answer of `work`; if it takes longer than `ack_timeout`, send it later.

    An empty answer is skipped.
    """
    answering = asyncio.ensure_future(_answer_of(work))
    await asyncio.wait([answering], timeout=ack_timeout)
    if answering.done():
        await ack(mrkdwn(answering.result()))
        return
    await ack()
    if answer := await answering:
        await follow_up(session, body["response_url"], mrkdwn(answer))


async def _answer_of(work: Awaitable[str]) -> str:
    try:
        return await work
    except StorageDown as error:
        log.warning("command not executed", extra={"error": str(error)})
        return NO_STORAGE
    except Exception as error:  # noqa: BLE001 - the outermost boundary of a command: the caller gets an answer
        return apology(error)


def apology(error: Exception) -> str:
    """Log an unexpected error; return a sentence for the caller with the same reference."""
    reference = uuid.uuid4().hex[:12]
    log.error("command failed", extra={"reference": reference}, exc_info=error)
    return command_failed(reference)


async def follow_up(session: aiohttp.ClientSession, url: str, text: str) -> None:
    """Show `text` to the caller only. A failure is logged: nobody can be notified."""
    # not Bolt's respond(): it takes a proxy from the environment and opens a session for each answer
    try:
        async with session.post(url, json={"response_type": "ephemeral", "text": text}) as response:
            response.raise_for_status()
    except (aiohttp.ClientError, TimeoutError) as error:
        # without the address: it lets anyone answer in the bot's name
        told = {"error": type(error).__name__, "status": getattr(error, "status", None)}
        log.warning("command answer not sent", extra=told)


async def show_to(api: SlackApi, user: str, channel: str, answer: str) -> None:
    """Show an answer to a user in a channel, or in direct messages if the bot cannot write there."""
    text = mrkdwn(answer)
    try:
        try:
            await api.write("chat.postEphemeral", channel=channel, user=user, text=text)
        except PlatformError:  # the bot is not in that channel
            await api.write("chat.postMessage", channel=user, text=text, **NO_PREVIEWS)
    except PlatformError as error:
        log.warning("form not answered", extra={"error": str(error)})
