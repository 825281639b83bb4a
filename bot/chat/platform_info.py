"""Facts about a platform that the rest of the bot needs without being connected to it."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformInfo:
    """Name of one platform, and the form of its ids and secrets. Each platform's folder registers one.

    `name` is the first field of its `ThreadId`s, the prefix of its ids in the settings, and a role in
    BOT_ROLES. `location` is used in sentences: "on Slack". With `has_global_ids` a user id means the same
    person everywhere, else only within a space, and direct messages belong to a space, too. `user_example`
    and `channel_example` are ids as an operator writes them. `channel_ids` matches the ids of channels that
    can show approval requests, None if none can. `redaction` matches secrets, which the log hides.
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
    """Register a platform in this process; its folder does so on import."""
    _registered[info.name] = info
    return info


def platform_info(name: str) -> PlatformInfo:
    """Return the facts about a platform; for an unregistered one, defaults that never confuse two users."""
    return _registered.get(name) or PlatformInfo(name=name, title=name, location=f"on {name}")
