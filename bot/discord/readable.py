"""Readable text of a message's content: names for ids, custom emoji, times and commands. Pure.

https://discord.com/developers/docs/reference#message-formatting
"""

import re
from collections.abc import Set
from datetime import UTC, datetime

import discord

_REFERENCE = re.compile(
    r"<(?P<kind>@!?|@&|#)(?P<id>\d{1,20})>"
    r"|<a?:(?P<emoji>\w{1,32}):\d{1,20}>"
    r"|<t:(?P<seconds>-?\d{1,13})(?::[a-zA-Z])?>"
    r"|</(?P<command>[-_\w ]{1,100}):\d{1,20}>"
)


_LINK = re.compile(
    r"https://(?:ptb\.|canary\.)?discord(?:app)?\.com/channels/(\d{1,20}|@me)/(\d{1,20})/(\d{1,20})"
)


def linked_messages(text: str) -> list[tuple[str, int, int]]:
    """Return the messages that a text links to: the ids of the server, of the channel and of the message."""
    found = dict.fromkeys(_LINK.findall(text))
    return [(guild, int(channel), int(message)) for guild, channel, message in found]


def readable(
    content: str, message: discord.Message | None = None, leave_out: Set[tuple[str, int]] = frozenset()
) -> str:
    """Return a text as users read it, with the names that `message` tells; other ids stay.

    References in `leave_out`, by kind (`@`, `@&`, `#`) and id, are removed.
    """
    names = _names(message) if message else {}

    def replace(match: re.Match[str]) -> str:
        if match["emoji"]:
            return f":{match['emoji']}:"
        if match["seconds"]:
            return _time(int(match["seconds"])) or match[0]
        if match["command"]:
            return f"/{match['command']}"
        reference = match["kind"].rstrip("!"), int(match["id"])
        return "" if reference in leave_out else names.get(reference, match[0])

    return _REFERENCE.sub(replace, content)


def _names(message: discord.Message) -> dict[tuple[str, int], str]:
    """Return readable names for the mentions in a message, by kind and id."""
    # discord.py does not set a list that the payload of a quoted message leaves out
    users = {("@", user.id): f"@{user.display_name}" for user in getattr(message, "mentions", ())}
    roles = {("@&", role.id): f"@{role.name}" for role in getattr(message, "role_mentions", ())}
    channels = {("#", each.id): f"#{each.name}" for each in getattr(message, "channel_mentions", ())}
    return users | roles | channels


def _time(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return ""
