"""Conversion of request bodies to new or changed messages."""

from collections.abc import Sequence

from tests.servers.discord import rules as rules
from tests.servers.discord.records import (
    Draft,
    File,
    Json,
    Mentions,
    Message,
    MessageFlag,
)
from tests.servers.discord.world import World

SENDABLE_FLAGS = MessageFlag.SUPPRESS_EMBEDS | MessageFlag.SUPPRESS_NOTIFICATIONS | MessageFlag.COMPONENTS_V2


def read_draft(body: Json, files: Sequence[File], allowed_flags: MessageFlag = SENDABLE_FLAGS) -> Draft:
    """Return the message that a body describes. Raises `Refusal` if Discord would not accept it."""
    draft = Draft(
        content=rules.content(body),
        nonce=rules.nonce(body),
        files=files,
        embeds=rules.embeds(body),
        components=rules.components(body),
        flags=MessageFlag(body.get("flags") or 0) & allowed_flags,
        mentions=Mentions.from_rules(rules.allowed_mentions(body)),
    )
    if not (draft.content.strip() or draft.embeds or draft.components or draft.files):
        rules.empty_message()
    return draft


def apply_edit(world: World, message: Message, body: Json, files: Sequence[File]) -> Message:
    """Apply a PATCH to a message of the bot. Raises `Refusal` if it would become empty."""
    text = rules.content(body) if "content" in body else message.content
    merged = body if "flags" in body else body | {"flags": int(message.flags)}
    components = rules.components(merged) if "components" in body else None
    embeds = rules.embeds(body) if "embeds" in body else None
    kept = body.get("attachments")
    # new files are listed too, under their number among the files
    known = {each.id for each in message.attachments}
    keep = None if kept is None else [int(each["id"]) for each in kept if int(each.get("id", 0)) in known]
    remaining = (
        text.strip(),
        message.embeds if embeds is None else embeds,
        message.components if components is None else components,
        message.attachments if keep is None else keep,
        files,
    )
    if not any(remaining):
        rules.empty_message()
    flags = None
    if "flags" in body:
        flags = (message.flags & ~SENDABLE_FLAGS) | (MessageFlag(body["flags"] or 0) & SENDABLE_FLAGS)
    return world.edit(
        message,
        content=text if "content" in body else None,
        embeds=embeds,
        components=components,
        files=files,
        keep_attachments=keep,
        flags=flags,
        mentions=Mentions.from_rules(rules.allowed_mentions(body)),
    )
