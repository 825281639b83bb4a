"""`/agent-memory` on Slack: the text of the command is its subcommand."""

import logging
from collections.abc import Mapping
from functools import partial

from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.chat import Json, PlatformError
from bot.commands.memory import Caller, PersonalMemory, parse
from bot.commands.texts import MEMORY_FILE
from bot.platforms.memory_command import FILE, export, run
from bot.platforms.texts import file, not_shown, upload_failed
from bot.slack import texts
from bot.slack.api import SlackApi
from bot.slack.block_text import plain_text, word
from bot.slack.errors import MissingScope, Refused
from bot.slack.ids import own_id
from bot.slack.mrkdwn import mrkdwn
from bot.slack.responses import follow_up
from bot.slack.slash_commands import MEMORY, ApiOf

log = logging.getLogger(__name__)


def add_memory_command(app: AsyncApp, memory: PersonalMemory, api_of: ApiOf) -> None:
    """Register `/agent-memory` with `app`; only the caller sees the answers."""

    async def answer(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        await ack()  # at once: it may take longer than the 3 s that Slack waits
        api = api_of(body)
        caller = Caller(api.ids.user(body["user_id"]), (await api.who()).team_id)
        words = await _run(memory, api, caller, plain_text(body.get("text"), ""))
        await follow_up(api.session, body["response_url"], mrkdwn(words))

    app.command(MEMORY)(answer)


async def _run(memory: PersonalMemory, api: SlackApi, caller: Caller, text: str) -> str:
    if text.strip() == "export":
        return await export(memory, caller, partial(send_export, api, caller))
    order = parse(text)
    return await run(memory, caller, *order) if order else texts.MEMORY_USAGE


async def send_export(api: SlackApi, caller: Caller, data: bytes) -> str:
    """Send exported data to the caller in direct messages; return a sentence about it."""
    try:
        await upload(api, own_id(caller.author), FILE, data)
    except PlatformError as error:
        log.warning("memory not exported", extra={"error": str(error)})
        return not_shown(file(FILE), _reason(error))
    return texts.MEMORY_SENT


def _reason(error: PlatformError) -> str:
    match error:
        case MissingScope():
            return texts.UPLOAD_NOT_ALLOWED
        case Refused(code=code):
            return texts.file_refused(code)
        case _:
            return upload_failed("Slack")


async def upload(api: SlackApi, user: str, name: str, data: bytes) -> None:
    """Send a file to a user in direct messages. Raises `PlatformError`.

    https://docs.slack.dev/messaging/working-with-files#upload
    """
    opened = await api.repeat("conversations.open", users=user)
    place = await api.read("files.getUploadURLExternal", filename=name, length=len(data))
    await api.upload(word(place.get("upload_url")), data)
    await api.write(
        "files.completeUploadExternal",
        files=[{"id": place.get("file_id"), "title": name}],
        channel_id=opened["channel"]["id"],
        initial_comment=MEMORY_FILE,
    )
