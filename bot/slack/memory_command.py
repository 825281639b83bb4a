"""`/agent-memory` on Slack: the text of the command is its subcommand."""

from collections.abc import Mapping
from functools import partial

import aiohttp
from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.chat import Json, Unreachable
from bot.commands.commands import Caller, PersonalMemory
from bot.platforms.memory_command import FILE, export, run
from bot.slack.api import SlackApi
from bot.slack.block_text import word
from bot.slack.markdown import mrkdwn
from bot.slack.responses import follow_up

MEMORY = "/agent-memory"
USAGE = (
    "You can use: `/agent-memory show`, `/agent-memory export`, `/agent-memory forget`, "
    "`/agent-memory link`, `/agent-memory link CODE`, `/agent-memory unlink`."
)
_SENT = "I have sent you a file in our direct messages."
_COMMENT = "Everything that I remember about you."
_NOT_SENT = "Slack did not accept the file. Please try again in a minute."


def add_memory_command(app: AsyncApp, memory: PersonalMemory, api: SlackApi, team: str) -> None:
    """Register `/agent-memory` with `app`; only the caller sees the answers."""

    async def answer(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        await ack()  # at once: it may take longer than the 3 s that Slack waits
        caller = Caller(f"slack:{body['user_id']}", team)
        words = await _answered(memory, api, caller, word(body.get("text")))
        await follow_up(api.session, body["response_url"], mrkdwn(words))

    app.command(MEMORY)(answer)


async def _answered(memory: PersonalMemory, api: SlackApi, caller: Caller, text: str) -> str:
    match text.split():
        case []:
            return await run(memory, caller, "show")
        case ["show" | "unlink" as verb]:
            return await run(memory, caller, verb)
        case ["forget", *words]:
            return await run(memory, caller, "forget", " ".join(words))
        case ["link", *code]:
            return await run(memory, caller, "link", "".join(code))
        case ["export"]:
            return await export(memory, caller, partial(_send, api, caller))
        case _:
            return USAGE


async def _send(api: SlackApi, caller: Caller, data: bytes) -> str:
    await upload(api, caller.author.removeprefix("slack:"), FILE, data)
    return _SENT


async def upload(api: SlackApi, user: str, name: str, data: bytes) -> None:
    """Send a file to a user in direct messages. Raises `PlatformError`.

    https://docs.slack.dev/messaging/working-with-files#upload
    """
    opened = await api.repeat("conversations.open", users=user)
    place = await api.read("files.getUploadURLExternal", filename=name, length=len(data))
    try:
        async with api.session.post(place["upload_url"], data=data) as response:
            response.raise_for_status()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unreachable(_NOT_SENT) from error
    await api.write(
        "files.completeUploadExternal",
        files=[{"id": place["file_id"], "title": name}],
        channel_id=opened["channel"]["id"],
        initial_comment=_COMMENT,
    )
