"""Audience of a conversation. https://docs.slack.dev/reference/objects/conversation-object"""

import asyncio
import logging
import time
from collections.abc import Mapping

from bot.chat import Audience, Json, Message, PlatformError
from bot.slack.api import SlackApi
from bot.slack.timing import Timing

log = logging.getLogger(__name__)

_MOST_KNOWN = 1_000


class Audiences:
    """Audiences of channels: known from the message, or looked up and cached."""

    def __init__(self, api: SlackApi, timing: Timing) -> None:
        self._api = api
        self._timing = timing
        self._entries: dict[str, tuple[float, Audience]] = {}

    async def of(self, message: Message) -> Audience:
        """Return the audience of a message. Guests of the workspace count as members."""
        if reaches_outsiders(message):
            return "outsiders"
        match message.place.get("channel_kind"):
            case "im" | "group" | "mpim":
                return "members"
            case "channel":
                return "everyone"
            case _:
                return await self.of_channel(message.thread.channel)

    def is_known(self, channel: str) -> bool:
        """Return whether the audience of a channel takes no look-up now."""
        return self._entries.get(channel, (0.0, ""))[0] > time.monotonic()

    async def of_channel(self, channel: str) -> Audience:
        """Return the audience of a channel as Slack describes it; `outsiders` if it does not."""
        until, audience = self._entries.get(channel, (0.0, "outsiders"))
        if until > time.monotonic():
            return audience
        seconds = self._timing.audience_max_age
        try:
            async with asyncio.timeout(self._timing.audience_timeout):
                answer = await self._api.read("conversations.info", channel=channel)
            audience = _audience(answer.get("channel") or {})
        except (PlatformError, TimeoutError) as error:
            log.info("audience not determined", extra={"channel": channel, "error": repr(error)})
            seconds, audience = self._timing.unknown_audience_max_age, "outsiders"
        if len(self._entries) >= _MOST_KNOWN:
            self._entries.pop(next(iter(self._entries)))
        self._entries[channel] = (time.monotonic() + seconds, audience)
        return audience


def reaches_outsiders(message: Message) -> bool:
    """Return whether people of other organisations may read the answer to a message."""
    place, team = message.place, message.thread.space
    return bool(place.get("shared")) or place.get("user_team", team) != team


def _audience(channel: Mapping[str, Json]) -> Audience:
    if channel.get("is_ext_shared", True):
        return "outsiders"
    if channel.get("is_channel") and not channel.get("is_private", True) and not channel.get("is_mpim"):
        return "everyone"
    return "members"
