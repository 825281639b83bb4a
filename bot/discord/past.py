"""Earlier messages of channels and threads, as users read them.

https://discord.com/developers/docs/resources/message#get-channel-messages returns the newest messages first.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import discord

from bot.chat import Passage, PastMessage
from bot.discord.events import DIRECT, PLATFORM, id_of, readable_text
from bot.discord.names import Names
from bot.discord.payloads import Payload
from bot.discord.quotes import past_text
from bot.discord.reader import PastPayload, Reader
from bot.platforms.context import name_of_other

log = logging.getLogger(__name__)

_WRITTEN = (0, 19, 20, 21, 23)
"""Types of messages that somebody has written: plain, a reply, commands, the first one of a thread."""

_THREAD_STARTER = 21
_RICH = ("poll", "message_snapshots", "sticker_items", "webhook_id")
_VOICE = 1 << 13

_UNEXPECTED = (AttributeError, LookupError, TypeError, ValueError)
"""Errors raised while a payload of an unexpected form is read."""


@dataclass(frozen=True, slots=True)
class PastMessages:
    """Reader of earlier messages of a server, or of direct messages (`dm`). Raises `PlatformError`."""

    reader: Reader
    names: Names

    async def passage(
        self, guild: str, source: str, channel: int, before: int | None, most: int, after: int = 0
    ) -> Passage:
        """Return the newest messages of a channel before an id.

        With `after` only later ones, without the bot's own: the agent knows its answers.
        """
        found = await self.reader.history(channel, before, most)
        new = [each for each in found if each.data.get("type") in _WRITTEN]
        if after:
            me = await self.reader.user_id()
            new = [each for each in new if each.id > after and each.author_id != me]
        is_cut = len(found) == most and (not after or all(each.id > after for each in found))
        return Passage(source=source, messages=await self.messages(guild, new), is_cut=is_cut)

    async def messages(self, guild: str, found: Sequence[PastPayload]) -> tuple[PastMessage, ...]:
        """Return messages with names in place of ids; those that cannot be read are left out."""
        me = await self.reader.user_id()
        past = [read for each in found if (read := _past(each, me, guild))]
        texts = await self.names.readable(guild, [each.text for each in past])
        return tuple(
            each if text == each.text else replace(each, text=text)
            for each, text in zip(past, texts, strict=True)
        )


def _past(entry: PastPayload, me: int, guild: str) -> PastMessage | None:
    """Read a message: what is text and files only is read off its payload."""
    try:
        if (plain := _plain(entry.data, me, guild)) is not None:
            return plain
    except _UNEXPECTED as error:
        log.info("history message of an unexpected form", extra={"error": repr(error)})
    message = entry.message()
    if message is None:
        return None
    if message.type is discord.MessageType.thread_starter_message:
        started = message.reference.resolved if message.reference else None
        message = started if isinstance(started, discord.Message) else message
    author = message.author
    return PastMessage(
        id=id_of(message.id),
        author="you" if author.id == me else name_of_other(author.display_name, f"{PLATFORM}:{author.id}"),
        text=past_text(message, readable_text(message, me)),
        sent_at=message.created_at.timestamp(),
        link=_link(guild, message.channel.id, message.id),
        files=tuple(file.filename for file in message.attachments),
    )


def _plain(data: Payload, me: int, guild: str) -> PastMessage | None:
    """Read a message that a user has written and that is text and files only; None for another."""
    author, text = data["author"], data["content"]
    is_rich = any(map(data.get, _RICH)) or int(data.get("flags") or 0) & _VOICE or author.get("bot")
    if is_rich or "<" in text or data["type"] == _THREAD_STARTER:
        return None
    id, name = int(data["id"]), author["global_name"] or author["username"]
    return PastMessage(
        id=id_of(id),
        author="you" if author["id"] == str(me) else name_of_other(name, f"{PLATFORM}:{author['id']}"),
        text=text.strip(),
        sent_at=((id >> 22) + discord.utils.DISCORD_EPOCH) / 1000,
        link=_link(guild, int(data["channel_id"]), id),
        files=tuple([file["filename"] for file in data["attachments"]]) if data.get("attachments") else (),
    )


def _link(guild: str, channel: int, message: int) -> str:
    return f"https://discord.com/channels/{'@me' if guild == DIRECT else guild}/{channel}/{message}"
