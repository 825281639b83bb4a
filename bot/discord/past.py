"""Earlier messages of channels and threads, as users read them.

https://discord.com/developers/docs/resources/message#get-channel-messages returns the newest messages first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import discord

from bot.chat import Passage, PastMessage
from bot.discord.events import DIRECT, id_of, readable_text
from bot.discord.names import Names
from bot.discord.quotes import past_text
from bot.discord.reader import Reader
from bot.platforms.context import name_of_other

_WRITTEN: Sequence[discord.MessageType] = (
    discord.MessageType.default,
    discord.MessageType.reply,
    discord.MessageType.chat_input_command,
    discord.MessageType.context_menu_command,
    discord.MessageType.thread_starter_message,
)


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
        me = await self.reader.user_id()
        new = [
            each
            for each in found
            if each.id > after and each.type in _WRITTEN and not (after and each.author.id == me)
        ]
        is_cut = len(found) == most and (not after or all(each.id > after for each in found))
        return Passage(source=source, messages=await self.messages(guild, new), is_cut=is_cut)

    async def messages(self, guild: str, found: Sequence[discord.Message]) -> tuple[PastMessage, ...]:
        """Return messages with names in place of ids."""
        me = await self.reader.user_id()
        past = [_past(each, me, guild) for each in found]
        texts = await self.names.readable(guild, [each.text for each in past])
        return tuple(
            each if text == each.text else replace(each, text=text)
            for each, text in zip(past, texts, strict=True)
        )


def _past(message: discord.Message, me: int, guild: str) -> PastMessage:
    if message.type is discord.MessageType.thread_starter_message:
        started = message.reference.resolved if message.reference else None
        message = started if isinstance(started, discord.Message) else message
    space = "@me" if guild == DIRECT else guild
    return PastMessage(
        id=id_of(message.id),
        author="you" if message.author.id == me else name_of_other(message.author.display_name),
        text=past_text(message, readable_text(message, me)),
        sent_at=message.created_at.timestamp(),
        link=f"https://discord.com/channels/{space}/{message.channel.id}/{message.id}",
        files=tuple(file.filename for file in message.attachments),
    )
