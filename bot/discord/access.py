"""Access of a server's members to its channels, as far as the client knows both. Pure."""

from collections.abc import Mapping

import discord

from bot.discord.readable import linked_messages

LINKED, CLOSED, PRIVATE, UNREADABLE = "linked", "closed", "private", "unreadable"
"""Keys of a message's `place`: the linked messages that the author can read, how many they cannot, and how
many other readers of the answer cannot; set if they cannot read the history of the channel itself."""

NO_HISTORY = "no_history"
"""Key of a message's `place`: set if the bot cannot read the history, which Discord then shows as empty."""

ACCESS_FIELDS = frozenset({LINKED, CLOSED, PRIVATE, UNREADABLE, NO_HISTORY})

_MOST_LINKS = 3


def access_fields(text: str, member: object, channel: int, *, needs_history: bool) -> Mapping[str, str]:
    """Return the fields of a message's `place` about what its author can read: links, and its own channel.

    A linked message is written as the ids of its channel and of itself, with a `+` if it is in a thread.
    """
    linked, closed, private = [], 0, 0
    for guild, linked_channel, message in linked_messages(text)[:_MOST_LINKS]:
        if isinstance(member, discord.Member) and guild == str(member.guild.id):
            place = member.guild.get_channel_or_thread(linked_channel)
            if _can_read(member, place) and not _is_open(place, channel):
                private += 1
                continue
            if _can_read(member, place):
                sign = "+" if isinstance(place, discord.Thread) else ""
                linked.append(f"{linked_channel}/{message}{sign}")
                continue
        closed += 1
    own = member.guild.get_channel_or_thread(channel) if isinstance(member, discord.Member) else None
    is_readable = not needs_history or (
        isinstance(member, discord.Member) and _can_read(member, own, is_in_it=True)
    )
    me = own.guild.me if own else None
    is_empty = needs_history and isinstance(me, discord.Member) and not _can_read(me, own, is_in_it=True)
    found = {
        LINKED: " ".join(linked),
        CLOSED: str(closed) if closed else "",
        PRIVATE: str(private) if private else "",
        UNREADABLE: "" if is_readable else "yes",
        NO_HISTORY: "yes" if is_empty else "",
    }
    return {name: value for name, value in found.items() if value}


def knows_roles(guild: discord.Guild) -> bool:
    """Return whether the client knows the roles of a guild: not if the bot is not in it."""
    return guild.get_role(guild.id) is not None


def allowed_links(place: Mapping[str, str]) -> list[tuple[int, int, bool]]:
    """Return the linked messages in a place: the ids of the channel and the message; is it in a thread?"""
    found = []
    for each in place.get(LINKED, "").split():
        channel, _, message = each.removesuffix("+").partition("/")
        found.append((int(channel), int(message), each.endswith("+")))
    return found


def _is_open(channel: object, own: int) -> bool:
    """Return whether all members of the server can read a channel, as they read the answer in their own."""
    if not isinstance(channel, discord.abc.GuildChannel | discord.Thread) or not knows_roles(channel.guild):
        return False
    if channel.id == own:
        return True
    if isinstance(channel, discord.Thread) and channel.is_private():
        return False
    try:
        allowed = channel.permissions_for(channel.guild.default_role)
    except discord.ClientException:  # a thread whose parent is not known
        return False
    return allowed.view_channel and allowed.read_message_history


def _can_read(member: discord.Member, channel: object, *, is_in_it: bool = False) -> bool:
    """Return whether a member can read the history of a channel; False if that is not known.

    The client knows the members of a private thread in part only; the author of a message there `is_in_it`.
    """
    if not isinstance(channel, discord.abc.GuildChannel | discord.Thread) or not knows_roles(channel.guild):
        return False
    try:
        allowed = channel.permissions_for(member)
    except discord.ClientException:  # a thread whose parent is not known
        return False
    if isinstance(channel, discord.Thread) and channel.is_private():
        is_in_it = is_in_it or any(each.id == member.id for each in channel.members)
        if not (is_in_it or allowed.manage_threads):
            return False
    return allowed.view_channel and allowed.read_message_history
