"""Authors of messages, as `users.info` describes them: name, team, and guest status.

Events include these only sometimes: https://docs.slack.dev/apis/slack-connect/.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bot.chat import Correction, CredentialsRejected, Deliver, Event, Json, Message, PlatformError, Stop
from bot.slack.api import SlackApi
from bot.slack.block_text import word
from bot.slack.events import is_guest, name_of, team_of
from bot.slack.rate_limits import RateLimits
from bot.slack.timing import Timing

log = logging.getLogger(__name__)

_METHOD = "users.info"

_MOST_KNOWN = 2_000


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
                event = await self._with_author(event)
            elif isinstance(event, Correction):
                event = replace(event, message=await self._with_author(event.message))
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

    async def _with_author(self, message: Message) -> Message:
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
        )

    async def _person(self, team: str, user: str) -> Mapping[str, Json]:
        entry = self._entries.get(user)
        if entry is None:
            if len(self._entries) >= _MOST_KNOWN:
                self._entries.pop(next(iter(self._entries)))
            entry = self._entries[user] = _Entry()
        async with entry.lock:  # messages of one author keep their order
            if entry.until <= time.monotonic():
                person = await self._fetch(team, user)
                seconds = self._timing.author_max_age if person else self._timing.unknown_author_max_age
                entry.person = person or entry.person  # a guest remains one while Slack does not answer
                entry.until = time.monotonic() + seconds
            return entry.person

    async def _fetch(self, team: str, user: str) -> Mapping[str, Json]:
        if self._forbidden_until > time.monotonic():
            return {}
        try:
            async with asyncio.timeout(self._timing.author_timeout):
                if await self._limits.delay(team, _METHOD):
                    return {}
                person = (await self._api.read(_METHOD, user=user)).get("user")
        except CredentialsRejected as error:
            log.warning("authors not looked up", extra={"error": str(error)})
            self._forbidden_until = time.monotonic() + self._timing.author_retry_interval
            return {}
        except (PlatformError, TimeoutError) as error:
            log.info("author not found", extra={"error": repr(error)})
            return {}
        return person if isinstance(person, dict) else {}


def _teams(person: Mapping[str, Json]) -> set[str]:
    """Return the teams of a user: in an organisation (Enterprise Grid) there may be several."""
    organisation = person.get("enterprise_user")
    organisation = organisation if isinstance(organisation, dict) else {}
    teams = organisation.get("teams")
    listed = teams if isinstance(teams, list) else []
    known = (person.get("team_id"), organisation.get("enterprise_id"), *listed)
    return {team for team in map(word, known) if team}
