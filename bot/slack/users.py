"""Authors of messages, as `users.info` describes them: name, team, and guest status.

Events include these only sometimes: https://docs.slack.dev/apis/slack-connect/.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from bot.chat import (
    Correction,
    CredentialsRejected,
    Deliver,
    Event,
    Json,
    Locale,
    Message,
    PlatformError,
    Stop,
    StorageDown,
)
from bot.slack.api import SlackApi
from bot.slack.block_text import word
from bot.slack.events import is_guest, name_of, team_of
from bot.slack.rate_limits import RateLimits
from bot.slack.timing import Timing

log = logging.getLogger(__name__)

_METHOD = "users.info"

_MOST_KNOWN = 2_000

_FIELDS = (
    *("id", "team_id", "real_name", "tz", "tz_offset", "locale"),
    *("is_restricted", "is_ultra_restricted", "is_stranger"),
)

_MOST_AT_ONCE = 20
"""Most users who are looked up at the same time for their names."""


@dataclass(slots=True)
class _Entry:
    """Cached answer about one user; `person` is empty if Slack gave none."""

    person: Mapping[str, Json] = field(default_factory=dict)
    until: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Users:
    """Adds details of authors to messages. After a failed look-up a message is delivered unchanged."""

    def __init__(self, api: SlackApi, limits: RateLimits, timing: Timing) -> None:
        self._api = api
        self._limits = limits
        self._timing = timing
        self._entries: dict[str, _Entry] = {}
        self._forbidden_until = 0.0

    def add_authors(self, deliver: Deliver) -> Deliver:
        """Return a `deliver` that first adds Slack's details about the author of a message or stop."""

        async def deliver_with_author(event: Event) -> None:
            if isinstance(event, Message):
                event = await self.with_author(event)
            elif isinstance(event, Correction):
                event = replace(event, message=await self.with_author(event.message))
            elif isinstance(event, Stop):
                user = event.by.partition(":")[2]
                event = replace(event, is_external=await self.is_external(team_of(event), user))
            await deliver(event)

        return deliver_with_author

    async def is_external(self, team: str, user: str, claimed: str = "") -> bool:
        """Return whether a user is a guest or from another organisation than `team`, as far as Slack says.

        `claimed` is the user's team in a payload, which counts while Slack says nothing else.
        """
        person = await self._person(team, user)
        if not word(person.get("team_id")):
            return is_guest(person) or claimed not in ("", team)
        return is_guest(person) or team not in _teams(person)

    async def teams(self, team: str, user: str) -> Sequence[str]:
        """Return the teams of a user whom a workspace sees, in order; none if Slack does not say."""
        return sorted(_teams(await self._person(team, user)))

    async def names(self, team: str, users: Iterable[str], most: int = 20) -> Mapping[str, str]:
        """Return the names of users, by id; those that Slack does not tell in time are left out.

        At most so many are looked up; names that are known already are always returned.
        """
        wanted, now = [each for each in dict.fromkeys(users) if each], time.monotonic()
        unknown = [each for each in wanted if not self._is_known(each, now)][:most]
        if unknown:
            await self._look_up_names(team, unknown)
        entries = ((each, self._entries.get(each)) for each in wanted)
        return {user: name for user, entry in entries if entry and (name := name_of(entry.person))}

    def _is_known(self, user: str, now: float) -> bool:
        entry = self._entries.get(user)
        return entry is not None and entry.until > now

    async def _look_up_names(self, team: str, users: Sequence[str]) -> None:
        """Look up users, as many as the time allows: what was found by then is kept."""
        free = asyncio.Semaphore(_MOST_AT_ONCE)

        async def look_up(user: str) -> None:
            async with free:
                await self._person(team, user, is_urgent=False)

        try:
            async with asyncio.timeout(self._timing.names_timeout):
                await asyncio.gather(*map(look_up, users))
        except TimeoutError:
            log.info("names not looked up in time", extra={"users": len(users)})

    async def with_author(self, message: Message) -> Message:
        """Return a message with Slack's details about its author."""
        if message.bot_ids:
            return message
        space = message.thread.space
        person = await self._person(space, message.place["user"])
        if not person:
            return message
        author_space = message.author_space
        if theirs := word(person.get("team_id")):
            author_space = "" if space in _teams(person) else author_space or f"slack:{theirs}"
        return replace(
            message,
            author_name=message.author_name or name_of(person),
            author_space=author_space,
            is_guest=message.is_guest or is_guest(person),
            locale=_locale(person),
        )

    async def _person(self, team: str, user: str, *, is_urgent: bool = True) -> Mapping[str, Json]:
        entry = self._entries.get(user)
        if entry is None:
            if len(self._entries) >= _MOST_KNOWN:
                self._entries.pop(next(iter(self._entries)))
            entry = self._entries[user] = _Entry()
        async with entry.lock:  # messages of one author keep their order
            if entry.until <= time.monotonic():
                person, seconds = await self._look_up(team, user, is_urgent=is_urgent)
                entry.person = person or entry.person  # a guest remains one while Slack does not answer
                entry.until = time.monotonic() + seconds
            return entry.person

    async def update(self, team: str, user: str, person: Mapping[str, Json]) -> None:
        """Take what Slack says of a user after a change, if they are known here."""
        entry, described = self._entries.get(user), _relevant(person)
        if entry:
            entry.person = described
        if entry or await self._find(team, user):
            await self._keep(team, user, described)

    async def _look_up(self, team: str, user: str, *, is_urgent: bool) -> tuple[Mapping[str, Json], float]:
        """Return what another process was told of a user, else what Slack tells now; and for how long."""
        if known := await self._find(team, user):
            return known, self._timing.unknown_author_max_age  # it may be almost too old
        told = await self._fetch(team, user, is_urgent=is_urgent)
        if told is None:  # the next caller may be allowed to ask
            return {}, 0.0
        person = _relevant(told)
        if person:
            await self._keep(team, user, person)
        return person, self._timing.author_max_age if person else self._timing.unknown_author_max_age

    async def _find(self, team: str, user: str) -> Mapping[str, Json]:
        """Return what a process was told of a user; nothing if that is not known."""
        try:
            known = await self._limits.coordination.find_note(_note(team, user))
        except StorageDown:
            return {}
        return known if isinstance(known, dict) else {}

    async def _keep(self, team: str, user: str, person: Mapping[str, Json]) -> None:
        seconds = round(self._timing.author_max_age)
        if seconds > 0:
            with suppress(StorageDown):
                await self._limits.coordination.keep_note(_note(team, user), person, seconds)

    async def _fetch(self, team: str, user: str, *, is_urgent: bool) -> Mapping[str, Json] | None:
        """Return what Slack tells of a user, nothing in it if it tells nothing; None without a request."""
        if self._forbidden_until > time.monotonic():
            return {}
        try:
            async with asyncio.timeout(self._timing.author_timeout):
                if await self._limits.delay(team, _METHOD, is_urgent=is_urgent):
                    return None
                person = (await self._api.read(_METHOD, user=user, include_locale="true")).get("user")
        except CredentialsRejected as error:
            log.warning("authors not looked up", extra={"error": str(error)})
            self._forbidden_until = time.monotonic() + self._timing.author_retry_interval
            return {}
        except (PlatformError, TimeoutError) as error:
            log.info("author not found", extra={"error": repr(error)})
            return {}
        return person if isinstance(person, dict) else {}


def _locale(person: Mapping[str, Json]) -> Locale | None:
    time_zone, offset = word(person.get("tz")), person.get("tz_offset")
    if not time_zone or not isinstance(offset, int):
        return None
    return Locale(time_zone, offset, word(person.get("locale")))


def _note(team: str, user: str) -> str:
    # a guest of one workspace may be a member of another
    return f"slack:user:{user}@{team}"


def _relevant(person: Mapping[str, Json]) -> dict[str, Json]:
    """Return the fields of a user that are used, of the full answer of `users.info`."""
    profile, organisation = person.get("profile"), person.get("enterprise_user")
    return {name: person[name] for name in _FIELDS if name in person} | {
        name: {key: part[key] for key in keys if key in part}
        for name, part, keys in (
            ("profile", profile, ("display_name",)),
            ("enterprise_user", organisation, ("enterprise_id", "teams")),
        )
        if isinstance(part, dict)
    }


def _teams(person: Mapping[str, Json]) -> set[str]:
    """Return the teams of a user: in an organisation (Enterprise Grid) there may be several."""
    organisation = person.get("enterprise_user")
    organisation = organisation if isinstance(organisation, dict) else {}
    teams = organisation.get("teams")
    listed = teams if isinstance(teams, list) else []
    known = (person.get("team_id"), organisation.get("enterprise_id"), *listed)
    return {team for team in map(word, known) if team}
