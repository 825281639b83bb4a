"""Context of messages: the thread or chain of replies that one is in, and the messages that it links to."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import discord

from bot.chat import Context, Message, Passage, ReadContext, ReadingRefused, Since
from bot.discord import texts as discord_texts
from bot.discord.access import CLOSED, NO_HISTORY, PRIVATE, UNREADABLE, allowed_links
from bot.discord.events import CHAIN, id_of
from bot.discord.past import PastMessages
from bot.discord.reader import PastPayload
from bot.discord.timing import Timing
from bot.platforms import texts
from bot.platforms.context import PassageReading, read_passages

_CHAIN_PAGE = 100
"""Messages among which the chain of replies is looked for: Discord's largest page."""


@dataclass(frozen=True, slots=True)
class Contexts:
    """Contexts of messages; implements `bot.chat.ContextSource`."""

    past: PastMessages
    timing: Timing

    def context(self, message: Message, since: Since | None) -> ReadContext | None:
        """Return the function that reads the context of a message, or None if there is none."""
        place, kind = message.place, message.place.get("kind")
        reads_thread = since is not None and kind == "thread"
        reads_chain = since is not None and kind == "channel" and CHAIN in place
        if not (reads_thread or reads_chain or allowed_links(place) or {CLOSED, PRIVATE} & place.keys()):
            return None
        after = _begin(since) if since else 0
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
            linked = self._linked(message.thread.space, channel, id, wanted)
            readings.append(PassageReading(texts.LINKED, linked))
        if CLOSED in place:
            readings.append(PassageReading(texts.LINKED, _refuse(texts.NO_MEMBER)))
        if PRIVATE in place:
            readings.append(PassageReading(texts.LINKED, _refuse(texts.PRIVATE_CHANNEL)))
        return await read_passages(readings, "Discord", self.timing.context_timeout)

    async def _thread(self, message: Message, after: int, most: int) -> Passage:
        _require_history(message)
        source, before = "this conversation, before this message", int(message.place["message"])
        guild, channel = message.thread.space, int(message.channel)
        return await self.past.passage(guild, source, channel, before, most, after)

    async def _linked(self, guild: str, channel: int, message: int, most: int) -> Passage:
        passage = await self.past.passage(guild, "the linked conversation", channel, message + 1, most)
        if not passage.messages or passage.messages[-1].id != id_of(message):
            raise ReadingRefused(texts.MESSAGES_GONE)
        return replace(passage, is_cut=passage.is_cut and most > 1)

    async def _chain(self, message: Message, most: int) -> Passage:
        """Return the messages that lead to the one that is replied to, which a quote has already."""
        _require_history(message)
        link: int | None = int(message.place[CHAIN])
        assert link is not None
        found = await self.past.reader.history(int(message.channel), link + 1, _CHAIN_PAGE)
        page = {each.id: each for each in found}
        chain: list[PastPayload] = []
        while link in page and len(chain) < most:
            chain.append(page.pop(link))
            link = chain[-1].replied_to
        messages = await self.past.messages(message.thread.space, chain[::-1])
        source = "the earlier messages of this chain of replies"
        return Passage(source=source, messages=messages, is_cut=link is not None)


def _require_history(message: Message) -> None:
    """Raise `ReadingRefused` if the author, or the bot, cannot read the history of the channel."""
    if UNREADABLE in message.place:
        raise ReadingRefused(texts.NO_MEMBER)
    if NO_HISTORY in message.place:
        raise ReadingRefused(discord_texts.NO_HISTORY)


async def _refuse(reason: str) -> Passage:
    raise ReadingRefused(reason)


def _begin(since: Since) -> int:
    """Return the number after which is read, 0 for the begin of a thread; an id is `discord:123`."""
    number = "".join(since.after.split(":")[1:2])
    just_before = discord.utils.time_snowflake(datetime.fromtimestamp(since.at, UTC)) - 1 if since.at else 0
    return min(filter(None, (int(number) if number.isdecimal() else 0, just_before)), default=0)
