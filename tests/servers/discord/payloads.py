"""JSON payloads of the simulated Discord's objects."""

from collections.abc import Iterable
from datetime import UTC, datetime

from tests.servers.discord.records import (
    EXTRA_PERMISSIONS,
    PERMISSIONS,
    Attachment,
    Channel,
    ChannelType,
    Guild,
    Json,
    Message,
    MessageFlag,
    User,
    snowflake_time,
)

MEMBER_PERMISSIONS = sum(bit for name, bit in PERMISSIONS.items() if name not in EXTRA_PERMISSIONS)
ALL_PERMISSIONS = sum(PERMISSIONS.values())


def timestamp(seconds: float) -> str:
    """Format Unix seconds as Discord does."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def user(user: User) -> Json:
    return {
        "id": str(user.id),
        "username": user.name,
        "global_name": user.name.title(),
        "discriminator": "0",
        "avatar": None,
        "bot": user.bot,
        "public_flags": 0,
    }


def member(user_: User) -> Json:
    return partial_member(user_) | {"user": user(user_)}


def partial_member(user_: User) -> Json:
    """Return a member as it is sent with a message, which contains the user already."""
    return {
        "roles": [str(id) for id in user_.roles],
        "joined_at": timestamp(1_700_000_000),
        "deaf": False,
        "mute": False,
        "flags": 1 << 4 if user_.is_guest else 0,
        "nick": None,
        "avatar": None,
        "pending": False,
    }


def channel(channel: Channel) -> Json:
    """Return a text channel or a direct message; use `thread` for a thread."""
    common = {
        "id": str(channel.id),
        "type": int(channel.type),
        "last_message_id": str(channel.last_message_id) if channel.last_message_id else None,
        "flags": 0,
    }
    if channel.guild is None:
        others = [channel.recipient] if channel.recipient else channel.only_for
        return common | {"recipients": [user(each) for each in others]}
    if channel.is_thread:
        return common | {"guild_id": str(channel.guild.id), "parent_id": str(_parent(channel).id)}
    denied = sum(PERMISSIONS[name] for name in channel.denied)
    everyone = {"id": str(channel.guild.id), "type": 0, "allow": "0", "deny": str(denied)}
    return common | {
        "guild_id": str(channel.guild.id),
        "name": channel.name,
        "position": 0,
        "permission_overwrites": [*_closed(channel), *([everyone] if denied else [])],
        "nsfw": False,
        "parent_id": None,
        "topic": None,
        "rate_limit_per_user": 0,
        **_of_type(channel),
    }


def _of_type(channel: Channel) -> Json:
    """Return the fields that only channels of some types have."""
    more: Json = {}
    if channel.default_auto_archive_duration:
        more["default_auto_archive_duration"] = channel.default_auto_archive_duration
    if channel.type in (ChannelType.VOICE, ChannelType.STAGE):
        more |= {"bitrate": 64_000, "user_limit": 0, "rtc_region": None}
    if channel.type in (ChannelType.FORUM, ChannelType.MEDIA):
        more["available_tags"] = [
            {"id": str(number), "name": name, "moderated": False, "emoji_id": None, "emoji_name": None}
            for number, name in enumerate(channel.tags, 1)
        ]
    return more


def _closed(channel: Channel) -> list[Json]:
    if not channel.only_for:
        return []
    assert channel.guild
    seen = str(PERMISSIONS["view_channel"])
    people = [{"id": str(each.id), "type": 1, "allow": seen, "deny": "0"} for each in channel.only_for]
    return [{"id": str(channel.guild.id), "type": 0, "allow": "0", "deny": seen}, *people]


def thread(thread: Channel, me: User) -> Json:
    assert thread.guild
    assert thread.owner
    data = {
        "id": str(thread.id),
        "type": int(thread.type),
        "guild_id": str(thread.guild.id),
        "parent_id": str(_parent(thread).id),
        "owner_id": str(thread.owner.id),
        "name": thread.name,
        "last_message_id": str(thread.last_message_id) if thread.last_message_id else None,
        "message_count": len(thread.messages),
        "total_message_sent": len(thread.messages),
        "member_count": len(thread.members),
        "rate_limit_per_user": 0,
        "flags": 0,
        "thread_metadata": {
            "archived": thread.archived,
            "auto_archive_duration": thread.auto_archive_duration,
            "archive_timestamp": timestamp(snowflake_time(thread.id)),
            "locked": thread.locked,
            "create_timestamp": timestamp(snowflake_time(thread.id)),
        },
    }
    if me.id in thread.members:
        data["member"] = thread_member(thread, me)
    if thread.tags:
        offered = _parent(thread).tags
        data["applied_tags"] = [str(offered.index(each) + 1) for each in thread.tags]
    return data


def any_channel(channel_: Channel, me: User) -> Json:
    return thread(channel_, me) if channel_.is_thread else channel(channel_)


def thread_member(thread: Channel, user: User) -> Json:
    return {
        "id": str(thread.id),
        "user_id": str(user.id),
        "join_timestamp": timestamp(snowflake_time(thread.id)),
        "flags": 1,
    }


def guild(guild: Guild, channels: Iterable[Channel], me: User) -> Json:
    """Return a guild as in GUILD_CREATE: all channels, the visible active threads, and the bot itself."""
    here = [each for each in channels if each.guild is guild]
    threads = [each for each in here if each.is_thread and not each.archived]
    everyone = {
        "id": str(guild.id),
        "name": "@everyone",
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "icon": None,
        "unicode_emoji": None,
        "position": 0,
        "permissions": str(MEMBER_PERMISSIONS),
        "managed": False,
        "mentionable": False,
        "flags": 0,
    }
    return {
        "id": str(guild.id),
        "name": guild.name,
        "owner_id": str(guild.owner.id),
        "icon": None,
        "splash": None,
        "discovery_splash": None,
        "banner": None,
        "description": None,
        "vanity_url_code": None,
        "region": "deprecated",
        "afk_channel_id": None,
        "afk_timeout": 300,
        "verification_level": 0,
        "default_message_notifications": 0,
        "explicit_content_filter": 0,
        "mfa_level": 0,
        "nsfw_level": 0,
        "premium_tier": 0,
        "premium_subscription_count": 0,
        "preferred_locale": guild.locale,
        "system_channel_id": None,
        "system_channel_flags": 0,
        "rules_channel_id": None,
        "public_updates_channel_id": None,
        "application_id": None,
        "features": [],
        "emojis": [],
        "stickers": [],
        "roles": [everyone, *(everyone | {"id": str(id), "name": name} for id, name in guild.roles.items())],
        "joined_at": timestamp(1_700_000_000),
        "large": False,
        "unavailable": False,
        "member_count": 2,
        "members": [member(me)],
        "channels": [channel(each) for each in here if not each.is_thread],
        "threads": [thread(each, me) for each in threads if each.permits("view_channel")],
        "presences": [],
        "voice_states": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
    }


def attachment(attachment: Attachment) -> Json:
    return {
        "id": str(attachment.id),
        "filename": attachment.name,
        "size": len(attachment.data),
        "url": attachment.url,
        "proxy_url": attachment.url,
        "content_type": attachment.media_type,
        **({"description": attachment.description} if attachment.description else {}),
    }


def message(message: Message) -> Json:
    """Return a message as REST shows it to the bot."""
    data = {
        "id": str(message.id),
        "channel_id": str(message.channel.id),
        "author": user(message.author),
        "content": "" if MessageFlag.COMPONENTS_V2 in message.flags else message.content,
        "timestamp": timestamp(message.sent_at),
        "edited_timestamp": timestamp(message.edited_at) if message.edited_at else None,
        "tts": False,
        "mention_everyone": message.mentions_everyone,
        "mentions": [user(each) for each in message.mentions],
        "mention_roles": [],
        "attachments": [attachment(each) for each in message.attachments],
        "embeds": message.embeds,
        "components": message.components,
        "pinned": False,
        "type": int(message.type),
        "flags": int(message.flags),
    }
    return {**data, **_links(message), **message.more}


def gateway_message(message_: Message) -> Json:
    """Return a message as in MESSAGE_CREATE and MESSAGE_UPDATE, with members if there are any."""
    data = message(message_)
    if message_.channel.guild:
        mentions = [user(each) | {"member": partial_member(each)} for each in message_.mentions]
        data |= {
            "guild_id": str(message_.channel.guild.id),
            "member": partial_member(message_.author),
            "mentions": mentions,
        }
    return data


def without_content(data: Json) -> Json:
    """Return a message as it is sent without the message content intent."""
    bare = data | {"content": "", "embeds": [], "attachments": [], "components": []}
    if data.get("referenced_message"):
        bare["referenced_message"] = without_content(data["referenced_message"])
    return bare


def _links(message_: Message) -> Json:
    links: dict[str, Json] = {}
    if message_.nonce is not None:
        links["nonce"] = message_.nonce
    if message_.reference:
        links["message_reference"] = _reference(message_.reference)
        links["referenced_message"] = _referenced(message_.reference)
    if message_.thread:
        links["thread"] = thread(message_.thread, message_.author)
    if message_.reactions:
        links["reactions"] = [_reaction(message_, emoji) for emoji in message_.reactions]
    if message_.interaction:
        links |= {
            "interaction_metadata": message_.interaction,
            "application_id": str(message_.author.id),
            "webhook_id": str(message_.author.id),
        }
    return links


def _reference(message: Message) -> Json:
    data = {"type": 0, "message_id": str(message.id), "channel_id": str(message.channel.id)}
    if message.channel.guild:
        data["guild_id"] = str(message.channel.guild.id)
    return data


def _referenced(message_: Message) -> Json:
    if message_.deleted_at:
        return None
    # Discord shows one level only
    return {key: value for key, value in message(message_).items() if key != "referenced_message"}


def _reaction(message: Message, emoji: str) -> Json:
    users = message.reactions[emoji].values()
    return {
        "emoji": {"id": None, "name": emoji},
        "count": len(users),
        "count_details": {"burst": 0, "normal": len(users)},
        "me": any(user.bot for user in users),
        "me_burst": False,
        "burst_colors": [],
    }


def _parent(thread: Channel) -> Channel:
    assert thread.parent
    return thread.parent
