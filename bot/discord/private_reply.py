"""Private answers: shown only to the user who asked, in place of the response to their command.

One request shows all of it, and can be repeated. Discord takes it for 15 minutes; after that the answer goes
to the user's direct messages. https://discord.com/developers/docs/interactions/receiving-and-responding
"""

import io
import logging
from collections.abc import AsyncIterator
from typing import Any

import discord
from discord.http import Route, handle_message_parameters

from bot.chat import (
    AnswerButtons,
    Approval,
    Files,
    Notice,
    Part,
    Question,
    Receipt,
    Undeliverable,
    well_formed,
)
from bot.commands import approval_texts
from bot.commands import ask_texts as texts
from bot.discord.api import DiscordApi
from bot.discord.events import PRIVATE, TOKEN
from bot.discord.messages import nonce_of
from bot.discord.renderer import Renderer
from bot.platforms.read_ahead import ReadAhead

log = logging.getLogger(__name__)

_MOST_FILES = 9
_FILE = "answer.md"


async def reply_privately(
    api: DiscordApi, files: Files, parts: AsyncIterator[Part], receipt: Receipt
) -> None:
    """Show `parts` when all have come. Raises the exception with which they end, and `PlatformError`."""
    if receipt.state.get("finished"):
        return
    renderer = Renderer()
    async with ReadAhead(parts) as ahead:
        while not ahead.has_ended:
            for part in await ahead.take(None):
                _add(renderer, part)
        if ahead.failure:
            raise ahead.failure
    renderer.finish()
    pages = renderer.messages() or ["…"]
    found = [await files.find(each.id) for each in renderer.files[:_MOST_FILES]]
    attached = [(file.name, content) for file, content in filter(None, found)]
    if len(pages) > 1:
        attached.insert(0, (_FILE, "".join(pages).encode()))
        pages[0] += f"\n{texts.WHOLE_ANSWER}"
    try:
        await _show(api, receipt, pages[0], attached)
    except Undeliverable as error:
        log.info("private answer not shown", extra={"error": str(error)})
        await _show_directly(api, receipt, pages)
    receipt.note(finished=True)


def _add(renderer: Renderer, part: Part) -> None:
    """Add a part; requests are shown in words, since only messages that the bot can edit have buttons."""
    match part:
        case AnswerButtons():
            pass
        case Approval():
            renderer.add(Notice(approval_texts.request_text(part, where=texts.DECIDED_ELSEWHERE)))
        case Question():
            renderer.add(Notice(part.text))
            renderer.add(Notice(texts.NO_ANSWER_HERE))
        case _:
            renderer.add(part)


async def _show(api: DiscordApi, receipt: Receipt, content: str, attached: list[tuple[str, bytes]]) -> None:
    token = receipt.turn.messages[-1].place[TOKEN]

    async def edit(client: discord.Client) -> None:
        path = "/webhooks/{webhook_id}/{webhook_token}/messages/@original"
        route = Route("PATCH", path, webhook_id=client.application_id, webhook_token=token)
        uploads = [discord.File(io.BytesIO(data), name) for name, data in attached]
        form: dict[str, Any] = {"attachments": uploads} if uploads else {}
        form["flags"] = discord.MessageFlags(suppress_embeds=True)
        none = discord.AllowedMentions.none()
        with handle_message_parameters(content=well_formed(content), allowed_mentions=none, **form) as sent:
            if sent.files:
                await client.http.request(route, files=sent.files, form=sent.multipart)
            else:
                await client.http.request(route, json=sent.payload)

    await api.request(edit, receipt.hold)


async def _show_directly(api: DiscordApi, receipt: Receipt, pages: list[str]) -> None:
    channel = await api.open_direct(int(receipt.turn.messages[-1].place["author"]))
    for number, page in enumerate([texts.EXPIRED, *pages]):
        nonce = nonce_of(receipt.turn, f"{PRIVATE} {number}")
        await api.send(channel, page, nonce=nonce, reply_to=None, hold=receipt.hold)
