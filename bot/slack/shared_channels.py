"""Channels that workspaces share (Slack Connect), where several of them may have installed the app.

Slack sends an event of such a channel once or once per installation, and each time names only one of them,
which may be any (https://docs.slack.dev/apis/events-api#authorizations). So the bot chooses by what is the
same for all of these events and in the history: the author and the channel.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from bot.chat import Correction, CredentialsRejected, Deliver, Event, Json, Message, Unreachable
from bot.slack.api import SlackApi
from bot.slack.block_text import objects, word
from bot.slack.errors import Refused
from bot.slack.events import team_of_event
from bot.slack.timing import Timing

_MOST_KNOWN = 1_000
_MOST_TEAMS = 250
"""Most workspaces that Slack lets share a channel."""


@dataclass(frozen=True, slots=True)
class SharedChannel:
    """Channel as one installation sees it: whether its bot is a member, the host, and all workspaces."""

    is_member: bool
    host: str
    teams: Sequence[str]


_UNSEEN = SharedChannel(is_member=False, host="", teams=())


class Connections:
    """Shared channels as one workspace sees them, reused for `Timing.audience_max_age`."""

    def __init__(self, api: SlackApi, timing: Timing) -> None:
        self._api = api
        self._timing = timing
        self._entries: dict[str, tuple[float, SharedChannel]] = {}

    async def of(self, channel: str, *, is_member: bool = False) -> SharedChannel:
        """Return a channel; with `is_member` it is known that the bot is in it. Raises `PlatformError`."""
        until, known = self._entries.get(channel, (0.0, _UNSEEN))
        if until > time.monotonic() and (known.is_member or not is_member):
            return known
        seen = await self._fetch(channel)
        if is_member:  # Slack does not say it of direct messages
            seen = replace(seen, is_member=True)
        timing = self._timing
        seconds = timing.audience_max_age if seen.is_member else timing.unknown_audience_max_age
        self._entries.pop(channel, None)
        if len(self._entries) >= _MOST_KNOWN:
            self._entries.pop(next(iter(self._entries)))
        self._entries[channel] = (time.monotonic() + seconds, seen)
        return seen

    async def _fetch(self, channel: str) -> SharedChannel:
        try:
            async with asyncio.timeout(self._timing.author_timeout):
                answer = (await self._api.read("conversations.info", channel=channel)).get("channel")
        except TimeoutError as error:
            raise Unreachable("Slack: a shared channel was not described in time") from error
        except (Refused, CredentialsRejected):  # the bot does not see the channel, or has no token there
            return _UNSEEN
        described = answer if isinstance(answer, dict) else {}
        teams = described.get("shared_team_ids")
        return SharedChannel(
            is_member=described.get("is_member") is True,
            host=word(described.get("conversation_host_id")),
            teams=tuple(filter(None, map(word, teams)))[:_MOST_TEAMS] if isinstance(teams, list) else (),
        )


class Seat(Protocol):
    """Workspace with what it knows of shared channels and their users."""

    @property
    def connections(self) -> Connections:
        """Return its shared channels."""

    async def teams_of(self, user: str) -> Sequence[str]:
        """Return the workspaces of a user, as far as Slack says."""


class Seats(Protocol):
    """Workspaces in which the app is installed."""

    async def seat(self, team: str) -> Seat | None:
        """Return a workspace if the app is installed there. Raises `StorageDown`."""


class SharedChannels:
    """Choice of the installation that answers in a shared channel.

    It is that of the author's workspace, if its bot is a member; else that of the workspace which hosts the
    channel, or the first by id of those whose bots are members.
    """

    def __init__(self, seats: Seats) -> None:
        self._seats = seats

    async def for_answering(self, body: Mapping[str, Json]) -> Mapping[str, Json]:
        """Return an event as it would be sent to the installation that answers. Raises `PlatformError`."""
        event = body.get("event")
        if not body.get("is_ext_shared_channel") or not isinstance(event, dict) or _is_talk(event):
            return body
        channel, user, claimed = _origin(event)
        own = team_of_event(body)
        if not channel or not user:
            return body
        team = await self._choose(own, channel, user, claimed)
        if team == own:
            return body
        given = next(iter(objects(body.get("authorizations"))), {})
        as_bot = {name: given.get(name) for name in ("user_id", "is_bot")}  # may be mentioned instead
        return {**body, "authorizations": [{"team_id": team, **as_bot}]}

    def only_for(self, team: str, deliver: Deliver) -> Deliver:
        """Return a `deliver` that skips what another installation answers: it reads the same history."""

        async def deliver_own(event: Event) -> None:
            message = event.message if isinstance(event, Correction) else event
            if isinstance(message, Message) and message.place.get("shared"):
                place = message.place
                chosen = await self._choose(
                    team, message.thread.channel, place["user"], place.get("user_team", "")
                )
                if chosen != team:
                    return
            await deliver(event)

        return deliver_own

    async def _choose(self, own: str, channel: str, user: str, claimed: str) -> str:
        """Return the workspace whose installation answers a user; `claimed` is their team in the event."""
        seat = await self._seats.seat(own)
        if seat is None:
            return own
        homes = await seat.teams_of(user) or [claimed]
        if own in homes:
            return own
        for team in sorted(homes):
            if await self._is_present(team, channel):
                return team
        seen = await seat.connections.of(channel, is_member=True)
        present = [own, *[each for each in seen.teams if await self._is_present(each, channel)]]
        return seen.host if seen.host in present else min(present)

    async def _is_present(self, team: str, channel: str) -> bool:
        seat = await self._seats.seat(team) if team.startswith("T") else None
        return seat is not None and (await seat.connections.of(channel)).is_member


def _is_talk(event: Mapping[str, Json]) -> bool:
    """Return whether a message is outside threads and mentions nobody, so that it is not answered."""
    is_new = event.get("type") == "message" and not isinstance(event.get("message"), dict)
    is_top = event.get("thread_ts") in (None, "", event.get("ts")) and "previous_message" not in event
    return is_new and is_top and "<@" not in word(event.get("text")) and not event.get("bot_id")


def _origin(event: Mapping[str, Json]) -> tuple[str, str, str]:
    """Return the channel, the author and their team in an event; empty if it has none."""
    item, now, before = event.get("item"), event.get("message"), event.get("previous_message")
    if isinstance(now, dict) and now.get("subtype") == "tombstone":
        now = None  # the author of what takes the place of a deleted message is Slack
    message = next((each for each in (now, before) if isinstance(each, dict)), event)
    profile = message.get("user_profile") or message.get("bot_profile")
    named = profile if isinstance(profile, dict) else {}
    teams = (message.get(name) for name in ("user_team", "source_team", "team"))
    team = next(filter(None, map(word, (*teams, named.get("team"), named.get("team_id")))), "")
    channel = word(event.get("channel")) or word(item.get("channel") if isinstance(item, dict) else "")
    return channel, word(message.get("user")) or word(message.get("bot_id")), team
