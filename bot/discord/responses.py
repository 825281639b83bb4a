"""Answers to interactions, which only the caller sees."""

import io
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import discord
from discord import ui
from discord.http import Route, handle_message_parameters

from bot.chat import StorageDown, well_formed
from bot.chat.texts import NO_STORAGE, command_failed
from bot.commands.ask_texts import WHOLE_ANSWER
from bot.discord.api import FileUpload
from bot.discord.markdown.pages import split

_MOST_FOLLOW_UPS = 5
"""Most follow-ups to a command of an app that is not in the server
(https://discord.com/developers/docs/interactions/receiving-and-responding#followup-messages)."""

_LONGEST = 2_000

log = logging.getLogger(__name__)

Interaction = discord.Interaction[discord.Client]


async def answer(interaction: Interaction, text: Callable[[], Awaitable[str]]) -> None:
    """Answer with `text`. The answer is deferred, since Discord waits only 3 s."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    try:
        words = await text()
    except StorageDown as error:
        log.warning("command not executed", extra={"error": str(error)})
        words = NO_STORAGE
    await follow_up(interaction, words)


async def follow_up(interaction: discord.Interaction[Any], text: str) -> None:
    """Show the text of a deferred answer, without link previews: Discord would fetch made-up addresses.

    Where only its user has installed the app, a longer one comes as a file.
    """
    pieces = split(text)
    if len(pieces) > _MOST_FOLLOW_UPS and not interaction.is_guild_integration():
        first = (
            f"{pieces[0]}\n{WHOLE_ANSWER}" if len(pieces[0]) + len(WHOLE_ANSWER) < _LONGEST else WHOLE_ANSWER
        )
        whole = discord.File(io.BytesIO(text.encode()), "answer.md")
        await interaction.followup.send(first, file=whole, ephemeral=True, suppress_embeds=True)
        return
    for piece in pieces:
        await interaction.followup.send(piece, ephemeral=True, suppress_embeds=True)


async def edit_response(
    client: discord.Client,
    token: str,
    content: str | ui.LayoutView,
    files: Sequence[FileUpload] = (),
) -> None:
    """Replace the response to a command by the token of its interaction; a layout shows its files.

    It pings nobody, and its links get no preview. `Interaction.edit_original_response` cannot do the latter.
    A layout stays one: Discord takes no text in its place.
    """
    path = "/webhooks/{webhook_id}/{webhook_token}/messages/@original"
    route = Route("PATCH", path, webhook_id=client.application_id, webhook_token=token)
    # created for each try, since sending consumes them
    uploads = [
        discord.File(io.BytesIO(each.content), each.name, description=each.alt or None) for each in files
    ]
    form = handle_message_parameters(
        content=well_formed(content) if isinstance(content, str) else None,
        attachments=uploads,
        view=None if isinstance(content, str) else content,
        flags=discord.MessageFlags(suppress_embeds=True),
        allowed_mentions=discord.AllowedMentions.none(),
    )
    with form as sent:
        if sent.files:
            await client.http.request(route, files=sent.files, form=sent.multipart)
        else:
            await client.http.request(route, json=sent.payload)


async def apologise(interaction: Interaction, error: Exception) -> None:
    """Answer an unexpected error with a sentence; the log has the error with the same reference."""
    log.error("command failed", extra={"reference": interaction.id}, exc_info=error)
    if interaction.type is discord.InteractionType.autocomplete:  # cannot show a text
        return
    sentence = command_failed(interaction.id)
    try:
        if interaction.response.is_done():
            await interaction.followup.send(sentence, ephemeral=True)
        else:
            await interaction.response.send_message(sentence, ephemeral=True)
    except discord.HTTPException as refusal:
        log.warning("command error not shown", extra={"reason": str(refusal)})
