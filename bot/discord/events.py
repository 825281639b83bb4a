"""Parser of discord.py's messages. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import discord

from bot.chat import (
    PRIVATE_ANSWER,
    Attachment,
    Correction,
    Locale,
    Message,
    Quote,
    Stop,
    ThreadId,
    Withdrawal,
    parse_decision,
)
from bot.discord.access import access_fields, knows_roles
from bot.discord.quotes import files, post, quotes, stickers, voice
from bot.discord.readable import readable

PLATFORM = "discord"
DIRECT = "dm"
"""The `space` of direct messages, which belong to no guild."""

TOKEN = "token"  # noqa: S105 - the name of a field
"""Key of a question's `place`: the token of its command, which shows and answers it for 15 minutes."""

CHAIN = "chain"
"""Key of a message's `place`: the id of the message before the one that it replies to."""

NO_THREADS = "no_threads"
"""Key of a message's `place`: set in channels where no message can start a thread."""

STOP_REACTION = "❌"

_ANSWERABLE = frozenset({discord.MessageType.default, discord.MessageType.reply})


def parse_message(
    message: discord.Message,
    me: int,
    bots: Set[str] = frozenset(),
    unreadable: Sequence[str] = (),
    languages: Mapping[int, str] = MappingProxyType({}),
) -> Message | None:
    """Return the message of a user to the bot, whose user id is `me`; None if it concerns others.

    In a thread every message is returned, `addressed` only with a mention: the inbox knows whether the bot
    takes part there. Other bots are ignored unless they are in `bots` (as in ALLOWED_BOTS). `unreadable` are
    the parts of the payload that could not be read, `languages` those of users' apps, by user id.
    """
    author = _author(message)
    is_bot = message.author.bot or message.webhook_id is not None
    if message.author.id == me or message.type not in _ANSWERABLE or (is_bot and author not in bots):
        return None
    text, quoted, attachments = (
        readable_text(message, me),
        quotes(message, me, unreadable),
        files(message, me),
    )
    request, chain = _request_of(message, me), _chain_of(message, me)
    # a decision in a reply to its request is for the bot, even if the reply pings nobody
    addressed = _is_addressed(message, me) or bool(request and parse_decision(text))
    thread, kind = _conversation(message, me, addressed)
    needs_history = kind == "thread" or bool(chain)
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
        voices=tuple(str(file.url) for file in message.attachments if message.flags.voice),
        quotes=(*post(message.channel), *quoted) if addressed else quoted,
        channel=str(message.channel.id),
        parent=str(getattr(message.channel, "parent_id", None) or ""),  # only threads have one
        is_private_thread=_is_private_thread(message.channel),
        place={
            "guild": thread.space,
            "message": str(message.id),
            "kind": kind,
            "open": "yes" if _is_open(message) else "",
            "author": str(message.author.id),
            **({CHAIN: chain} if chain else {}),
            **_without_threads(message.channel),
            **({} if is_bot else _access(message, text, needs_history=needs_history)),
        },
        roles=roles(message.author),
        bot_ids=(author,) if is_bot else (),
        is_guest=is_guest(message.author),
        # an unknown place may be a channel of a new type, which continues for ever
        seen_request=None if isinstance(message.channel, discord.Thread) else request,
        purpose="aside" if _mentions_others(message, me) and not addressed else "",
        locale=_locale(message, languages.get(message.author.id, "")),
    )


def parse_press(interaction: discord.Interaction[Any]) -> Message:
    """Return the press of a button as a message of its user, without text, in the place of the button."""
    assert interaction.message is not None  # that of the button
    return _of_interaction(interaction, interaction.message)


def parse_question(
    interaction: discord.Interaction[Any],
    message: discord.Message,
    text: str,
    attachments: Sequence[Attachment],
    quoted: Sequence[Quote],
    *,
    is_private: bool,
) -> Message:
    """Return the question of a command, in the place of the message that shows it.

    A private one is a conversation of its own, answered through the interaction's token. It has no `kind`:
    processes without private answers would answer in the channel, and fail without it.
    """
    question = replace(
        _of_interaction(interaction, message),
        id=id_of(message.id),
        text=text,
        sent_at=message.created_at.timestamp(),
        attachments=tuple(attachments),
        quotes=tuple(quoted),
        locale=Locale(language=str(interaction.locale)),
    )
    place = {**question.place, TOKEN: interaction.token}
    if not is_private:
        return replace(question, place=place)
    del place["kind"]
    space = space_of(interaction)
    return replace(
        question,
        thread=ThreadId(PLATFORM, space, str(message.id)),
        direct=False,
        place={**place, "guild": space, PRIVATE_ANSWER: "yes"},
    )


def _of_interaction(interaction: discord.Interaction[Any], message: discord.Message) -> Message:
    """Return a message of an interaction's user, without text, in the place of a message of the bot."""
    user = interaction.user
    thread, kind = _conversation(message, 0, is_addressed=True)
    assert thread is not None
    return Message(
        id="",
        thread=thread,
        author=f"{PLATFORM}:{user.id}",
        author_name=str(user.display_name),
        text="",
        sent_at=0,
        addressed=True,
        direct=thread.space == DIRECT,
        channel=str(message.channel.id),
        parent=str(getattr(message.channel, "parent_id", None) or ""),
        is_private_thread=_is_private_thread(message.channel),
        place={
            "guild": thread.space,
            "message": str(message.id),
            "kind": kind,
            "open": "yes" if _is_open(message) else "",
            "author": str(user.id),
            **_without_threads(message.channel),
            **access_fields("", user, message.channel.id, needs_history=kind == "thread"),
        },
        roles=roles(user),
        is_guest=is_guest(user),
    )


def roles(author: discord.User | discord.Member) -> tuple[str, ...]:
    """Return an author's roles as in ALLOWED_ROLES, as far as the event has them.

    Outside a guild and over REST there are none. A guest of a voice channel does not even have `@everyone`.
    """
    known = author.roles if isinstance(author, discord.Member) and not is_guest(author) else []
    return tuple(f"{PLATFORM}:{role.id}" for role in known)


def space_of(interaction: discord.Interaction[Any]) -> str:
    """Return the space where a command is used: a server only if the bot was added to it."""
    is_in_guild = interaction.guild_id and interaction.is_guild_integration()
    return str(interaction.guild_id) if is_in_guild else DIRECT


def parse_correction(
    message: discord.Message,
    me: int,
    unreadable: Sequence[str] = (),
    languages: Mapping[int, str] = MappingProxyType({}),
) -> Correction | None:
    """Return the edit of a message as a correction; None if it is not an edit, such as a link preview.

    Edits by bots are ignored: a bot's answer that grows by edits would be answered at each of them.
    """
    is_edit = message.edited_at is not None
    parsed = parse_message(message, me, unreadable=unreadable, languages=languages) if is_edit else None
    if parsed is None or message.edited_at is None:
        return None
    return Correction(message=parsed, edited_at=message.edited_at.timestamp())


def parse_withdrawal(message_id: int) -> Withdrawal:
    """Return the deletion of a message as a withdrawal."""
    return Withdrawal(message_id=id_of(message_id))


def parse_stop(reaction: discord.RawReactionActionEvent) -> Stop | None:
    """Return the stop that a reaction stands for: a cross on a message stops the answer to it."""
    if reaction.emoji.name != STOP_REACTION:
        return None
    return Stop(
        by=f"{PLATFORM}:{reaction.user_id}",
        message_id=id_of(reaction.message_id),
        is_external=is_guest(reaction.member),
    )


def is_guest(author: discord.User | discord.Member | None) -> bool:
    """Return whether a user is a guest of a voice channel; not known outside a server."""
    return isinstance(author, discord.Member) and author.flags.guest


def _locale(message: discord.Message, language: str) -> Locale | None:
    """Return the locale of an author's app, else the one that their server has chosen; without a time zone.

    The default of servers is no choice: https://discord.com/developers/docs/resources/guild#guild-object
    """
    if not language and message.guild is not None:
        chosen = message.guild.preferred_locale
        language = "" if chosen is discord.Locale.american_english else str(chosen)
    return Locale(language=language) if language else None


def _author(message: discord.Message) -> str:
    return f"{PLATFORM}:{message.author.id}"


def id_of(message_id: int) -> str:
    """Return the id of a message as in `Message`."""
    return f"{PLATFORM}:{message_id}"


def _is_addressed(message: discord.Message, me: int) -> bool:
    # not ClientUser.mentioned_in: that is also true for @everyone
    return (
        isinstance(message.channel, discord.DMChannel)
        or any(user.id == me for user in message.mentions)
        or any(_is_mine(role, me) for role in message.role_mentions)
    )


def _access(message: discord.Message, text: str, *, needs_history: bool) -> Mapping[str, str]:
    return access_fields(text, message.author, message.channel.id, needs_history=needs_history)


def _mentions_others(message: discord.Message, me: int) -> bool:
    """Return whether a message mentions somebody besides the bot and its author, or pings them by a reply."""
    users = {user.id for user in message.mentions} - {me, message.author.id}
    roles = [role for role in message.role_mentions if not _is_mine(role, me)]
    return bool(users or roles or message.mention_everyone)


def _is_mine(role: discord.Role, me: int) -> bool:
    """Return whether Discord made the role for the bot; users pick it by mistake: the names are equal."""
    return role.tags is not None and role.tags.bot_id == me


def _conversation(message: discord.Message, me: int, is_addressed: bool) -> tuple[ThreadId | None, str]:
    channel = message.channel
    if isinstance(channel, discord.DMChannel):
        return ThreadId(PLATFORM, DIRECT, str(channel.id)), "dm"
    guild = str(message.guild.id if message.guild else getattr(channel, "guild_id", None))
    # discord.py knows all channels of a guild, but not a thread that was just unarchived
    if isinstance(channel, discord.Thread | discord.PartialMessageable):
        return ThreadId(PLATFORM, guild, str(channel.id)), "thread"
    root = _question_of(message, me) or (message.id if is_addressed else None)
    return (ThreadId(PLATFORM, guild, str(root)) if root else None), "channel"


def _is_open(message: discord.Message) -> bool:
    """Return whether every member of the guild can read the channel; False if that is not known."""
    channel: object = message.channel
    if isinstance(channel, discord.Thread):
        channel = None if _is_private_thread(channel) else channel.parent
    if message.guild is None or not isinstance(channel, discord.abc.GuildChannel):
        return False
    if not knows_roles(message.guild):
        return False
    everyone = channel.permissions_for(message.guild.default_role)
    return everyone.view_channel and everyone.read_message_history


def _without_threads(channel: object) -> Mapping[str, str]:
    """Return the field of a message's `place` in the chat of a voice channel, which has no threads."""
    return {NO_THREADS: "yes"} if isinstance(channel, discord.VoiceChannel | discord.StageChannel) else {}


def _is_private_thread(channel: object) -> bool:
    """Return whether `channel` is a thread that not all readers of its parent can read."""
    return isinstance(channel, discord.Thread) and channel.is_private()


def _question_of(message: discord.Message, me: int) -> int | None:
    """Return the question that began a chain of replies: each answer in a channel replies to it."""
    answer = message.reference.resolved if message.reference else None
    if isinstance(answer, discord.Message) and answer.author.id == me and answer.reference:
        return answer.reference.message_id
    return None


def _chain_of(message: discord.Message, me: int) -> str:
    """Return the id of the message to which the message replied to is a reply itself; else nothing."""
    replied = message.reference.resolved if message.reference else None
    is_reply = isinstance(replied, discord.Message) and replied.type is discord.MessageType.reply
    if not is_reply or not isinstance(replied, discord.Message) or replied.author.id == me:
        return ""
    return str(replied.reference.message_id or "") if replied.reference else ""


def _request_of(message: discord.Message, me: int) -> str:
    """Return the id of the approval request that a message replies to, read from its buttons.

    Without it, the request is ambiguous: direct messages and reply chains are threads that never end.
    """
    answer = message.reference.resolved if message.reference else None
    if not isinstance(answer, discord.Message) or answer.author.id != me:
        return ""
    # discord.py sets no components if the payload has none
    names = _custom_ids(getattr(answer, "components", ()))
    return next((id for verb, _, id in (each.partition(":") for each in names) if verb == "approve"), "")


def _custom_ids(components: Iterable[object]) -> Iterator[str]:
    for each in components:
        yield str(getattr(each, "custom_id", None) or "")
        yield from _custom_ids(getattr(each, "children", ()))


def readable_text(message: discord.Message, me: int) -> str:
    """Return what the author wrote, with names for ids, without mentions of the bot, whose id is `me`."""
    spoken = message.content
    if "<" in spoken:
        mine = {("@", me)} | {("@&", role.id) for role in message.role_mentions if _is_mine(role, me)}
        spoken = readable(spoken, message, leave_out=mine)
    more = [*stickers(message), *voice(message)]
    return "\n".join(filter(None, [spoken.strip(), *more])) if more else spoken.strip()
