"""Access of a server's members to its channels, as far as the client knows both. Pure."""

from collections.abc import Mapping

import discord

from bot.discord.readable import linked_messages

LINKED, CLOSED, UNREADABLE = "linked", "closed", "unreadable"
"""Keys of a message's `place`: the linked messages that the author can read, and how many they cannot; set
if they cannot read the history of the channel itself."""

ACCESS_FIELDS = frozenset({LINKED, CLOSED, UNREADABLE})

_MOST_LINKS = 3


def access_fields(text: str, member: object, channel: int | None) -> Mapping[str, str]:
    """Return the fields of a message's `place` about what its author can read: links, and a channel.

    A linked message is written as the ids of its channel and of itself, with a `+` if it is in a thread.
    """
    linked, closed = [], 0
    for guild, linked_channel, message in linked_messages(text)[:_MOST_LINKS]:
        if isinstance(member, discord.Member) and guild == str(member.guild.id):
            place = member.guild.get_channel_or_thread(linked_channel)
            if _can_read(member, place):
                sign = "+" if isinstance(place, discord.Thread) else ""
                linked.append(f"{linked_channel}/{message}{sign}")
                continue
        closed += 1
    is_readable = channel is None or (
        isinstance(member, discord.Member) and _can_read(member, member.guild.get_channel_or_thread(channel))
    )
    found = {
        LINKED: " ".join(linked),
        CLOSED: str(closed) if closed else "",
        UNREADABLE: "" if is_readable else "yes",
    }
    return {name: value for name, value in found.items() if value}


def allowed_links(place: Mapping[str, str]) -> list[tuple[int, int, bool]]:
    """Return the linked messages in a place: the ids of the channel and the message; is it in a thread?"""
    found = []
    for each in place.get(LINKED, "").split():
        channel, _, message = each.removesuffix("+").partition("/")
        found.append((int(channel), int(message), each.endswith("+")))
    return found


def _can_read(member: discord.Member, channel: object) -> bool:
    """Return whether a member can read the history of a channel; False if that is not known."""
    if not isinstance(channel, discord.abc.GuildChannel | discord.Thread):
        return False
    try:
        allowed = channel.permissions_for(member)
    except discord.ClientException:  # a thread whose parent is not known
        return False
    if isinstance(channel, discord.Thread) and channel.is_private():
        is_in_it = any(each.id == member.id for each in channel.members)
        if not (is_in_it or allowed.manage_threads):
            return False
    return allowed.view_channel and allowed.read_message_history
