"""App context: the channel or message that a user has open in Slack, a hint for their next question.

https://docs.slack.dev/reference/events/app_context_changed; a direct message may have it as `app_context`.
It proves nothing: the agent gets it as data, and only if the author can read that channel.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bot.chat import Coordination, Event, Json, Message, StorageDown
from bot.slack.block_text import objects, word
from bot.slack.timing import Timing

log = logging.getLogger(__name__)

APP_CONTEXT = "app_context"
"""Key of a message's `place`: the channel that its author has open, and after a colon perhaps a message."""

_MOST_ENTITIES = 10
_CHANNEL = re.compile(r"[CG][A-Z0-9]{1,20}")
_TS = re.compile(r"[0-9]{1,15}\.[0-9]{1,9}")


def parse_app_context(context: Json) -> str:
    """Return the first channel or message in an app context, as in `APP_CONTEXT`; empty if there is none."""
    entities = context.get("entities") if isinstance(context, Mapping) else None
    for entity in list(objects(entities))[:_MOST_ENTITIES]:
        match entity:
            case {"type": "slack#/types/channel_id", "value": str(channel)} if _CHANNEL.fullmatch(channel):
                return channel
            case {
                "type": "slack#/types/message_context",
                "value": {"channel_id": str(channel), "message_ts": str(ts)},
            } if _CHANNEL.fullmatch(channel) and _TS.fullmatch(ts):
                return f"{channel}:{ts}"
    return ""


@dataclass(frozen=True, slots=True)
class AppContexts:
    """Newest app contexts of the users of one workspace, for all processes, until their next message.

    They hold ids only and end after `Timing.app_context_max_age`, so that no removal of data has to find
    them.
    """

    coordination: Coordination
    timing: Timing

    async def note(self, team: str, event: Mapping[str, Json]) -> None:
        """Keep what a user has open now. Never raises: it is only a hint."""
        if user := word(event.get("user")):
            await self._keep(team, user, parse_app_context(event.get("context")))

    async def add_to(self, event: Event) -> Event:
        """Return a direct message with what its author has open; each context is used once."""
        if not isinstance(event, Message) or not event.direct or event.bot_ids or APP_CONTEXT in event.place:
            return event
        team, user = event.thread.space, event.place["user"]
        try:
            found = word(await self.coordination.find_note(_name(team, user)))
        except StorageDown:
            return event  # it cannot be stored either, and comes again
        if not found:
            return event
        await self._keep(team, user, "")
        return replace(event, place={**event.place, APP_CONTEXT: found})

    async def _keep(self, team: str, user: str, found: str) -> None:
        seconds = self.timing.app_context_max_age if found else 1
        try:
            await self.coordination.keep_note(_name(team, user), found, seconds)
        except StorageDown as error:
            log.info("app context not kept", extra={"error": str(error)})


def _name(team: str, user: str) -> str:
    return f"slack:app_context:{user}@{team}"
