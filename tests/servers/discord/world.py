"""State changes of the simulated Discord, and their events."""

import mimetypes
import re
import time
from collections.abc import Callable, Iterable, Sequence

from tests.servers.discord import payloads as payloads
from tests.servers.discord.records import (
    DEFAULT_MENTIONS,
    EPOCH_MS,
    Attachment,
    Channel,
    ChannelType,
    Draft,
    Edit,
    Event,
    File,
    Guild,
    Intent,
    Json,
    Mentions,
    Message,
    MessageFlag,
    MessageType,
    User,
)


class World:
    """State of Discord, which emits an event for each change; REST checks permissions."""

    def __init__(self, cdn: Callable[[], str], nonce_window: float = 180) -> None:
        self._cdn = cdn
        self._last_id = 0
        self.nonce_window = nonce_window
        self.listener: Callable[[Event], object] = lambda event: None
        self.users: dict[int, User] = {}
        self.guilds: dict[int, Guild] = {}
        self.channels: dict[int, Channel] = {}
        self.files: dict[int, Attachment] = {}
        self.gone: set[int] = set()
        self._nonces: dict[tuple[int, str], Message] = {}
        self.bot = self.add_user("agent", bot=True)

    def snowflake(self) -> int:
        """Return a new id, greater than all before."""
        now = (int(time.time() * 1000) - EPOCH_MS) << 22
        self._last_id = max(now, self._last_id + 1)
        return self._last_id

    def add_user(self, name: str, *, bot: bool = False, administrator: bool = False) -> User:
        user = User(self.snowflake(), name, bot=bot, administrator=administrator)
        self.users[user.id] = user
        return user

    def add_guild(self, name: str, shard: tuple[int, int] = (0, 1)) -> Guild:
        number, count = shard
        id = self.snowflake()
        while (id >> 22) % count != number:
            id += 1 << 22
        self._last_id = id
        guild = Guild(id, name, self.add_user(f"owner of {name}", administrator=True))
        self.guilds[guild.id] = guild
        self._emit(
            "GUILD_CREATE", payloads.guild(guild, self.channels.values(), self.bot), Intent.GUILDS, guild
        )
        return guild

    def add_channel(
        self,
        name: str,
        guild: Guild,
        only_for: Sequence[User] = (),
        type: ChannelType = ChannelType.TEXT,
        tags: Sequence[str] = (),
    ) -> Channel:
        """Add a channel; with `only_for` a private one, which the bot can see."""
        seen_by = (*only_for, self.bot) if only_for else ()
        channel = Channel(self.snowflake(), type, name, guild, only_for=seen_by, tags=tuple(tags))
        self.channels[channel.id] = channel
        self._emit("CHANNEL_CREATE", payloads.channel(channel), Intent.GUILDS, guild)
        return channel

    def add_foreign_channel(self, type: ChannelType, users: Sequence[User]) -> Channel:
        """Add a channel without the bot: one of a server that it is not in, or one between users."""
        guild = parent = None
        if type not in (ChannelType.DM, ChannelType.GROUP_DM):
            guild = Guild(self.snowflake(), "elsewhere", users[0])
        if type is ChannelType.PUBLIC_THREAD:
            parent = Channel(self.snowflake(), ChannelType.TEXT, "parent", guild, is_foreign=True)
        channel = Channel(self.snowflake(), type, "elsewhere", guild, parent, users[0], is_foreign=True)
        channel.only_for = tuple(users)
        self.channels[channel.id] = channel
        return channel

    def remove_channel(self, channel: Channel) -> None:
        """Delete a channel or a thread with all of its messages."""
        for each in [each for each in self.channels.values() if each.parent is channel]:
            self.remove_channel(each)
        del self.channels[channel.id]
        self.gone.add(channel.id)
        name = "THREAD_DELETE" if channel.is_thread else "CHANNEL_DELETE"
        self._emit(name, payloads.channel(channel), Intent.GUILDS, channel.guild)

    def dm(self, user: User) -> Channel:
        """Return the direct message channel of the bot with `user`."""
        for channel in self.channels.values():
            if channel.recipient is user:
                return channel
        channel = Channel(self.snowflake(), ChannelType.DM, user.name, recipient=user)
        self.channels[channel.id] = channel
        return channel

    def earlier_with_nonce(self, author: User, nonce: str | int) -> Message | None:
        """Return the author's message of the last minutes with this nonce, or None."""
        earlier = self._nonces.get((author.id, str(nonce)))
        recent = earlier is not None and time.time() - earlier.sent_at < self.nonce_window
        return earlier if recent else None

    def forget_nonces(self) -> None:
        self._nonces.clear()

    def post(
        self,
        channel: Channel,
        author: User,
        draft: Draft,
        *,
        type: MessageType = MessageType.DEFAULT,
        reference: Message | None = None,
        interaction: Json = None,
        id: int | None = None,
    ) -> Message:
        """Add a message to a channel (an ephemeral one only to its interaction) and notify the sessions."""
        message = Message(
            id=id or self.snowflake(),
            channel=channel,
            author=author,
            # Discord trims what it stores: an answer shown piece by piece loses the space at its end
            content=draft.content.strip(),
            type=MessageType.REPLY if reference and type is MessageType.DEFAULT else type,
            nonce=draft.nonce,
            reference=reference,
            attachments=[self.attach(channel, file) for file in draft.files],
            embeds=list(draft.embeds),
            components=self._numbered(draft.components),
            flags=draft.flags,
            interaction=interaction,
            more=draft.more,
        )
        self._ping(message, draft.mentions)
        message.history.append(Edit(time.monotonic(), message.content))
        if message.nonce is not None:
            self._nonces[author.id, str(message.nonce)] = message
        if not message.ephemeral:
            self._publish(message)
        return message

    def _publish(self, message: Message) -> None:
        channel = message.channel
        self.unarchive(channel)
        channel.messages[message.id] = message
        channel.last_message_id = message.id
        if channel.is_thread:
            self.join(channel, message.author)
            for user in message.mentions:
                self.join(channel, user)
        self._emit_message("MESSAGE_CREATE", message)

    def edit(
        self,
        message: Message,
        *,
        content: str | None = None,
        embeds: Sequence[Json] | None = None,
        components: Sequence[Json] | None = None,
        files: Sequence[File] = (),
        keep_attachments: Iterable[int] | None = None,
        flags: MessageFlag | None = None,
        mentions: Mentions = DEFAULT_MENTIONS,
    ) -> Message:
        """Change the given fields. Completing a deferred answer does not mark it as edited."""
        if content is not None:
            message.content = content.strip()
            self._ping(message, mentions)
        if embeds is not None:
            message.embeds = list(embeds)
        if components is not None:
            message.components = self._numbered(components)
        if keep_attachments is not None:
            kept = set(keep_attachments)
            message.attachments = [each for each in message.attachments if each.id in kept]
        message.attachments += [self.attach(message.channel, file) for file in files]
        message.edited_at = None if message.loading else time.time()
        if flags is not None:
            message.flags = flags
        message.flags &= ~MessageFlag.LOADING
        message.history.append(Edit(time.monotonic(), message.content))
        if not message.ephemeral:
            self._emit_message("MESSAGE_UPDATE", message)
        return message

    def delete(self, message: Message) -> None:
        message.deleted_at = time.monotonic()
        message.channel.messages.pop(message.id, None)
        self.gone.add(message.id)
        if message.ephemeral:
            return
        data = {"id": str(message.id), "channel_id": str(message.channel.id)}
        if message.channel.guild:
            data["guild_id"] = str(message.channel.guild.id)
        self._emit("MESSAGE_DELETE", data, self._messages_intent(message.channel), message.channel.guild)

    def start_thread(
        self, parent: Channel, name: str, owner: User, source: Message | None, *, private: bool = False
    ) -> Channel:
        """Open a thread, from a message (with that message's id) or without one."""
        is_news = parent.type is ChannelType.ANNOUNCEMENT
        public = ChannelType.ANNOUNCEMENT_THREAD if is_news else ChannelType.PUBLIC_THREAD
        thread = Channel(
            source.id if source else self.snowflake(),
            ChannelType.PRIVATE_THREAD if private else public,
            name,
            parent.guild,
            parent=parent,
            owner=owner,
        )
        thread.members[owner.id] = owner
        self.channels[thread.id] = thread
        data = payloads.thread(thread, self.bot) | {"newly_created": True}
        self._emit("THREAD_CREATE", data, Intent.GUILDS, thread.guild)
        if source:
            source.thread = thread
            source.flags |= MessageFlag.HAS_THREAD
            self._emit_message("MESSAGE_UPDATE", source)
            # https://discord.com/developers/docs/topics/threads: the first message points to the source
            self.post(
                thread,
                source.author,
                Draft(mentions=Mentions(replied_user=False)),
                type=MessageType.THREAD_STARTER_MESSAGE,
                reference=source,
            )
        elif not private:
            self.post(parent, owner, Draft(name), type=MessageType.THREAD_CREATED)
        return thread

    def start_post(
        self, forum: Channel, author: User, title: str, draft: Draft, tags: Sequence[str] = ()
    ) -> Message:
        """Open a post in a forum; its first message has the id of its thread."""
        post = Channel(
            self.snowflake(),
            ChannelType.PUBLIC_THREAD,
            title,
            forum.guild,
            parent=forum,
            owner=author,
            tags=tuple(tags),
        )
        post.members[author.id] = author
        self.channels[post.id] = post
        forum.last_message_id = post.id  # of the newest thread, not of a message
        data = payloads.thread(post, self.bot) | {"newly_created": True}
        self._emit("THREAD_CREATE", data, Intent.GUILDS, post.guild)
        return self.post(post, author, draft, id=post.id)

    def join(self, thread: Channel, user: User) -> None:
        """Add a user to the thread."""
        if user.id in thread.members or thread.guild is None:
            return
        thread.members[user.id] = user
        data = {
            "id": str(thread.id),
            "guild_id": str(thread.guild.id),
            "member_count": len(thread.members),
            "added_members": [payloads.thread_member(thread, user)],
            "removed_member_ids": [],
        }
        # without the members intent a session hears only of itself
        intent = Intent.GUILDS if user is self.bot else Intent.GUILD_MEMBERS
        self._emit("THREAD_MEMBERS_UPDATE", data, intent, thread.guild)

    def update_thread(self, thread: Channel) -> None:
        """Notify the sessions that a thread's name or state has changed."""
        self._emit("THREAD_UPDATE", payloads.thread(thread, self.bot), Intent.GUILDS, thread.guild)

    def unarchive(self, thread: Channel) -> None:
        if thread.archived:
            thread.archived = False
            self.update_thread(thread)

    def type_in(self, channel: Channel, user: User) -> None:
        """Show that a user is typing."""
        if user is self.bot:
            channel.typing.append(time.monotonic())
        data = {"channel_id": str(channel.id), "user_id": str(user.id), "timestamp": int(time.time())}
        if channel.guild:
            data |= {"guild_id": str(channel.guild.id), "member": payloads.member(user)}
        intent = Intent.GUILD_MESSAGE_TYPING if channel.guild else Intent.DIRECT_MESSAGE_TYPING
        self._emit("TYPING_START", data, intent, channel.guild)

    def react(self, message: Message, user: User, emoji: str) -> None:
        message.reactions.setdefault(emoji, {})[user.id] = user
        channel = message.channel
        data = {
            "user_id": str(user.id),
            "channel_id": str(channel.id),
            "message_id": str(message.id),
            "emoji": {"id": None, "name": emoji},
            "type": 0,
            "burst": False,
        }
        if channel.guild:
            data |= {"guild_id": str(channel.guild.id), "member": payloads.member(user)}
        intent = Intent.GUILD_MESSAGE_REACTIONS if channel.guild else Intent.DIRECT_MESSAGE_REACTIONS
        self._emit("MESSAGE_REACTION_ADD", data, intent, channel.guild)

    def attach(self, channel: Channel, file: File) -> Attachment:
        id = self.snowflake()
        media_type = file.media_type or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        # the real addresses are signed too: without the query they are dead
        url = f"{self._cdn()}/attachments/{channel.id}/{id}/{file.name}?ex=1&is=1&hm={id:x}"
        self.files[id] = Attachment(id, file.name, file.data, media_type, url, file.description)
        return self.files[id]

    def _numbered(self, components: Sequence[Json]) -> list[Json]:
        """Assign the ids that Discord gives to components."""
        return [{"id": number, **each} for number, each in enumerate(components, 1)]

    def _ping(self, message: Message, allowed: Mentions) -> None:
        named = [int(id) for id in re.findall(r"<@!?(\d+)>", message.content)]
        pinged = [self.users[id] for id in named if id in self.users]
        message.mentions = [user for user in pinged if allowed.users or user.id in allowed.only]
        if message.reference and allowed.replied_user:
            message.mentions.append(message.reference.author)
        message.mentions = list(dict.fromkeys(message.mentions))
        message.mentions_everyone = allowed.everyone and bool(re.search("@(everyone|here)", message.content))

    def _messages_intent(self, channel: Channel) -> Intent:
        return Intent.GUILD_MESSAGES if channel.guild else Intent.DIRECT_MESSAGES

    def _emit_message(self, name: str, message: Message) -> None:
        channel = message.channel
        if not channel.permits("view_channel"):
            return
        data = payloads.gateway_message(message)
        self.listener(Event(name, data, self._messages_intent(channel), channel.guild, author=message.author))

    def _emit(self, name: str, data: Json, intent: Intent, guild: Guild | None) -> None:
        self.listener(Event(name, data, intent, guild))
