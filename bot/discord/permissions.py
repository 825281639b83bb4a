"""Permissions that the bot needs, and those of a member in a channel, computed from payloads. Pure.

https://discord.com/developers/docs/topics/permissions#permission-overwrites
"""

from collections.abc import Iterable, Mapping

from bot.chat import Json

NEEDED = frozenset(
    {
        "attach_files",  # charts and exports
        "create_public_threads",  # the thread in which a mention is answered
        "read_message_history",  # what was missed; earlier messages; answers as replies
        "send_messages",
        "send_messages_in_threads",
        "view_channel",
    }
)
"""Permissions that the bot needs in a server, by their names in discord.py; nothing in it needs others."""

_ADMINISTRATOR = 1 << 3
_VIEW_CHANNEL = 1 << 10
_SEND_MESSAGES = 1 << 11
_READ_MESSAGE_HISTORY = 1 << 16
_SEND_IN_THREADS = 1 << 38
_READING = _VIEW_CHANNEL | _READ_MESSAGE_HISTORY
_EVERYTHING = -1

VIEW_CHANNEL = "View Channel"
_TITLES = {
    _VIEW_CHANNEL: VIEW_CHANNEL,
    _SEND_MESSAGES: "Send Messages",
    _SEND_IN_THREADS: "Send Messages in Threads",
}
"""Permissions by their names in Discord's settings."""


def can_read(guild: Mapping[str, Json], member: Mapping[str, Json], channel: Mapping[str, Json]) -> bool:
    """Return whether a member can read the history of a channel that is no thread."""
    return _permissions_of(guild, member, channel) & _READING == _READING


def missing_to_write(
    guild: Mapping[str, Json], member: Mapping[str, Json], channel: Mapping[str, Json], *, in_thread: bool
) -> list[str]:
    """Return the titles of the permissions that a member lacks to write in a channel, or in its threads."""
    held = _permissions_of(guild, member, channel)
    needed = (_VIEW_CHANNEL, _SEND_IN_THREADS if in_thread else _SEND_MESSAGES)
    return [_TITLES[each] for each in needed if not held & each]


def everyone_can_read(guild: Mapping[str, Json], channel: Mapping[str, Json]) -> bool:
    """Return whether every member can read the history of a channel that is no thread."""
    return _permissions(guild, channel, (), "") & _READING == _READING


def _permissions_of(
    guild: Mapping[str, Json], member: Mapping[str, Json], channel: Mapping[str, Json]
) -> int:
    user = str((member.get("user") or {}).get("id", ""))
    if user and user == str(guild.get("owner_id")):
        return _EVERYTHING
    return _permissions(guild, channel, map(str, member.get("roles") or ()), user)


def _permissions(
    guild: Mapping[str, Json], channel: Mapping[str, Json], roles: Iterable[str], user: str
) -> int:
    everyone = str(guild["id"])
    held = {everyone, *roles}
    granted = {str(role["id"]): int(role["permissions"]) for role in guild["roles"]}
    base = 0
    for role in held:
        base |= granted.get(role, 0)
    if base & _ADMINISTRATOR:
        return _EVERYTHING
    overwrites = {str(each["id"]): each for each in channel.get("permission_overwrites") or ()}
    base = _apply(base, [overwrites[everyone]] if everyone in overwrites else [])
    base = _apply(base, [overwrites[role] for role in held - {everyone} if role in overwrites])
    return _apply(base, [overwrites[user]] if user in overwrites else [])


def _apply(base: int, overwrites: Iterable[Mapping[str, Json]]) -> int:
    """Return the permissions after overwrites of one kind: what any of them allows wins."""
    denied = allowed = 0
    for each in overwrites:
        denied |= int(each["deny"])
        allowed |= int(each["allow"])
    return base & ~denied | allowed
