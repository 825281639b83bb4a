"""Channel history: messages written while the bot was not connected, which Discord never sends again."""

import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import discord

from bot.chat import (
    Correction,
    CredentialsRejected,
    Deliver,
    InboxLookup,
    Message,
    PlatformError,
    RateLimited,
    Undeliverable,
    Unreachable,
)
from bot.discord import events
from bot.discord.access import ACCESS_FIELDS, access_fields
from bot.discord.errors import Unreadable, translate_errors
from bot.discord.payloads import Payload

log = logging.getLogger(__name__)

MOST_DIRECT = 500
"""Most channels of direct messages that are read, the latest first: each takes two requests."""

MOST_ARCHIVED = 100
"""Most archived threads of a guild that are looked up, the latest first."""

PAGE = 100
"""Messages that Discord returns per request."""

_FORUMS = frozenset({15, 16})
"""Forums and media channels: their posts are threads, the newest one is their last message."""

_WITH_MESSAGES = frozenset({0, 2, 5, 10, 11, 12, 13})
"""Text, voice, announcements, three kinds of threads, stages
(https://discord.com/developers/docs/resources/channel#channel-object-channel-types)."""

Parse = Callable[[Payload, object], Message | Correction | None]
"""Function that reads a message of a channel; returns None if it does not concern the bot."""


@dataclass(frozen=True, slots=True)
class _Author:
    """Author of messages: fields of `Message`, and the member, if the guild knows them."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    member: discord.Member | None = None


class History:
    """History of all channels, threads and direct messages that a listening client sees."""

    def __init__(self, client: discord.Client, lookup: InboxLookup, parse: Parse) -> None:
        self._client = client
        self._lookup = lookup
        self._parse = parse

    async def read(self, since: float, active_since: float, deliver: Deliver) -> float:
        """Deliver what was written after `since` (Unix seconds), channel by channel, oldest first.

        Implements `bot.platforms.catch_up.Read`; threads that were archived meanwhile are included. Raises
        the `PlatformError` of a guild or a channel after all others were read.
        """
        missed = 0.0
        authors: dict[str, _Author] = {}
        after = datetime.fromtimestamp(since, UTC)
        channels, failure = await self._active_channels(after, active_since)
        for channel in channels:
            try:
                found = [each async for each in self._messages(channel, after)]
            except (Undeliverable, Unreadable) as error:  # the others may still be read
                log.info("channel skipped", extra={"channel": channel, "reason": str(error)})
                continue
            except (Unreachable, RateLimited) as error:
                log.warning("channel not read", extra={"channel": channel, "reason": str(error)})
                failure = error
                continue
            for event in found:
                missed = max(missed, await self._hand_over(event, deliver, authors))
        if failure:
            raise failure
        return missed

    async def _active_channels(
        self, after: datetime, active_since: float
    ) -> tuple[list[int], PlatformError | None]:
        """Return the channels with possible new messages, and an error if some could not be listed."""
        newest = discord.utils.time_snowflake(after, high=False)
        written: set[int] = set()
        failure: PlatformError | None = None
        ours: defaultdict[str, list[int]] = defaultdict(list)
        for thread in await self._lookup.active_threads(events.PLATFORM, active_since):
            ours[thread.space].append(int(thread.channel))
        for guild in self._client.guilds:
            try:
                written |= await self._active_channels_of(guild, ours[str(guild.id)], newest)
            except (
                Undeliverable,
                CredentialsRejected,
                Unreadable,
            ) as error:  # the bot was removed from it, ...
                log.info("guild skipped", extra={"guild": guild.id, "reason": str(error)})
            except (Unreachable, RateLimited) as error:
                log.warning("guild not read", extra={"guild": guild.id, "reason": str(error)})
                failure = error
        if self._client.shard_id == 0:
            written |= await self._direct()
        return sorted(written), failure

    async def _active_channels_of(self, guild: discord.Guild, ours: Iterable[int], newest: int) -> set[int]:
        # requested again: if the connection receives no events, the client's data is old
        http: Any = self._client.http  # raw data, because one channel may be unreadable
        with translate_errors(is_reading=True):
            channels, threads = (
                _as_list(await http.get_all_guild_channels(guild.id)),
                await http.get_active_threads(guild.id),
            )
            listed: list[Payload] = [*channels, *threads["threads"]]
            active = {str(channel.get("id")) for channel in listed}
        others = [each for each in ours if str(each) not in active][:MOST_ARCHIVED]
        archived = [channel for each in others if (channel := await self._fetch_channel(each))]
        for forum in _newer(listed, newest, _FORUMS):
            archived += await self._archived_posts(forum)
        return set(_newer([*listed, *archived], newest, _WITH_MESSAGES))

    async def _archived_posts(self, forum: int) -> list[Payload]:
        """Return the newest archived posts of a forum: somebody may have closed one before it was read."""
        http: Any = self._client.http
        try:
            with translate_errors(is_reading=True):
                found: Payload = await http.get_public_archived_threads(forum, limit=MOST_ARCHIVED)
                return list(found["threads"])
        except (Undeliverable, Unreadable) as error:
            log.info("archived posts not listed", extra={"channel": forum, "reason": str(error)})
            return []

    async def _fetch_channel(self, channel: int) -> Payload | None:
        http: Any = self._client.http
        try:
            with translate_errors(is_reading=True):
                found: Payload = await http.get_channel(channel)
                return found
        except (
            Undeliverable,
            Unreadable,
        ):  # it was deleted, or is not a channel: a chain of replies has the id of a message
            return None

    async def _direct(self) -> set[int]:
        """Return the known channels of direct messages, which belong to the first shard.

        Discord does not list them, and does not say which have new messages, so all known ones are returned.
        """
        threads = await self._lookup.active_threads(events.PLATFORM, 0)
        direct = [int(thread.channel) for thread in threads if thread.space == events.DIRECT]
        return set(direct[:MOST_DIRECT])

    async def _messages(self, channel: int, after: datetime) -> AsyncIterator[Message | Correction]:
        with translate_errors(is_reading=True):
            place = await self._client.fetch_channel(channel)
            if not isinstance(place, discord.abc.Messageable):
                return
            begin = max(after, _join_time(place) or after)
            async for data in self._payloads(channel, discord.utils.time_snowflake(begin, high=False)):
                if event := self._read(data, place):
                    yield event

    async def _payloads(self, channel: int, after: int) -> AsyncIterator[Payload]:
        """Yield the messages of a channel after an id, oldest first."""
        http: Any = self._client.http
        while page := _as_list(await http.logs_from(channel, PAGE, after=after)):
            for data in reversed(page):
                yield data
            newest = max(map(_id, page))
            if len(page) < PAGE or newest <= after:
                return
            after = newest

    def _read(self, data: Payload, place: object) -> Message | Correction | None:
        """Read one message; skip it if it cannot be read, since it never will be readable."""
        try:
            return self._parse(data, place)
        except Exception as error:  # discord.py indexes raw JSON; the other messages must still be answered
            log.warning("history message not read", exc_info=error)
            return None

    async def _hand_over(
        self, event: Message | Correction, deliver: Deliver, authors: "dict[str, _Author]"
    ) -> float:
        message = event.message if isinstance(event, Correction) else event
        is_known = await self._lookup.is_known(message.id)
        if not is_known or isinstance(event, Correction):
            message = await self._with_author(message, authors)
        await deliver(replace(event, message=message) if isinstance(event, Correction) else message)
        return 0.0 if is_known or not message.addressed else time.time() - message.sent_at

    async def _with_author(self, message: Message, authors: "dict[str, _Author]") -> Message:
        """Return the message with details of its author, which the history lacks, unlike the gateway.

        `authors` caches them: one user may have written thousands of messages.
        """
        guild = None if message.direct else self._client.get_guild(int(message.thread.space))
        if guild is None or message.bot_ids:
            return message
        name = f"{guild.id} {message.author}"
        if name not in authors:
            authors[name] = await _find_author(guild, int(message.place["author"]))
        author = authors[name]
        place = {name: value for name, value in message.place.items() if name not in ACCESS_FIELDS}
        needs_history = message.place["kind"] == "thread" or events.CHAIN in message.place
        place |= access_fields(message.text, author.member, int(message.channel), needs_history=needs_history)
        return replace(message, place=place, **author.fields)


async def _find_author(guild: discord.Guild, user: int) -> "_Author":
    """Return what the guild knows of an author.

    A user who has left the guild counts as a guest: guests leave it with the voice channel.
    """
    try:
        with translate_errors(is_reading=True):
            member = await guild.fetch_member(user)
    except Unreadable:
        return _Author()
    except Undeliverable:
        return _Author({"is_guest": True})
    return _Author({"roles": events.roles(member), "is_guest": events.is_guest(member)}, member)


def _as_list(answer: Any) -> list[Payload]:
    """Return Discord's answer as a list. Raises `Unreachable` for a proxy's page."""
    if not isinstance(answer, list):
        raise Unreachable("Discord's API did not return a list")
    return answer


def _id(data: Payload) -> int:
    """Return the id of a message; 0 if it cannot be read."""
    try:
        return int(data["id"])
    except (LookupError, TypeError, ValueError):
        return 0


def _newer(channels: Iterable[Payload], newest: int, types: Set[int]) -> Iterable[int]:
    """Yield the channels of some types in which something was written after an id."""
    for channel in channels:
        match channel:
            case {"id": id, "type": int(type), "last_message_id": str(last)} if type in types:
                if last.isdecimal() and int(last) > newest and str(id).isdecimal():
                    yield int(id)


def _join_time(channel: object) -> datetime | None:
    """Return when the bot joined the channel's guild: earlier messages were not for it."""
    guild = getattr(channel, "guild", None)
    return guild.me.joined_at if isinstance(guild, discord.Guild) else None
