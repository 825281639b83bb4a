"""Conversion of request bodies to new or changed messages."""

from collections.abc import Iterable, Sequence

from tests.servers.discord import layouts as layouts
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
    components = rules.components(body)
    text = rules.content(body)
    if rules.is_v2(body):
        text = _layout_text(body, components, (each.name for each in files))
    draft = Draft(
        content=text,
        nonce=rules.nonce(body),
        files=files,
        embeds=rules.embeds(body),
        components=components,
        flags=MessageFlag(body.get("flags") or 0) & allowed_flags,
        mentions=Mentions.from_rules(rules.allowed_mentions(body)),
    )
    if not (draft.content.strip() or draft.embeds or draft.components or draft.files):
        rules.empty_message()
    return draft


def _layout_text(body: Json, components: Sequence[Json], files: Iterable[str]) -> str:
    """Return the text of a message with the flag for components v2. Raises `Refusal`."""
    rules.no_legacy_fields(body)
    layouts.check_message(components)
    layouts.check_attachments(components, frozenset(files))
    return layouts.shown_text(components)


def apply_edit(world: World, message: Message, body: Json, files: Sequence[File]) -> Message:
    """Apply a PATCH to a message of the bot. Raises `Refusal` if it would become empty."""
    was_v2 = MessageFlag.COMPONENTS_V2 in message.flags
    merged = body if "flags" in body else body | {"flags": int(message.flags)}
    components = rules.components(merged) if "components" in body else None
    embeds = rules.embeds(body) if "embeds" in body else None
    kept = body.get("attachments")
    # new files are listed too, under their number among the files
    known = {each.id for each in message.attachments}
    keep = None if kept is None else [int(each["id"]) for each in kept if int(each.get("id", 0)) in known]
    attachments = (
        message.attachments if keep is None else [each for each in message.attachments if each.id in keep]
    )
    text = rules.content(body) if "content" in body else message.content
    if was_v2 or rules.is_v2(merged):
        _may_be_v2(message, merged)
        names = [*(each.name for each in attachments), *(each.name for each in files)]
        text = message.content if components is None else _layout_text(merged, components, names)
    shown = (
        text.strip(),
        message.embeds if embeds is None else embeds,
        message.components if components is None else components,
        attachments,
        files,
    )
    if not any(shown):
        rules.empty_message()
    flags = None
    if "flags" in body:
        flags = (message.flags & ~SENDABLE_FLAGS) | (MessageFlag(body["flags"] or 0) & SENDABLE_FLAGS)
    return world.edit(
        message,
        content=text if text != message.content or "content" in body else None,
        embeds=embeds,
        components=components,
        files=files,
        keep_attachments=keep,
        flags=flags,
        mentions=Mentions.from_rules(rules.allowed_mentions(body)),
    )


def _may_be_v2(message: Message, body: Json) -> None:
    """Raise `Refusal` if an edit takes the flag away, or leaves what a message with it cannot have.

    https://docs.discord.com/developers/resources/message#edit-message
    """
    rules.no_legacy_fields(body)
    if not rules.is_v2(body):
        raise rules.form_error("flags", "MESSAGE_FLAG_INVALID", "IS_COMPONENTS_V2 cannot be removed.")
    if MessageFlag.COMPONENTS_V2 in message.flags:
        return
    has_content = message.content and body.get("content", "") is not None
    if has_content or (message.embeds and body.get("embeds") != []) or "components" not in body:
        raise rules.form_error(
            "content",
            "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
            "The content and the embeds must be reset.",
        )
