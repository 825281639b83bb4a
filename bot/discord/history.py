"""Reading what people wrote while nobody listened: Discord never sends it again."""

import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
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
from bot.discord.errors import Unreadable, translate_errors
from bot.discord.payloads import Payload

log = logging.getLogger(__name__)

MOST_DIRECT = 500
"""Direct messages that are looked through, those first that were used last: each takes two requests."""

MOST_ARCHIVED = 100
"""Threads of a guild that are looked for although they are not active, those first that were used last."""

PAGE = 100
"""Messages that Discord gives at a time."""

_WITH_MESSAGES = frozenset({0, 2, 5, 10, 11, 12, 13})
"""Text, voice, announcements, three kinds of threads, stages
(https://discord.com/developers/docs/resources/channel#channel-object-channel-types)."""

Parse = Callable[[Payload, object], Message | Correction | None]
"""Reads a message of a channel; None when it does not concern the bot."""


class History:
    """The past of every channel, thread and direct message that a listening client sees."""

    def __init__(self, client: discord.Client, lookup: InboxLookup, parse: Parse) -> None:
        self._client = client
        self._lookup = lookup
        self._parse = parse

    async def read(self, since: float, active_since: float, deliver: Deliver) -> float:
        """Hand over what was written since `since` (Unix seconds), channel by channel, the oldest first.

        See `bot.platforms.catch_up.Read`; threads count that were archived meanwhile. Raises `PlatformError`,
        that of a guild or a channel once all others have been read.
        """
        missed = 0.0
        authors: dict[str, dict[str, Any]] = {}
        after = datetime.fromtimestamp(since, UTC)
        channels, failure = await self._written_in(after, active_since)
        for channel in channels:
            try:
                found = [each async for each in self._messages(channel, after)]
            except (Undeliverable, Unreadable) as error:  # the others may still be read
                log.info("a channel is not read", extra={"channel": channel, "reason": str(error)})
                continue
            except (Unreachable, RateLimited) as error:
                log.warning("a channel cannot be read", extra={"channel": channel, "reason": str(error)})
                failure = error
                continue
            for event in found:
                missed = max(missed, await self._hand_over(event, deliver, authors))
        if failure:
            raise failure
        return missed

    async def _written_in(
        self, after: datetime, active_since: float
    ) -> tuple[list[int], PlatformError | None]:
        """The channels that may hold something new, and what kept us from asking for all of them."""
        newest = discord.utils.time_snowflake(after, high=False)
        written: set[int] = set()
        failure: PlatformError | None = None
        ours: defaultdict[str, list[int]] = defaultdict(list)
        for thread in await self._lookup.active_threads(events.PLATFORM, active_since):
            ours[thread.space].append(int(thread.channel))
        for guild in self._client.guilds:
            try:
                written |= await self._written_in_guild(guild, ours[str(guild.id)], newest)
            except (
                Undeliverable,
                CredentialsRejected,
                Unreadable,
            ) as error:  # we are not in it any more, ...
                log.info("a guild is not read", extra={"guild": guild.id, "reason": str(error)})
            except (Unreachable, RateLimited) as error:
                log.warning("a guild cannot be read", extra={"guild": guild.id, "reason": str(error)})
                failure = error
        if self._client.shard_id == 0:
            written |= await self._direct()
        return sorted(written), failure

    async def _written_in_guild(self, guild: discord.Guild, ours: Iterable[int], newest: int) -> set[int]:
        # asked anew: on a connection that is deaf, what the client knows is old
        http: Any = self._client.http  # what it answers is taken as it is: one channel may be unreadable
        with translate_errors(reading=True):
            channels, threads = (
                _as_list(await http.get_all_guild_channels(guild.id)),
                await http.get_active_threads(guild.id),
            )
            listed: list[Payload] = [*channels, *threads["threads"]]
            active = {str(channel.get("id")) for channel in listed}
        others = [each for each in ours if str(each) not in active][:MOST_ARCHIVED]
        archived = [channel for each in others if (channel := await self._found(each))]
        return set(_newer([*listed, *archived], newest))

    async def _found(self, channel: int) -> Payload | None:
        http: Any = self._client.http
        try:
            with translate_errors(reading=True):
                found: Payload = await http.get_channel(channel)
                return found
        except (
            Undeliverable,
            Unreadable,
        ):  # it is gone, or no channel: a chain of replies is named after a message
            return None

    async def _direct(self) -> set[int]:
        """The channels of direct messages, which belong to the first shard.

        Nothing lists them, nor tells which have something new: so these are the ones that we know, however
        long ago somebody wrote there.
        """
        threads = await self._lookup.active_threads(events.PLATFORM, 0)
        direct = [int(thread.channel) for thread in threads if thread.space == events.DIRECT]
        return set(direct[:MOST_DIRECT])

    async def _messages(self, channel: int, after: datetime) -> AsyncIterator[Message | Correction]:
        with translate_errors(reading=True):
            place = await self._client.fetch_channel(channel)
            if not isinstance(place, discord.abc.Messageable):
                return
            begin = max(after, _joined_at(place) or after)
            async for data in self._payloads(channel, discord.utils.time_snowflake(begin, high=False)):
                if event := self._read(data, place):
                    yield event

    async def _payloads(self, channel: int, after: int) -> AsyncIterator[Payload]:
        """The messages of a channel after an id, the oldest first."""
        http: Any = self._client.http
        while page := _as_list(await http.logs_from(channel, PAGE, after=after)):
            for data in reversed(page):
                yield data
            newest = max(map(_id, page))
            if len(page) < PAGE or newest <= after:
                return
            after = newest

    def _read(self, data: Payload, place: object) -> Message | Correction | None:
        """Read one message; one that cannot be read is skipped, since it never could be."""
        try:
            return self._parse(data, place)
        except Exception as error:
            log.warning("message of the history not read", exc_info=error)
            return None

    async def _hand_over(
        self, event: Message | Correction, deliver: Deliver, authors: dict[str, dict[str, Any]]
    ) -> float:
        message = event.message if isinstance(event, Correction) else event
        is_known = await self._lookup.is_known(message.id)
        if not is_known or isinstance(event, Correction):
            message = await self._with_author(message, authors)
        await deliver(replace(event, message=message) if isinstance(event, Correction) else message)
        return 0.0 if is_known or not message.addressed else time.time() - message.sent_at

    async def _with_author(self, message: Message, authors: dict[str, dict[str, Any]]) -> Message:
        """Return the message with what the history, unlike the gateway, does not say of its author.

        `authors` holds what is known already: somebody may have written thousands of messages.
        """
        guild = None if message.direct else self._client.get_guild(int(message.thread.space))
        if guild is None or message.bot_ids:
            return message
        name = f"{guild.id} {message.author}"
        if name not in authors:
            authors[name] = await _described(guild, int(message.place["author"]))
        return replace(message, **authors[name])


async def _described(guild: discord.Guild, user: int) -> dict[str, Any]:
    """Return the fields of a message that say who its author is: the roles, and whether it is a guest.

    Somebody who is not in the guild any more counts as a guest: guests leave it with the voice channel.
    """
    try:
        with translate_errors(reading=True):
            member = await guild.fetch_member(user)
    except Unreadable:
        return {}
    except Undeliverable:
        return {"is_guest": True}
    return {"roles": events.roles(member), "is_guest": events.is_guest(member)}


def _as_list(answer: Any) -> list[Payload]:
    """Return a list that Discord has answered with. Raises `Unreachable` for the page of a proxy."""
    if not isinstance(answer, list):
        raise Unreachable("Discord's API answers with something other than its data")
    return answer


def _id(data: Payload) -> int:
    """The id of a message; 0 where it cannot be read."""
    try:
        return int(data["id"])
    except (LookupError, TypeError, ValueError):
        return 0


def _newer(channels: Iterable[Payload], newest: int) -> Iterable[int]:
    for channel in channels:
        match channel:
            case {"id": id, "type": int(type), "last_message_id": str(last)} if type in _WITH_MESSAGES:
                if last.isdecimal() and int(last) > newest and str(id).isdecimal():
                    yield int(id)


def _joined_at(channel: object) -> datetime | None:
    """When we came into the channel's guild: what was said before was not said to us."""
    guild = getattr(channel, "guild", None)
    return guild.me.joined_at if isinstance(guild, discord.Guild) else None
