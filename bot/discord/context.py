"""Context of messages: the thread or chain of replies that one is in, and the messages that it links to.

https://discord.com/developers/docs/resources/message#get-channel-messages returns the newest messages first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import discord

from bot.chat import Context, Message, Passage, PastMessage, ReadContext, ReadingRefused
from bot.discord.access import CLOSED, PRIVATE, UNREADABLE, allowed_links
from bot.discord.events import CHAIN, DIRECT, id_of, readable_text
from bot.discord.quotes import past_text
from bot.discord.reader import Reader
from bot.discord.timing import Timing
from bot.platforms import texts
from bot.platforms.context import PassageReading, name_of_other, read_passages

_CHAIN_PAGE = 100
"""Messages among which the chain of replies is looked for: Discord's largest page."""


@dataclass(frozen=True, slots=True)
class Contexts:
    """Contexts of messages; implements `bot.chat.ContextSource`."""

    reader: Reader
    timing: Timing

    def context(self, message: Message, since: str | None) -> ReadContext | None:
        """Return the function that reads the context of a message, or None if there is none."""
        place, kind = message.place, message.place.get("kind")
        reads_thread = since is not None and kind == "thread"
        reads_chain = since is not None and kind == "channel" and CHAIN in place
        if not (reads_thread or reads_chain or allowed_links(place) or {CLOSED, PRIVATE} & place.keys()):
            return None
        after = _number(since or "")
        return partial(self._read, message, after, reads_thread, reads_chain)

    async def _read(
        self, message: Message, after: int, reads_thread: bool, reads_chain: bool, most: int
    ) -> Context:
        place, links = message.place, allowed_links(message.place)
        readings = []
        if reads_thread:
            readings.append(PassageReading(texts.THREAD, self._thread(message, after, most), is_own=True))
        if reads_chain:
            readings.append(PassageReading(texts.CHAIN, self._chain(message, most), is_own=True))
        for channel, id, is_thread in links:
            wanted = max(most // len(links), 1) if is_thread else 1
            if str(channel) == message.channel and is_thread:
                continue  # the link leads into this conversation
            readings.append(
                PassageReading(texts.LINKED, self._linked(message.thread.space, channel, id, wanted))
            )
        if CLOSED in place:
            readings.append(PassageReading(texts.LINKED, _refuse(texts.NO_MEMBER)))
        if PRIVATE in place:
            readings.append(PassageReading(texts.LINKED, _refuse(texts.PRIVATE_CHANNEL)))
        return await read_passages(readings, "Discord", self.timing.context_timeout)

    async def _thread(self, message: Message, after: int, most: int) -> Passage:
        if UNREADABLE in message.place:
            raise ReadingRefused(texts.NO_MEMBER)
        source, before = "this conversation, before this message", int(message.place["message"])
        return await passage_of(
            self.reader, message.thread.space, source, int(message.channel), before, most, after
        )

    async def _linked(self, guild: str, channel: int, message: int, most: int) -> Passage:
        passage = await passage_of(self.reader, guild, "the linked conversation", channel, message + 1, most)
        if not passage.messages or passage.messages[-1].id != id_of(message):
            raise ReadingRefused(texts.MESSAGES_GONE)
        return replace(passage, is_cut=passage.is_cut and most > 1)

    async def _chain(self, message: Message, most: int) -> Passage:
        """Return the messages that lead to the one that is replied to, which a quote has already."""
        if UNREADABLE in message.place:
            raise ReadingRefused(texts.NO_MEMBER)
        link: int | None = int(message.place[CHAIN])
        assert link is not None
        page = {
            each.id: each for each in await self.reader.history(int(message.channel), link + 1, _CHAIN_PAGE)
        }
        chain: list[discord.Message] = []
        while link in page and len(chain) < most:
            chain.append(page[link])
            reference = page.pop(link).reference
            link = reference.message_id if reference else None
        me, guild = await self.reader.user_id(), message.thread.space
        past = [_past(each, me, guild) for each in reversed(chain)]
        source = "the earlier messages of this chain of replies"
        return Passage(source=source, messages=tuple(past), is_cut=link is not None)


async def passage_of(
    reader: Reader, guild: str, source: str, channel: int, before: int | None, most: int, after: int = 0
) -> Passage:
    """Return the newest messages of a channel of a server (or `dm`) before an id.

    With `after` only later ones, without the bot's own: the agent knows its answers. Raises `PlatformError`.
    """
    found = await reader.history(channel, before, most)
    me = await reader.user_id()
    new = [
        each
        for each in found
        if each.id > after and each.type in _WRITTEN and not (after and each.author.id == me)
    ]
    is_cut = len(found) == most and all(each.id > after for each in found)
    return Passage(source=source, messages=tuple(_past(each, me, guild) for each in new), is_cut=is_cut)


async def _refuse(reason: str) -> Passage:
    raise ReadingRefused(reason)


_WRITTEN: Sequence[discord.MessageType] = (
    discord.MessageType.default,
    discord.MessageType.reply,
    discord.MessageType.chat_input_command,
    discord.MessageType.context_menu_command,
    discord.MessageType.thread_starter_message,
)


def _number(id: str) -> int:
    """Return the number in a message's id (`discord:123`); 0 if it has none."""
    number = id.split(":")[1:2]
    return int(number[0]) if number and number[0].isdecimal() else 0


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
