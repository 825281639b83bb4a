"""Users, channels and messages of the simulated Discord as plain data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Any

Json = Any

EPOCH_MS = 1_420_070_400_000
"""Discord's epoch, the first second of 2015, in Unix milliseconds."""

AUTO_ARCHIVE_MINUTES = (60, 1440, 4320, 10080)
FILE_LIMIT = 10 * 1024 * 1024
"""Most bytes of a file on a server without boosts."""

PERMISSIONS = {
    "administrator": 1 << 3,
    "manage_channels": 1 << 4,
    "manage_guild": 1 << 5,
    "add_reactions": 1 << 6,
    "view_channel": 1 << 10,
    "send_messages": 1 << 11,
    "manage_messages": 1 << 13,
    "embed_links": 1 << 14,
    "attach_files": 1 << 15,
    "read_message_history": 1 << 16,
    "mention_everyone": 1 << 17,
    "use_application_commands": 1 << 31,
    "manage_threads": 1 << 34,
    "create_public_threads": 1 << 35,
    "create_private_threads": 1 << 36,
    "send_messages_in_threads": 1 << 38,
}
EXTRA_PERMISSIONS = frozenset(
    {
        "administrator",
        "manage_channels",
        "manage_guild",
        "manage_messages",
        "manage_threads",
        "mention_everyone",
    }
)
"""Permissions that ordinary members and the bot do not have."""


INVITED = frozenset(  # as the link of `bot manifest --invite`: a test compares the two
    {
        "attach_files",
        "create_public_threads",
        "read_message_history",
        "send_messages",
        "send_messages_in_threads",
        "view_channel",
    }
)
"""Permissions that the invite link of the bot asks for."""


class Intent(IntFlag):
    """Intents of a session (https://discord.com/developers/docs/events/gateway#gateway-intents)."""

    GUILDS = 1 << 0
    GUILD_MEMBERS = 1 << 1
    GUILD_PRESENCES = 1 << 8
    GUILD_MESSAGES = 1 << 9
    GUILD_MESSAGE_REACTIONS = 1 << 10
    GUILD_MESSAGE_TYPING = 1 << 11
    DIRECT_MESSAGES = 1 << 12
    DIRECT_MESSAGE_REACTIONS = 1 << 13
    DIRECT_MESSAGE_TYPING = 1 << 14
    MESSAGE_CONTENT = 1 << 15
    ANY = 0


class ChannelType(IntEnum):
    TEXT = 0
    DM = 1
    VOICE = 2
    GROUP_DM = 3
    ANNOUNCEMENT = 5
    ANNOUNCEMENT_THREAD = 10
    PUBLIC_THREAD = 11
    PRIVATE_THREAD = 12
    STAGE = 13
    FORUM = 15
    MEDIA = 16


class MessageType(IntEnum):
    DEFAULT = 0
    THREAD_CREATED = 18
    REPLY = 19
    CHAT_INPUT_COMMAND = 20
    THREAD_STARTER_MESSAGE = 21


class MessageFlag(IntFlag):
    SUPPRESS_EMBEDS = 1 << 2
    HAS_THREAD = 1 << 5
    EPHEMERAL = 1 << 6
    LOADING = 1 << 7
    SUPPRESS_NOTIFICATIONS = 1 << 12
    COMPONENTS_V2 = 1 << 15


NO_FLAGS = MessageFlag(0)
SYSTEM_MESSAGES = frozenset({MessageType.THREAD_CREATED, MessageType.THREAD_STARTER_MESSAGE})


@dataclass(eq=False)
class User:
    """Discord user. Clear `accepts_dms` to refuse the bot's direct messages (50007).

    `is_guest`: joined by the invitation to a voice channel, and is not a member of the server.
    """

    id: int
    name: str
    bot: bool = False
    accepts_dms: bool = True
    administrator: bool = False
    locale: str = "en-US"
    is_guest: bool = False
    roles: set[int] = field(default_factory=set)

    @property
    def mention(self) -> str:
        return f"<@{self.id}>"


@dataclass(eq=False)
class Guild:
    id: int
    name: str
    owner: User
    roles: dict[int, str] = field(default_factory=dict)
    locale: str = "en-US"


@dataclass(eq=False)
class Channel:
    """Channel of any type, thread or direct message.

    `is_foreign`: in a server, or between users, without the bot; its commands work there for users who have
    installed it for themselves. `tags` are names: those that a forum offers, or those of a post.
    Of the permissions (`PERMISSIONS`) the bot has those of `INVITED` and `granted`, without those that are
    `denied` here or in the parent; `only_for` are the only users who see it; `typing` are the times
    (monotonic) of the bot's typing.
    """

    id: int
    type: ChannelType
    name: str
    guild: Guild | None = None
    parent: "Channel | None" = None
    owner: User | None = None
    recipient: User | None = None
    denied: set[str] = field(default_factory=set)
    granted: set[str] = field(default_factory=set)
    only_for: tuple[User, ...] = ()
    messages: dict[int, "Message"] = field(default_factory=dict)
    members: dict[int, User] = field(default_factory=dict)
    typing: list[float] = field(default_factory=list)
    archived: bool = False
    locked: bool = False
    auto_archive_duration: int = 4320
    default_auto_archive_duration: int | None = None
    last_message_id: int | None = None
    is_foreign: bool = False
    tags: tuple[str, ...] = ()

    @property
    def is_thread(self) -> bool:
        return self.parent is not None

    def permits(self, permission: str) -> bool:
        """Return True if the bot has the permission here."""
        if self.is_foreign or (self.type is ChannelType.PRIVATE_THREAD and not self._has_bot()):
            return False
        if self.guild is None:
            return permission not in EXTRA_PERMISSIONS
        lacking = self.denied | (self.parent.denied if self.parent else set())
        return permission in (INVITED | self.granted) - lacking

    def _has_bot(self) -> bool:
        """Return True if the bot sees this private thread: as a member, or as a moderator."""
        return "manage_threads" in self.granted or any(each.bot for each in self.members.values())


@dataclass(frozen=True)
class Edit:
    """Text of a message from a time on; `at` is `time.monotonic()`."""

    at: float
    content: str


@dataclass(frozen=True)
class File:
    """Attached file."""

    name: str
    data: bytes
    media_type: str = ""
    description: str = ""


@dataclass(frozen=True)
class Attachment:
    id: int
    name: str
    data: bytes
    media_type: str
    url: str
    description: str = ""


@dataclass(eq=False)
class Message:
    """Message with the history of its text.

    With components v2 its `content` is the text in them, which users read; its payload has none.
    `history` begins with the first text; `mentions` are the users that it pinged, after `allowed_mentions`;
    `deleted_at` is set once it is deleted; `more` adds to its payload or replaces parts of it.
    """

    id: int
    channel: Channel
    author: User
    content: str
    type: MessageType = MessageType.DEFAULT
    history: list[Edit] = field(default_factory=list)
    nonce: str | int | None = None
    reference: "Message | None" = None
    attachments: list[Attachment] = field(default_factory=list)
    embeds: list[Json] = field(default_factory=list)
    components: list[Json] = field(default_factory=list)
    mentions: list[User] = field(default_factory=list)
    mentions_everyone: bool = False
    flags: MessageFlag = NO_FLAGS
    edited_at: float | None = None
    deleted_at: float | None = None
    thread: Channel | None = None
    reactions: dict[str, dict[int, User]] = field(default_factory=dict)
    interaction: Json = None
    more: Mapping[str, Json] = field(default_factory=dict)

    @property
    def buttons(self) -> list[Json]:
        """Return the buttons and menus below the text, or in it."""
        return [each for each in _walk(self.components) if each.get("custom_id")]

    @property
    def ephemeral(self) -> bool:
        return MessageFlag.EPHEMERAL in self.flags

    @property
    def loading(self) -> bool:
        """Return True while it is the "is thinking ..." of a deferred interaction."""
        return MessageFlag.LOADING in self.flags

    @property
    def sent_at(self) -> float:
        """Return the time of sending in Unix seconds."""
        return snowflake_time(self.id)


def _walk(components: Sequence[Json]) -> Iterator[Json]:
    for each in components:
        yield each
        yield from _walk(each.get("components") or [])
        yield from _walk([each["accessory"]] if each.get("accessory") else [])


@dataclass(frozen=True)
class Event:
    """Event for sessions with `intent` and the right shard."""

    name: str
    data: Json
    intent: Intent
    guild: Guild | None = None
    author: User | None = None


@dataclass(frozen=True)
class Mentions:
    """Users and roles that a text may ping; the default is that of a user's message."""

    users: bool = True
    everyone: bool = False
    replied_user: bool = True
    only: frozenset[int] = frozenset()

    @classmethod
    def from_rules(cls, rules: Json) -> "Mentions":
        """Read `allowed_mentions`; without it the bot pings users, and nobody `@everyone` (no permission)."""
        if rules is None:
            return cls()
        parse = rules.get("parse") or ()
        only = frozenset(int(user) for user in rules.get("users") or ())
        return cls("users" in parse, replied_user=bool(rules.get("replied_user")), only=only)


DEFAULT_MENTIONS = Mentions()


@dataclass(frozen=True)
class Draft:
    """Message to be sent."""

    content: str = ""
    nonce: str | int | None = None
    files: Sequence[File] = ()
    embeds: Sequence[Json] = ()
    components: Sequence[Json] = ()
    flags: MessageFlag = NO_FLAGS
    mentions: Mentions = DEFAULT_MENTIONS
    more: Mapping[str, Json] = field(default_factory=dict)


def snowflake_time(id: int) -> float:
    """Return the creation time of an id in Unix seconds."""
    return ((id >> 22) + EPOCH_MS) / 1000
