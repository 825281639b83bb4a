"""Archive of a server for one user: messages of channels that they can read, and members.

https://discord.com/developers/docs/resources/guild#search-guild-members
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.chat import Message, Passage, PastMessage, Person, ReadingRefused
from bot.discord.events import DIRECT
from bot.discord.past import PastMessages
from bot.discord.permissions import can_read, everyone_can_read
from bot.discord.readable import linked_messages
from bot.platforms import texts
from bot.platforms.archive import contains_all, words_of

_HERE = frozenset({"", "here", "this", "thread", "this thread", "this conversation"})
_TEXT_CHANNELS = frozenset({0, 5})
_THREADS = frozenset({10, 11})
"""Types of channels: text and announcements, their threads. Others, also private threads, are not read."""

_SEARCHED = 100
"""Newest messages of a channel that are searched: Discord's largest page."""

_MOST_PEOPLE = 10


@dataclass(frozen=True, slots=True)
class DiscordArchive:
    """Implements `bot.chat.Archive` for the author of `message`."""

    past: PastMessages
    message: Message

    async def read(self, place: str, most: int) -> Passage:
        """Return the newest messages of a linked thread or channel, or of this thread."""
        wanted = place.strip()
        if wanted.casefold() in _HERE:
            return await self._here(most)
        for guild, channel, message in linked_messages(wanted):
            if guild != self.message.thread.space:
                raise ReadingRefused(texts.NO_MEMBER)
            await self._require_access(int(guild), channel)
            return await self.past.passage(guild, "the linked conversation", channel, message + 1, most)
        raise ReadingRefused(texts.NO_LINK)

    async def _here(self, most: int) -> Passage:
        guild, channel = self.message.thread.space, await self._own_channel()
        return await self.past.passage(guild, "this conversation", channel, None, most)

    async def _own_channel(self) -> int:
        """Return the channel of the message; Raises `ReadingRefused` if its author cannot read it."""
        channel = int(self.message.channel)
        if self.message.thread.space != DIRECT:
            await self._require_access(int(self.message.thread.space), channel, is_own=True)
        return channel

    async def _require_access(self, guild: int, channel: int, *, is_own: bool = False) -> None:
        """Raise `ReadingRefused` unless the author can read a channel, and so can the answer's readers.

        In a channel everybody reads the answer, so that other channels must be open to all members.
        """
        described = await self.past.reader.channel(channel)
        if described.get("type") in _THREADS:
            described = await self.past.reader.channel(int(described["parent_id"]))
        elif described.get("type") not in _TEXT_CHANNELS:
            raise ReadingRefused(texts.NO_MEMBER)
        if str(described.get("guild_id")) != str(guild):
            raise ReadingRefused(texts.NO_MEMBER)
        server = await self.past.reader.guild(guild)
        member = await self.past.reader.member(guild, int(self.message.place["author"]))
        if not can_read(server, member, described):
            raise ReadingRefused(texts.NO_MEMBER)
        if not (is_own or everyone_can_read(server, described)):
            raise ReadingRefused(texts.PRIVATE_CHANNEL)

    async def search(self, query: str, channel: str, most: int) -> Sequence[PastMessage]:
        """Return the messages of this conversation that match, the newest first: Discord offers no search."""
        if channel:
            found = await self.read(channel, _SEARCHED)
        else:
            found = await self._here(_SEARCHED)
        words = words_of(query)
        matching = [each for each in found.messages if contains_all(f"{each.author} {each.text}", words)]
        return matching[::-1][:most]

    async def find_people(self, name: str) -> Sequence[Person]:
        """Return members of the server whose names begin with the words."""
        if self.message.thread.space == DIRECT:
            raise ReadingRefused(texts.NO_MEMBERS)
        guild = int(self.message.thread.space)
        found = await self.past.reader.find_members(guild, name.strip(), _MOST_PEOPLE)
        return [
            Person(
                name=str(each.get("nick") or each["user"].get("global_name") or each["user"]["username"]),
                full_name=str(each["user"]["username"]),
            )
            for each in found
        ]
