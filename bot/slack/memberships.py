"""Channels that users are in, as https://docs.slack.dev/reference/methods/users.conversations lists them.

A list is long, and few are requested a minute (`bot.slack.rate_limits`), so that each is used for a while.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bot.chat import Json, Message, RateLimited
from bot.slack.api import SlackApi, pages
from bot.slack.audience import reaches_outsiders
from bot.slack.block_text import word
from bot.slack.rate_limits import RateLimits
from bot.slack.timing import Timing

_METHOD = "users.conversations"
_KINDS = "public_channel,private_channel,mpim"

_MOST_KNOWN = 200
"""Most users whose channels are kept."""

_LEFT_TO_TURNS = 10
"""Lists per minute that are left to links in messages: the Home tab, and the hint about what a user has open,
do without one rather than delay an answer."""


class ListedChannel(NamedTuple):
    """Channel as it is listed for one of its members."""

    id: str
    name: str
    is_public: bool


def is_open(message: Message, channel: ListedChannel) -> bool:
    """Return whether what is in a channel can be told where a message was written.

    In a channel everybody reads the answer, so only public channels are open there. Where people of other
    organisations read it, only that channel is.
    """
    if channel.id == message.thread.channel:
        return True
    return not reaches_outsiders(message) and (message.direct or channel.is_public)


@dataclass(slots=True)
class _Entry:
    """List that was made for a message; valid until a time (monotonic seconds)."""

    message_id: str = ""
    until: float = 0.0
    channels: Sequence[ListedChannel] = ()
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Memberships:
    """Channels of the authors of messages."""

    # What can a list that is a minute old reveal to somebody who has left a channel since? Nothing: one that
    # was made for an earlier message is used only where everybody in a channel reads the answer. There it
    # opens only public channels, and only to full members of the workspace, who can read all of them anyway.
    # For a direct message, where private channels count, and for a guest the list is made after they asked.

    def __init__(self, api: SlackApi, limits: RateLimits, timing: Timing) -> None:
        self._api = api
        self._limits = limits
        self._timing = timing
        self._entries: dict[tuple[str, str], _Entry] = {}

    async def of(self, message: Message, *, since_asked: bool = False) -> Sequence[ListedChannel]:
        """Return the channels that a message's author is in and the bot may know of.

        `since_asked`: as they are listed after the message was written. Raises `PlatformError`.
        """
        entry = self._entry(message.thread.space, message.place["user"])
        since_asked = since_asked or message.direct or message.is_external
        async with entry.lock:  # links of one message are read side by side
            is_late = entry.message_id != message.id and since_asked
            if is_late or entry.until <= time.monotonic():
                entry.channels = await self._list(message.thread.space, message.place["user"])
                entry.message_id = message.id
                entry.until = time.monotonic() + self._timing.memberships_max_age
            return entry.channels

    async def find(
        self, message: Message, is_wanted: Callable[[ListedChannel], bool]
    ) -> ListedChannel | None:
        """Return a channel that a message's author is in; they may just have joined it.

        Raises `PlatformError`.
        """
        for since_asked in (False, True):
            channels = await self.of(message, since_asked=since_asked)
            if found := next(filter(is_wanted, channels), None):
                return found
        return None

    async def known_now(self, team: str, user: str) -> Sequence[ListedChannel]:
        """Return a user's channels without waiting for a rate limit; the list may be a minute old.

        Enough where it reveals no more than the name of a channel. Raises `PlatformError`.
        """
        entry = self._entry(team, user)
        async with entry.lock:
            if entry.until <= time.monotonic():
                if seconds := await self._limits.delay(team, _METHOD, leave=_LEFT_TO_TURNS):
                    raise RateLimited(f"Slack's rate limit of {_METHOD} is reached", seconds)
                entry.channels = await self._list(team, user, is_counted=True)
                entry.message_id = ""
                entry.until = time.monotonic() + self._timing.memberships_max_age
            return entry.channels

    def _entry(self, team: str, user: str) -> _Entry:
        entry = self._entries.get((team, user))
        if entry is None:
            if len(self._entries) >= _MOST_KNOWN:
                self._entries.pop(next(iter(self._entries)))
            entry = self._entries[team, user] = _Entry()
        return entry

    async def _list(self, team: str, user: str, *, is_counted: bool = False) -> Sequence[ListedChannel]:
        """List the channels of a user; `is_counted`: the first page is counted already."""

        async def call(method: str, **arguments: str | int) -> Mapping[str, Json]:
            if not is_counted or "cursor" in arguments:
                await self._limits.wait(team, method, most=self._timing.longest_rate_limit)
            return await self._api.read(method, **arguments)

        listed = pages(call, _METHOD, "channels", types=_KINDS, user=user)
        return [
            ListedChannel(word(each.get("id")), word(each.get("name")), each.get("is_private") is False)
            async for each in listed
        ]
