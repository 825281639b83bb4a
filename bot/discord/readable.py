"""Readable text of a message's content: names for ids, custom emoji, times and commands. Pure.

https://discord.com/developers/docs/reference#message-formatting
"""

import re
from collections.abc import Set
from datetime import UTC, datetime

import discord

from bot.platforms.names import name_in_text

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

    So does that of a channel which not all readers of the message see.
    References in `leave_out`, by kind (`@`, `@&`, `#`) and id, are removed.
    """
    if "<" not in content:  # most texts
        return content
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
    users = {("@", each.id): each.display_name for each in getattr(message, "mentions", ())}
    roles = {("@&", each.id): each.name for each in getattr(message, "role_mentions", ())}
    mentioned = getattr(message, "channel_mentions", ())
    channels = {("#", each.id): each.name for each in mentioned if _is_visible(each, message.channel.id)}
    found = users | roles | channels
    return {(kind, id): f"{kind[0]}{name_in_text(name)}" for (kind, id), name in found.items()}


def _is_visible(channel: discord.abc.GuildChannel | discord.Thread, own: int) -> bool:
    """Return whether all who read a message in the channel `own` see a channel that it mentions."""
    if channel.id == own:
        return True
    if isinstance(channel, discord.Thread) and channel.is_private():
        return False
    try:
        return channel.permissions_for(channel.guild.default_role).view_channel
    except discord.ClientException:  # a thread whose parent is not known
        return False


def _time(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return ""
