"""Reading what people wrote while nobody listened: Discord never sends it again."""

import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Set
from dataclasses import replace
from datetime import UTC, datetime

import discord

from bot.chat import (
    Correction,
    CredentialsRejected,
    Deliver,
    Message,
    PlatformError,
    RateLimited,
    Shared,
    Undeliverable,
    Unreachable,
    working_on,
)
from bot.discord import events
from bot.discord.errors import translated

log = logging.getLogger(__name__)

MOST_DIRECT = 500
"""Direct messages that are looked through, those first that were used last: each takes two requests."""

MOST_ARCHIVED = 100
"""Threads of a guild that are looked for although they are not active, those first that were used last."""

Readable = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.Thread


class History:
    """The past of every channel, thread and direct message that a listening client sees."""

    def __init__(self, client: discord.Client, shared: Shared, bots: Set[str] = frozenset()) -> None:
        self._client = client
        self._shared = shared
        self._bots = bots

    async def read(self, since: float, active_since: float, deliver: Deliver) -> float:
        """Hand over what was written since `since` (Unix seconds), channel by channel, the oldest first.

        See `bot.gap.Read`; threads count that were archived meanwhile. Raises `PlatformError`, that of a
        guild once all others have been read.
        """
        missed = 0.0
        after = datetime.fromtimestamp(since, UTC)
        channels, failure = await self._written_in(after, active_since)
        for channel in channels:
            try:
                found = [each async for each in self._messages(channel, after)]
            except Undeliverable as error:  # the others may still be read
                log.info("a channel is not read", extra={"channel": channel, "reason": str(error)})
                continue
            for event in found:
                missed = max(missed, await self._hand_over(event, deliver))
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
        for thread in await self._shared.active_threads(events.PLATFORM, active_since):
            ours[thread.space].append(int(thread.channel))
        for guild in self._client.guilds:
            try:
                written |= await self._written_in_guild(guild, ours[str(guild.id)], newest)
            except (Undeliverable, CredentialsRejected) as error:  # we are not in it any more, ...
                log.info("a guild is not read", extra={"guild": guild.id, "reason": str(error)})
            except (Unreachable, RateLimited) as error:
                log.warning("a guild cannot be read", extra={"guild": guild.id, "reason": str(error)})
                failure = error
        if self._client.shard_id == 0:
            written |= await self._direct()
        return sorted(written), failure

    async def _written_in_guild(self, guild: discord.Guild, ours: Iterable[int], newest: int) -> set[int]:
        # asked anew: on a connection that is deaf, what the client knows is old
        with translated():
            listed = [*await guild.fetch_channels(), *await guild.active_threads()]
        active = {channel.id for channel in listed}
        others = [each for each in ours if each not in active][:MOST_ARCHIVED]
        archived = [channel for each in others if (channel := await self._found(each))]
        return set(_newer([*listed, *archived], newest))

    async def _found(self, channel: int) -> object | None:
        try:
            with translated():
                return await self._client.fetch_channel(channel)
        except Undeliverable:  # it is gone, or no channel: a chain of replies is named after a message
            return None

    async def _direct(self) -> set[int]:
        """The channels of direct messages, which belong to the first shard.

        Nothing lists them, nor tells which have something new: so these are the ones that we know, however
        long ago somebody wrote there.
        """
        threads = await self._shared.active_threads(events.PLATFORM, 0)
        direct = [int(thread.channel) for thread in threads if thread.space == events.DIRECT]
        return set(direct[:MOST_DIRECT])

    async def _messages(self, channel: int, after: datetime) -> AsyncIterator[Message | Correction]:
        assert self._client.user is not None  # set by login
        with translated():
            place = await self._client.fetch_channel(channel)
            if not isinstance(place, discord.abc.Messageable):
                return
            begin = max(after, _joined_at(place) or after)
            async for message in place.history(limit=None, after=begin, oldest_first=True):
                id = events.id_of(message.id)
                if self._shared.has_hung(id):
                    log.error("event given up, the process has hung on it", extra={"event_id": id})
                    continue
                with working_on(f"event:{id}"):
                    parsed = events.parse(message, self._client.user.id, self._bots)
                    # told as an edit, since the event of that may still come: it must be known to be the same
                    edit = (
                        None
                        if parsed and parsed.bot_ids
                        else events.correction(message, self._client.user.id)
                    )
                if event := edit or parsed:
                    yield event

    async def _hand_over(self, event: Message | Correction, deliver: Deliver) -> float:
        message = event.message if isinstance(event, Correction) else event
        is_known = await self._shared.is_known(message.id)
        if not is_known:
            message = await self._with_roles(message)
        await deliver(replace(event, message=message) if isinstance(event, Correction) else message)
        return 0.0 if is_known or not message.addressed else time.time() - message.sent_at

    async def _with_roles(self, message: Message) -> Message:
        """The message with its author's roles, which the history, unlike the gateway, does not tell."""
        guild = None if message.direct else self._client.get_guild(int(message.thread.space))
        if guild is None or message.bot_ids:
            return message
        try:
            with translated():
                member = await guild.fetch_member(int(message.place["author"]))
        except Undeliverable:  # has left the guild meanwhile
            return message
        return replace(message, roles=events.roles(member))


def _newer(channels: Iterable[object], newest: int) -> Iterable[int]:
    for channel in channels:
        if isinstance(channel, Readable) and (channel.last_message_id or 0) > newest:
            yield channel.id


def _joined_at(channel: object) -> datetime | None:
    """When we came into the channel's guild: what was said before was not said to us."""
    guild = getattr(channel, "guild", None)
    return guild.me.joined_at if isinstance(guild, discord.Guild) else None
