"""REST API for channels, messages and threads, version 10."""

from collections.abc import Iterable

from tests.servers.discord import payloads as payloads
from tests.servers.discord import rules as rules
from tests.servers.discord.api import Reply, Request, Route
from tests.servers.discord.drafts import apply_edit, read_draft
from tests.servers.discord.records import (
    SYSTEM_MESSAGES,
    Channel,
    ChannelType,
    Guild,
    Json,
    Message,
)
from tests.servers.discord.rules import (
    Refusal,
    form_error,
    need,
    snowflake,
    unknown,
)
from tests.servers.discord.session_starts import SessionStarts
from tests.servers.discord.world import World


class Rest:
    """Handlers for requests with the bot's token.

    `hides_content`: the content intent is off. `application_details` and `channel_details` override the
    payloads of the application and of channels.
    """

    def __init__(self, world: World, starts: SessionStarts) -> None:
        self._world = world
        self._starts = starts
        self.gateway_url = ""
        self.hides_content = False
        self.application_details: Json = {}
        self.channel_details: dict[int, Json] = {}

    def routes(self) -> list[Route]:
        messages = "/channels/{channel}/messages"
        one = messages + "/{message}"
        return [
            Route("GET", "/gateway", self.gateway, public=True),
            Route("GET", "/gateway/bot", self.gateway_bot),
            Route("GET", "/users/@me", self.me),
            Route("GET", "/oauth2/applications/@me", self.application),
            Route("GET", "/users/{user}", self.user),
            Route("POST", "/users/@me/channels", self.open_dm),
            Route("GET", "/guilds/{guild}", self.guild),
            Route("GET", "/guilds/{guild}/channels", self.guild_channels),
            Route("GET", "/guilds/{guild}/members/search", self.find_members),
            Route("GET", "/guilds/{guild}/members/{user}", self.member),
            Route("GET", "/guilds/{guild}/threads/active", self.active_threads),
            Route("GET", "/channels/{channel}", self.channel),
            Route("PATCH", "/channels/{channel}", self.change_channel, "rename"),
            Route("GET", messages, self.history),
            Route("POST", messages, self.send, "send"),
            Route("GET", one, self.message),
            Route("PATCH", one, self.edit, "edit"),
            Route("DELETE", one, self.delete),
            Route("POST", "/channels/{channel}/typing", self.type_in),
            Route("PUT", one + "/reactions/{emoji}/@me", self.react),
            Route("POST", one + "/threads", self.thread_from_message),
            Route("POST", "/channels/{channel}/threads", self.thread),
            Route("GET", "/channels/{channel}/threads/archived/{kind}", self.archived_threads),
            Route("PUT", "/channels/{channel}/thread-members/@me", self.join),
        ]

    # --- who am I

    async def gateway(self, request: Request) -> Reply:
        return Reply({"url": self.gateway_url})

    async def gateway_bot(self, request: Request) -> Reply:
        start = {"shards": self._starts.shards, "session_start_limit": self._starts.limit()}
        return Reply({"url": self.gateway_url, **start})

    async def me(self, request: Request) -> Reply:
        extra = {"verified": True, "email": None, "mfa_enabled": False, "locale": "en-US", "flags": 0}
        return Reply(payloads.user(self._world.bot) | extra)

    async def application(self, request: Request) -> Reply:
        bot = self._world.bot
        owner = next(iter(self._world.guilds.values())).owner
        return Reply(
            {
                "id": str(bot.id),
                "name": bot.name,
                "icon": None,
                "description": "",
                "summary": "",
                "bot_public": True,
                "bot_require_code_grant": False,
                "verify_key": "0" * 64,
                "flags": 0,
                "owner": payloads.user(owner),
                "team": None,
                "bot": payloads.user(bot),
            }
            | self.application_details
        )

    async def user(self, request: Request) -> Reply:
        user = self._world.users.get(request.id("user"))
        if user is None:
            raise unknown("User", 10013)
        return Reply(payloads.user(user))

    async def open_dm(self, request: Request) -> Reply:
        user = self._world.users.get(snowflake(request.body.get("recipient_id"), "recipient_id"))
        if user is None or user is self._world.bot:
            raise Refusal(400, 50033, "Invalid Recipient(s)", blame=True)
        return Reply(payloads.channel(self._world.dm(user)))

    # --- guilds and channels

    async def guild(self, request: Request) -> Reply:
        return Reply(payloads.guild(self._guild(request), (), self._world.bot))

    async def guild_channels(self, request: Request) -> Reply:
        here = (each for each in self._world.channels.values() if each.guild is self._guild(request))
        return Reply([self._details(each) for each in here if not each.is_thread])

    def _details(self, channel: Channel) -> Json:
        return payloads.any_channel(channel, self._world.bot) | self.channel_details.get(channel.id, {})

    async def member(self, request: Request) -> Reply:
        user = self._world.users.get(request.id("user"))
        self._guild(request)
        if user is None:
            raise unknown("Member", 10007)
        return Reply(payloads.member(user))

    async def find_members(self, request: Request) -> Reply:
        self._guild(request)
        wanted, limit = request.query.get("query", "").lower(), int(request.query.get("limit", "1"))
        if not wanted or not 1 <= limit <= 1000:
            raise form_error("query", "BASE_TYPE_REQUIRED", "This field is required")
        users = [each for each in self._world.users.values() if each.name.lower().startswith(wanted)]
        return Reply([payloads.member(each) for each in users[:limit]])

    async def channel(self, request: Request) -> Reply:
        channel = self._channel(request)
        need(channel)
        return Reply(self._details(channel))

    async def change_channel(self, request: Request) -> Reply:
        thread = self._channel(request)
        changes = request.body
        own = thread.is_thread and thread.owner is self._world.bot
        if thread.is_thread and changes == {"archived": False}:
            # https://discord.com/developers/docs/topics/threads#editing-deleting-threads
            own = self._world.bot.id in thread.members and not thread.locked
        elif thread.archived and changes.get("archived", True):
            raise Refusal(400, 50083, "Thread is archived")
        need(thread, *([] if own else ["manage_threads" if thread.is_thread else "manage_channels"]))
        if "name" in changes:
            thread.name = rules.length(changes["name"], "name", 1, 100)
        thread.archived = changes.get("archived", thread.archived)
        self._world.update_thread(thread)
        return Reply(payloads.any_channel(thread, self._world.bot))

    async def type_in(self, request: Request) -> Reply:
        channel = self._channel(request)
        need(channel, _send_permission(channel))
        self._world.type_in(channel, self._world.bot)
        return Reply()

    # --- messages

    async def history(self, request: Request) -> Reply:
        channel = self._channel(request)
        need(channel)
        limit = request.query.get("limit", "50")
        if not (limit.isdecimal() and 1 <= int(limit) <= 100):
            raise form_error("limit", "NUMBER_TYPE_MAX", "int value should be between 1 and 100.")
        if not channel.permits("read_message_history"):
            return Reply([])
        page = _page(list(channel.messages.values()), request.query, int(limit))
        return Reply([self._message_json(message) for message in page])

    async def message(self, request: Request) -> Reply:
        message = self._message(request)
        need(message.channel, "read_message_history")
        return Reply(self._message_json(message))

    async def send(self, request: Request) -> Reply:
        channel, body = self._channel(request), request.body or {}
        self._may_send(channel, body, bool(request.files))
        draft = read_draft(body, request.files)
        bot = self._world.bot
        if draft.nonce is not None and body.get("enforce_nonce"):
            earlier = self._world.earlier_with_nonce(bot, draft.nonce)
            if earlier:
                return Reply(self._message_json(earlier))
        reference = self._reference(channel, body.get("message_reference"))
        return Reply(self._message_json(self._world.post(channel, bot, draft, reference=reference)))

    def _may_send(self, channel: Channel, body: Json, with_files: bool) -> None:
        if channel.type in (ChannelType.FORUM, ChannelType.MEDIA):
            raise Refusal(400, 50008, "Cannot send messages in a non-text channel", blame=True)
        need(channel, _send_permission(channel))
        if body.get("embeds"):
            need(channel, "embed_links")
        if with_files:
            need(channel, "attach_files")
        if channel.recipient and not channel.recipient.accepts_dms:
            raise Refusal(403, 50007, "Cannot send messages to this user")
        if channel.archived and channel.locked:
            raise Refusal(400, 50083, "Thread is archived")
        if channel.locked and not channel.permits("manage_threads"):
            raise Refusal(403, 160005, "Thread is locked")

    def _reference(self, channel: Channel, reference: Json) -> Message | None:
        if not reference:
            return None
        id = snowflake(reference.get("message_id"), "message_reference.message_id")
        message = channel.messages.get(id)
        if message is None:
            if reference.get("fail_if_not_exists", True):
                gone = id in self._world.gone
                raise form_error(
                    "message_reference", "REPLIES_UNKNOWN_MESSAGE", "Unknown message", blame=not gone
                )
            return None
        if message.type in SYSTEM_MESSAGES:
            raise form_error(
                "message_reference",
                "REPLIES_CANNOT_REPLY_TO_SYSTEM_MESSAGE",
                "Cannot reply to a system message",
            )
        if not channel.permits("read_message_history"):
            raise Refusal(403, 160002, "Cannot reply without permission to read message history")
        return message

    async def edit(self, request: Request) -> Reply:
        message, body = self._message(request), request.body or {}
        need(message.channel)
        if message.author is not self._world.bot:
            raise Refusal(403, 50005, "Cannot edit a message authored by another user", blame=True)
        if message.channel.archived:
            raise Refusal(400, 50083, "Thread is archived")
        return Reply(self._message_json(apply_edit(self._world, message, body, request.files)))

    async def delete(self, request: Request) -> Reply:
        message = self._message(request)
        need(message.channel, *([] if message.author is self._world.bot else ["manage_messages"]))
        self._world.delete(message)
        return Reply()

    async def react(self, request: Request) -> Reply:
        message = self._message(request)
        need(message.channel, "read_message_history", "add_reactions")
        if message.channel.archived:
            raise Refusal(400, 50083, "Thread is archived")
        emoji = request.path["emoji"]
        if not emoji or (emoji.isascii() and ":" not in emoji):
            raise Refusal(400, 10014, "Unknown Emoji", blame=True)
        self._world.react(message, self._world.bot, emoji)
        return Reply()

    # --- threads

    async def thread_from_message(self, request: Request) -> Reply:
        message = self._message(request)
        parent = message.channel
        need(parent, "create_public_threads", "read_message_history")
        name = rules.thread_name(request.body or {})
        with_threads = (ChannelType.TEXT, ChannelType.ANNOUNCEMENT)
        if parent.type not in with_threads or message.type in SYSTEM_MESSAGES:
            raise Refusal(400, 50024, "Cannot execute action on this channel type", blame=True)
        if message.id in self._world.channels:
            raise Refusal(400, 160004, "A thread has already been created for this message")
        return self._opened(parent, name, message, request.body)

    async def thread(self, request: Request) -> Reply:
        parent, body = self._channel(request), request.body or {}
        private = body.get("type", 12) == ChannelType.PRIVATE_THREAD
        need(parent, "create_private_threads" if private else "create_public_threads")
        name = rules.thread_name(body)
        if parent.type is not ChannelType.TEXT:
            raise Refusal(400, 50024, "Cannot execute action on this channel type", blame=True)
        return self._opened(parent, name, None, body, private=private)

    def _opened(
        self, parent: Channel, name: str, source: Message | None, body: Json, *, private: bool = False
    ) -> Reply:
        thread = self._world.start_thread(parent, name, self._world.bot, source, private=private)
        wanted = body.get("auto_archive_duration") or parent.default_auto_archive_duration
        thread.auto_archive_duration = wanted or thread.auto_archive_duration
        return Reply(payloads.thread(thread, self._world.bot), status=201)

    async def active_threads(self, request: Request) -> Reply:
        guild = self._guild(request)
        everything = self._world.channels.values()
        return self._threads(each for each in everything if each.guild is guild and not each.archived)

    async def archived_threads(self, request: Request) -> Reply:
        parent = self._channel(request)
        need(parent, "read_message_history")
        everything = self._world.channels.values()
        return self._threads(each for each in everything if each.parent is parent and each.archived)

    def _threads(self, threads: Iterable[Channel]) -> Reply:
        me = self._world.bot
        visible = [each for each in threads if each.is_thread and each.permits("view_channel")]
        visible.sort(key=lambda thread: thread.id, reverse=True)
        members = [payloads.thread_member(each, me) for each in visible if me.id in each.members]
        shown = [payloads.thread(each, me) for each in visible]
        return Reply({"threads": shown, "members": members, "has_more": False})

    async def join(self, request: Request) -> Reply:
        thread = self._channel(request)
        need(thread)
        if thread.archived or not thread.is_thread:
            raise Refusal(400, 50083, "Thread is archived")
        self._world.join(thread, self._world.bot)
        return Reply()

    # --- finding what a path names

    def _guild(self, request: Request) -> Guild:
        guild = self._world.guilds.get(request.id("guild"))
        if guild is None:
            raise unknown("Guild", 10004)
        return guild

    def _channel(self, request: Request) -> Channel:
        channel = self._world.channels.get(request.id("channel"))
        if channel is None:
            raise unknown("Channel", 10003)
        return channel

    def _message(self, request: Request) -> Message:
        message = self._channel(request).messages.get(request.id("message"))
        if message is None:
            need(self._channel(request))
            raise unknown("Message", 10008)
        return message

    def _message_json(self, message: Message) -> Json:
        data = payloads.message(message)
        mine = message.author is self._world.bot or self._world.bot in message.mentions
        if self.hides_content and message.channel.guild and not mine:
            return payloads.without_content(data)
        return data


def _send_permission(channel: Channel) -> str:
    return "send_messages_in_threads" if channel.is_thread else "send_messages"


def _page(messages: list[Message], query: dict[str, str], limit: int) -> list[Message]:
    """Return the page for `before`, `after` or `around`, the newest message first."""
    given = [name for name in ("before", "after", "around") if name in query]
    if len(given) > 1:
        raise form_error(given[1], "BASE_TYPE_EXCLUSIVE", "before, after and around are mutually exclusive.")
    if "after" in query:
        after = snowflake(query["after"], "after")
        chosen = [each for each in messages if each.id > after][:limit]
    elif "around" in query:
        around = snowflake(query["around"], "around")
        older = [each for each in messages if each.id <= around][-(limit // 2 + 1) :]
        chosen = (older + [each for each in messages if each.id > around][: limit // 2])[-limit:]
    else:
        before = snowflake(query.get("before", str(2**63)), "before")
        chosen = [each for each in messages if each.id < before][-limit:]
    return chosen[::-1]
