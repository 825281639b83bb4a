"""Quotes: text and files of replies, forwards and polls, beside the author's own text. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import discord

from bot.chat import Attachment, Quote
from bot.discord.readable import readable
from bot.discord.texts import FORUM_POST, tags

MOST_CHARS = 8_000
"""Most characters of a quote: two of Discord's longest messages."""

MOST_OWN_CHARS = 1_000
"""Most characters of a quote of the bot itself, which thread memory has in full."""

_CUT = "\n[The rest is left out.]"
_REPLIED = "that this one replies to"
_PARTS = {
    "content": "its text",
    "attachments": "files",
    "embeds": "embeds",
    "components": "its layout",
    "poll": "a poll",
    "sticker_items": "stickers",
    "message_snapshots": "the forwarded message",
    "message_reference": "the message it replies to",
    "referenced_message": "the message it replies to",
}


def quotes(message: discord.Message, me: int, unreadable: Sequence[str] = ()) -> tuple[Quote, ...]:
    """Return everything in a message that its author did not type; `me` is the bot's user id.

    `unreadable` are the parts of the payload that could not be read.
    """
    return tuple(_limit(source, text, own=own) for source, text, own in _sources(message, me, unreadable))


def files(message: discord.Message, me: int) -> list[Attachment]:
    """Return the files of a message, and those of the messages that it forwards or replies to.

    The bot's own files are only named in the quote: the bot created them.
    """
    everything = [*message.attachments]
    for snapshot in message.message_snapshots:
        everything += snapshot.attachments
    replied = _referenced_message(message)
    if isinstance(replied, discord.Message) and replied.author.id != me:
        everything += replied.attachments
    return attachments_of(everything)


def quote_of(message: discord.Message, source: str) -> Quote:
    """Return a whole message as a quote; `source` describes it."""
    return _limit(f"{source}, by {message.author.display_name}", _whole(message), own=False)


def post(channel: object) -> tuple[Quote, ...]:
    """Return the title and the tags of a post as a quote; nothing if `channel` is not one of a forum."""
    if not isinstance(channel, discord.Thread) or not isinstance(channel.parent, discord.ForumChannel):
        return ()
    named = ", ".join(tag.name for tag in channel.applied_tags)
    return (_limit(FORUM_POST, _lines([channel.name, tags(named) if named else ""]), own=False),)


def attachments_of(files: Iterable[discord.Attachment]) -> list[Attachment]:
    """Return attached files."""
    return [_attachment(each) for each in files]


def _sources(message: discord.Message, me: int, unreadable: Sequence[str]) -> Iterator[tuple[str, str, bool]]:
    """Yield for each quote its source, its text, and whether it is the bot's own."""
    if layout := _lines(_layout(message)) if _is_written_by_program(message) else "":
        yield "the embeds and the layout of this message", layout, False
    if message.poll:
        yield "a poll in this message", _lines(_poll(message.poll)), False
    for snapshot in message.message_snapshots:
        yield "a message that is forwarded here", _snapshot(snapshot), False
    if _is_forward(message) and not message.message_snapshots:
        yield "a message that is forwarded here", "[It could not be read.]", False
    if message.type is discord.MessageType.reply:
        yield _reply(message, me)
    parts = list(dict.fromkeys(_PARTS[part] for part in unreadable if part in _PARTS))
    if parts:
        yield "this message", f"[A part of it could not be read: {', '.join(parts)}.]", False


def _reply(message: discord.Message, me: int) -> tuple[str, str, bool]:
    replied = _referenced_message(message)
    if isinstance(replied, discord.DeletedReferencedMessage):
        return f"the message {_REPLIED}", "[It was deleted.]", False
    if replied is None:
        return f"the message {_REPLIED}", "[It could not be read.]", False
    if replied.author.id == me:
        return f"your own message {_REPLIED}", _whole(replied), True
    return f"the message by {replied.author.display_name} {_REPLIED}", _whole(replied), False


def _referenced_message(
    message: discord.Message,
) -> discord.Message | discord.DeletedReferencedMessage | None:
    is_reply = message.type is discord.MessageType.reply and message.reference
    return message.reference.resolved if is_reply and message.reference else None


def _is_written_by_program(message: discord.Message) -> bool:
    """Return whether the embeds are the author's text; in a user's message they are link previews."""
    return message.author.bot or message.webhook_id is not None


def _is_forward(message: discord.Message) -> bool:
    return message.reference is not None and message.reference.type is discord.MessageReferenceType.forward


def past_text(message: discord.Message, spoken: str) -> str:
    """Return the whole text of a message except the names of its files; `spoken` is the author's part."""
    forwarded = [_snapshot(each) for each in message.message_snapshots]
    poll = _poll(message.poll) if message.poll else []
    layout = _layout(message) if _is_written_by_program(message) else []
    more = [*layout, *poll, *forwarded]
    return _lines([spoken, *more]) if more else spoken


def _whole(message: discord.Message) -> str:
    spoken = _lines([readable(message.content, message), *stickers(message)])
    return _lines([past_text(message, spoken), *_file_names(message)])


def _snapshot(snapshot: discord.MessageSnapshot) -> str:
    content = readable(snapshot.content)
    return _lines([content, *_layout(snapshot), *stickers(snapshot), *_file_names(snapshot)])


def stickers(message: discord.Message | discord.MessageSnapshot) -> list[str]:
    """Return a line for each sticker."""
    return [f"[sticker: {sticker.name}]" for sticker in message.stickers]


def voice(message: discord.Message) -> list[str]:
    """Return a line with the length of each voice recording."""
    seconds = [file.duration for file in message.attachments if message.flags.voice and file.duration]
    return [f"[voice message of {each:.0f} seconds]" for each in seconds]


def _file_names(message: discord.Message | discord.MessageSnapshot) -> list[str]:
    return [f"[attached: {file.filename}]" for file in message.attachments]


def _layout(message: discord.Message | discord.MessageSnapshot) -> Iterator[str]:
    """Yield the texts in the embeds and components of a message."""
    for embed in message.embeds:
        yield from _embed(embed)
    for component in getattr(message, "components", ()):  # a message replied to may lack it
        yield from _component(component)


def _embed(embed: discord.Embed) -> Iterator[str]:
    yield from (each for each in (embed.author.name, embed.title, embed.description) if each)
    yield from (f"{field.name}: {field.value}" for field in embed.fields)
    yield from (each for each in (embed.footer.text, embed.url) if each)
    media = {"picture": embed.image.url or embed.thumbnail.url, "video": embed.video.url}
    yield from (f"[a {kind} that could not be read: {url}]" for kind, url in media.items() if url)


def _component(component: discord.Component) -> Iterator[str]:
    """Yield the texts of a component and of all that it holds."""
    match component:
        case discord.TextDisplay():
            yield component.content
        case discord.Button(label=str(label)):
            yield f"[button: {label}]"
        case discord.MediaGalleryComponent():
            yield from (f"[a picture that could not be read: {each.media.url}]" for each in component.items)
        case discord.FileComponent():
            yield f"[a file that could not be read: {component.media.url}]"
        case discord.Container() | discord.ActionRow():
            for each in component.children:
                yield from _component(each)
        case discord.SectionComponent():
            for each in component.children:
                yield from _component(each)
            yield from _component(component.accessory)


def _poll(poll: discord.Poll) -> list[str]:
    votes = [f"- {answer.text or answer.emoji}: {answer.vote_count} votes" for answer in poll.answers]
    return [str(poll.question), *votes, "[The poll is closed.]" if poll.is_finalised() else "[It is open.]"]


def _lines(parts: Iterable[str]) -> str:
    return "\n".join(part for part in parts if part)


def _limit(source: str, text: str, *, own: bool) -> Quote:
    most = MOST_OWN_CHARS if own else MOST_CHARS
    cut = text if len(text) <= most else text[:most] + _CUT
    return Quote(source=source, text=cut or "[Nothing of it could be read.]")


def _attachment(file: discord.Attachment) -> Attachment:
    described: tuple[Any, ...] = (file.filename, file.url, file.size)  # as Discord sent them
    match described:
        case str(name), str(url), int(size):
            media_type = file.content_type or "application/octet-stream"
            return Attachment(name=name, media_type=str(media_type), size=size, url=url)
        case _:
            raise TypeError("a file without a name, an address or a size")
