"""From discord.py's messages to ours. Pure: nothing here waits or asks."""

import re
from collections.abc import Sequence, Set
from typing import Any

import discord

from bot.chat import Correction, Message, Stop, ThreadId, Withdrawal, parse_decision
from bot.discord.quotes import files, quotes, stickers, voice

PLATFORM = "discord"
DIRECT = "dm"
"""The `space` of direct messages, which belong to no guild."""

STOP_REACTION = "❌"

_ANSWERABLE = frozenset({discord.MessageType.default, discord.MessageType.reply})
_MENTION = re.compile(r"<(@!?|@&|#)(\d{1,20})>")
_EMOJI = re.compile(r"<a?:(\w{1,32}):\d{1,20}>")


def parse_message(
    message: discord.Message, me: int, bots: Set[str] = frozenset(), lost: Sequence[str] = ()
) -> Message | None:
    """Return what a person says to the bot, whose user id is `me`, or None when it concerns others.

    In a thread every message passes, `addressed` only with a mention: the inbox knows whether the bot
    takes part there. Of other bots, those in `bots` (as in ALLOWED_BOTS) are heard. `lost` are the parts of
    the payload that could not be read.
    """
    author = _author(message)
    is_bot = message.author.bot or message.webhook_id is not None
    if message.author.id == me or message.type not in _ANSWERABLE or (is_bot and author not in bots):
        return None
    text, quoted, attachments = _text(message, me), quotes(message, me, lost), files(message, me)
    request = _answered_request(message, me)
    # a decision in a reply to its request is for the bot, also where the reply pings nobody
    addressed = _addressed(message, me) or bool(request and parse_decision(text))
    thread, kind = _conversation(message, me, addressed)
    if thread is None or not (addressed or text or quoted or attachments):
        return None
    return Message(
        id=id_of(message.id),
        thread=thread,
        author=author,
        author_name=str(message.author.display_name),
        text=text,
        sent_at=message.created_at.timestamp(),
        addressed=addressed,
        direct=thread.space == DIRECT,
        attachments=tuple(attachments),
        quotes=quoted,
        channel=str(message.channel.id),
        parent=str(getattr(message.channel, "parent_id", None) or ""),  # only threads have one
        is_private_thread=_is_private_thread(message.channel),
        place={
            "guild": thread.space,
            "message": str(message.id),
            "kind": kind,
            "open": "yes" if _is_open(message) else "",
            "author": str(message.author.id),
        },
        roles=roles(message.author),
        bot_ids=(author,) if is_bot else (),
        is_guest=is_guest(message.author),
        # a place that is not known may be a channel of a new type, which goes on for ever
        seen_request=None if isinstance(message.channel, discord.Thread) else request,
    )


def roles(author: discord.User | discord.Member) -> tuple[str, ...]:
    """Return an author's roles as in ALLOWED_ROLES, as far as the event tells them.

    There are none outside of a guild and by REST. A guest of a voice channel has not even that of everyone.
    """
    known = author.roles if isinstance(author, discord.Member) and not is_guest(author) else []
    return tuple(f"{PLATFORM}:{role.id}" for role in known)


def space_of(interaction: discord.Interaction[Any]) -> str:
    """Return the space where a command is run: a server only if the bot was added to it."""
    is_in_guild = interaction.guild_id and interaction.is_guild_integration()
    return str(interaction.guild_id) if is_in_guild else DIRECT


def parse_correction(message: discord.Message, me: int, lost: Sequence[str] = ()) -> Correction | None:
    """Return what the edit of a message means; None for what is no edit, such as a preview of a link.

    Bots are read as they first write: one whose answer grows by edits would be answered at each of them.
    """
    parsed = parse_message(message, me, lost=lost) if message.edited_at else None
    if parsed is None or message.edited_at is None:
        return None
    return Correction(message=parsed, edited_at=message.edited_at.timestamp())


def parse_withdrawal(message_id: int) -> Withdrawal:
    """Return what the deletion of a message means."""
    return Withdrawal(message_id=id_of(message_id))


def parse_stop(reaction: discord.RawReactionActionEvent) -> Stop | None:
    """Return what a reaction means: a cross stops the answer to the message, if its author made it."""
    if reaction.emoji.name != STOP_REACTION:
        return None
    return Stop(
        by=f"{PLATFORM}:{reaction.user_id}",
        message_id=id_of(reaction.message_id),
        is_external=is_guest(reaction.member),
    )


def is_guest(author: discord.User | discord.Member | None) -> bool:
    """Return whether somebody is a guest of a voice channel; not known outside of a server."""
    return isinstance(author, discord.Member) and author.flags.guest


def _author(message: discord.Message) -> str:
    return f"{PLATFORM}:{message.author.id}"


def id_of(message_id: int) -> str:
    """Return the id of a message as `Message` has it."""
    return f"{PLATFORM}:{message_id}"


def _addressed(message: discord.Message, me: int) -> bool:
    # not ClientUser.mentioned_in: that is also true for @everyone
    return (
        isinstance(message.channel, discord.DMChannel)
        or any(user.id == me for user in message.mentions)
        or any(_is_mine(role, me) for role in message.role_mentions)
    )


def _is_mine(role: discord.Role, me: int) -> bool:
    """Whether it is the role that Discord made for the bot, which people pick by mistake: it has its name."""
    return role.tags is not None and role.tags.bot_id == me


def _conversation(message: discord.Message, me: int, addressed: bool) -> tuple[ThreadId | None, str]:
    channel = message.channel
    if isinstance(channel, discord.DMChannel):
        return ThreadId(PLATFORM, DIRECT, str(channel.id)), "dm"
    guild = str(message.guild.id if message.guild else getattr(channel, "guild_id", None))
    # discord.py knows all channels of a guild, but not a thread that has just been taken out of the archive
    if isinstance(channel, discord.Thread | discord.PartialMessageable):
        return ThreadId(PLATFORM, guild, str(channel.id)), "thread"
    root = _answered(message, me) or (message.id if addressed else None)
    return (ThreadId(PLATFORM, guild, str(root)) if root else None), "channel"


def _is_open(message: discord.Message) -> bool:
    """Whether every member of the guild may read what is written there; False when that is not known."""
    channel: object = message.channel
    if isinstance(channel, discord.Thread):
        channel = None if _is_private_thread(channel) else channel.parent
    if message.guild is None or not isinstance(channel, discord.abc.GuildChannel):
        return False
    everyone = channel.permissions_for(message.guild.default_role)
    return everyone.view_channel and everyone.read_message_history


def _is_private_thread(channel: object) -> bool:
    """Return whether it is a thread that not all readers of its channel can read."""
    return isinstance(channel, discord.Thread) and channel.is_private()


def _answered(message: discord.Message, me: int) -> int | None:
    """The question that began a chain of replies: each answer in a channel replies to it."""
    answer = message.reference.resolved if message.reference else None
    if isinstance(answer, discord.Message) and answer.author.id == me and answer.reference:
        return answer.reference.message_id
    return None


def _answered_request(message: discord.Message, me: int) -> str:
    """The id of the request for approval that a message replies to, told by its buttons, which only we make.

    A chain of replies and direct messages are one thread each, which goes on for ever.
    """
    answer = message.reference.resolved if message.reference else None
    if not isinstance(answer, discord.Message) or answer.author.id != me:
        return ""
    # discord.py sets no components where the payload has none
    rows = (each for each in getattr(answer, "components", ()) if isinstance(each, discord.ActionRow))
    names = (str(getattr(each, "custom_id", None) or "") for row in rows for each in row.children)
    return next((id for verb, _, id in (each.partition(":") for each in names) if verb == "approve"), "")


def _text(message: discord.Message, me: int) -> str:
    names = _names(message)

    def named(mention: re.Match[str]) -> str:
        kind, id = mention[1].rstrip("!"), int(mention[2])
        return "" if (kind, id) in mine else names.get((kind, id), mention[0])

    mine = {("@", me)} | {("@&", role.id) for role in message.role_mentions if _is_mine(role, me)}
    spoken = _EMOJI.sub(r":\1:", _MENTION.sub(named, message.content))
    return "\n".join(each for each in (spoken.strip(), *stickers(message), *voice(message)) if each)


def _names(message: discord.Message) -> dict[tuple[str, int], str]:
    """Readable names for the mentions in a message, by kind and id."""
    users = {("@", user.id): f"@{user.display_name}" for user in message.mentions}
    roles = {("@&", role.id): f"@{role.name}" for role in message.role_mentions}
    channels = {("#", channel.id): f"#{channel.name}" for channel in message.channel_mentions}
    return users | roles | channels
