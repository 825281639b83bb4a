"""Readable names for the ids in texts: users, channels and groups.

https://docs.slack.dev/messaging/formatting-message-text. An id whose name Slack does not tell stays as it is.
"""

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from weakref import WeakValueDictionary

from bot.chat import (
    Correction,
    CredentialsRejected,
    Deliver,
    Event,
    Json,
    Message,
    NameKind,
    PlatformError,
    RateLimited,
    Unreachable,
)
from bot.platforms.names import KnownNames, name_in_text
from bot.platforms.texts import DIRECT_MESSAGES
from bot.slack.api import SlackApi
from bot.slack.audience import reaches_outsiders
from bot.slack.block_text import objects, word
from bot.slack.rate_limits import RateLimits
from bot.slack.timing import Timing
from bot.slack.users import Users

log = logging.getLogger(__name__)

_ID = re.compile(
    r"@(?=[A-Z]{1,20}[0-9])([UW][A-Z0-9]{4,20})\b"
    r"|#(?=[A-Z]{1,20}[0-9])([CG][A-Z0-9]{4,20})\b"
    r"|@(?=[A-Z]{1,20}[0-9])(S[A-Z0-9]{4,20})\b"
)
"""Ids as `bot.slack.block_text` leaves them in a text: of a user, of a channel, of a group."""

_MOST_CHANNELS, _MOST_GROUPS = 10, 20
"""Most channels, and most groups, of one message or passage whose names are looked up."""


class Names:
    """Names of users, public channels and groups of users."""

    def __init__(self, api: SlackApi, limits: RateLimits, users: Users, timing: Timing) -> None:
        self._api = api
        self._limits = limits
        self._users = users
        self._timing = timing
        self._channels = KnownNames()
        self._groups = KnownNames()
        self._order: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def add_names(self, deliver: Deliver) -> Deliver:
        """Return a `deliver` that first replaces the ids in a message's texts by names."""

        async def deliver_with_names(event: Event) -> None:
            message = event.message if isinstance(event, Correction) else event
            if not isinstance(message, Message):
                await deliver(event)
                return
            lock = self._order.get(message.author)
            if lock is None and not _has_ids(message):
                await deliver(event)
                return
            if lock is None:
                lock = self._order[message.author] = asyncio.Lock()
            async with lock:  # messages of one author keep their order
                named = await self._with_names(message)
                await deliver(replace(event, message=named) if isinstance(event, Correction) else named)

        return deliver_with_names

    async def _with_names(self, message: Message) -> Message:
        texts = [message.text, *(each.text for each in message.quotes)]
        text, *quoted = await self.readable(message, texts)
        quotes = tuple(replace(each, text=new) for each, new in zip(message.quotes, quoted, strict=True))
        return replace(message, text=text, quotes=quotes)

    async def readable(self, message: Message, texts: Sequence[str]) -> list[str]:
        """Return the texts, which are read for a message, with names in place of ids.

        Guests and people of other organisations cannot see all public channels: those stay ids.
        """
        team, is_open = message.thread.space, not (message.is_external or reaches_outsiders(message))
        ids = dict.fromkeys(match.groups("") for match in _ID.finditer("\n".join(texts)))
        if not ids:
            return list(texts)
        users, channels, groups = ([each for each in kind if each] for kind in zip(*ids, strict=True))
        found = await asyncio.gather(
            self._users.names(team, users),
            self._channel_names(team, channels if is_open else []),
            self._group_names(team, groups),
        )
        names = {id: name for each in found for id, name in each.items()}

        def name(match: re.Match[str]) -> str:
            id = match[0][1:]
            return match[0][0] + name_in_text(names[id]) if id in names else match[0]

        return [_ID.sub(name, text) for text in texts]

    async def name_of(self, kind: NameKind, id: str) -> str:
        """Return the name of a user, a public channel or the workspace; empty for others."""
        who = await self._api.who()
        match kind:
            case "user":
                return (await self._users.names(who.team_id, [id])).get(id, "")
            case "channel" if id.startswith("D"):
                return DIRECT_MESSAGES
            case "channel":
                name = await self._channel_name(who.team_id, id)
                return f"#{name}" if name else ""
            case "space":
                return who.team if id == who.team_id else ""

    async def _channel_names(self, team: str, channels: Sequence[str]) -> Mapping[str, str]:
        unknown = [each for each in channels if self._channels.get(each) is None][:_MOST_CHANNELS]
        told = await asyncio.gather(*(self._channel_name(team, each) for each in unknown))
        found = dict(zip(unknown, told, strict=True))
        return {each: name for each in channels if (name := found.get(each) or self._channels.get(each))}

    async def _channel_name(self, team: str, channel: str) -> str:
        """Return the name of a public channel; not all readers of a text may know that of a private one."""
        known = self._channels.get(channel)
        if known is not None:
            return known
        answer = await self._ask(team, "conversations.info", channel=channel)
        if answer is None:
            return self._channels.keep(channel, self._timing.unknown_author_max_age)
        described = answer.get("channel")
        described = described if isinstance(described, dict) else {}
        name = word(described.get("name")) if described.get("is_private") is False else ""
        seconds = self._timing.author_max_age if described else self._timing.unknown_author_max_age
        self._channels.put(channel, name, seconds)
        return name

    async def _group_names(self, team: str, groups: Sequence[str]) -> Mapping[str, str]:
        unknown = [each for each in groups if self._groups.get(each) is None][:_MOST_GROUPS]
        found = await self._look_up_groups(team, unknown) if unknown else {}
        return {each: name for each in groups if (name := found.get(each) or self._groups.get(each))}

    async def _look_up_groups(self, team: str, groups: Sequence[str]) -> Mapping[str, str]:
        answer, short = await self._ask(team, "usergroups.list"), self._timing.unknown_author_max_age
        listed = objects(answer.get("usergroups") if answer else None)
        handles = {word(each.get("id")): word(each.get("handle")) for each in listed}
        if answer is None:
            return {each: self._groups.keep(each, short) for each in groups}
        told = {each: handles.get(each, "") for each in groups}
        for each, name in told.items():
            self._groups.put(each, name, self._timing.author_max_age if name else short)
        return told

    async def _ask(self, team: str, method: str, **arguments: str) -> Mapping[str, Json] | None:
        """Return Slack's answer, nothing in it if Slack refuses; None if there is none in time."""
        try:
            async with asyncio.timeout(self._timing.author_timeout):
                if await self._limits.delay(team, method):
                    return None
                return await self._api.read(method, **arguments)
        except (RateLimited, Unreachable, TimeoutError) as error:
            log.info("name not looked up", extra={"error": repr(error)})
            return None
        except CredentialsRejected as error:
            log.warning("names not looked up", extra={"error": str(error)})
        except PlatformError as error:
            log.info("name not found", extra={"error": repr(error)})
        return {}


def _has_ids(message: Message) -> bool:
    return any(_ID.search(text) for text in (message.text, *(each.text for each in message.quotes)))
