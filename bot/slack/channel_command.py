"""`/agent-channel` on Slack: the text of the command is its subcommand."""

from collections.abc import Mapping

import aiohttp
from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.chat import Json
from bot.commands.channel import ChannelCaller, ChannelCommand
from bot.slack.block_text import word
from bot.slack.responses import answer
from bot.slack.slash_commands import CHANNEL, ApiOf, IsExternal


def add_channel_command(
    app: AsyncApp,
    command: ChannelCommand,
    api_of: ApiOf,
    session: aiohttp.ClientSession,
    is_external: IsExternal,
    ack_timeout: float,
) -> None:
    """Register `/agent-channel` with `app`; only the caller sees the answers."""

    async def text(body: Mapping[str, Json]) -> str:
        ids = api_of(body).ids
        caller = ChannelCaller(
            author=ids.user(body["user_id"]),
            name=word(body.get("user_name")),
            channel=ids.channel(body["channel_id"]),
            is_external=await is_external(body),
        )
        return await command.answer_text(word(body.get("text")), caller)

    async def run(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        await answer(ack, session, body, text(body), ack_timeout)

    app.command(CHANNEL)(run)
