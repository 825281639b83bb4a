"""Facts about a platform that the rest of the bot needs without being connected to it."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformInfo:
    """The name of one platform, and the form of its ids and secrets. Each folder offers its own.

    `name` is the first field of its `ThreadId`s, the prefix of its ids in the settings, and a role in
    BOT_ROLES. `location` is its place in a sentence: "on Slack". With `has_global_ids` a user id means one
    person everywhere; else it does so within a space, and a direct message belongs to a space, too.
    `user_example` and `channel_example` are ids as an operator writes them. `channel_ids` matches the ids of
    channels that can show approval requests, None where none can; `redaction` matches its secrets, which the
    log does not show.
    """

    name: str
    title: str
    location: str
    has_global_ids: bool = False
    user_example: str = ""
    channel_example: str = ""
    channel_ids: re.Pattern[str] | None = None
    redaction: re.Pattern[str] | None = None


_registered: dict[str, PlatformInfo] = {}


def register(info: PlatformInfo) -> PlatformInfo:
    """Make a platform known to this process. Its folder does so as soon as it is imported."""
    _registered[info.name] = info
    return info


def platform_info(name: str) -> PlatformInfo:
    """Return the facts about a platform; of one that is not registered, those that mix no two people."""
    return _registered.get(name) or PlatformInfo(name=name, title=name, location=f"on {name}")
