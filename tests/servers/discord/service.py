"""Discord for tests: REST v10, the gateway, interactions and the file host, on one free port.

It behaves as Discord does and refuses what Discord refuses. What no correct client would have sent is noted
in `violations`, so that a test of a well-behaved bot ends with `assert not discord.violations`. Refusals
that the world's state explains (a permission is missing, a message is gone, the thread exists already) are
only in `refusals`; 429 answers are counted in `rate_limited`; faults that a test asks for are in neither.

    async with Discord() as discord:
        # the bot: discord.environ for a child process, discord.url and discord.gateway_url in this one
        await discord.wait_for_connections()
        question = await discord.say(discord.alice, discord.general, f"{discord.mention} hello")
        thread = await discord.thread_of(question)
        answer = await discord.answer(thread, lambda messages: "hello" in messages[-1].content)
        assert not discord.violations
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from tests.servers.discord import payloads as payloads
from tests.servers.discord.api import Call
from tests.servers.discord.commands import (
    NotOffered,
    check_offered,
    fill_in,
    fill_in_row,
)
from tests.servers.discord.gateway import Connection, Session
from tests.servers.discord.interactions import Interaction, Kind
from tests.servers.discord.rate_limits import Fault, Limit
from tests.servers.discord.records import (
    SYSTEM_MESSAGES,
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
    User,
)
from tests.servers.discord.rules import BUTTON, walk
from tests.servers.discord.server import DiscordServer
from tests.servers.discord.session_starts import SessionStarts
from tests.support.wait import wait_until

__all__ = [
    "Call",
    "Channel",
    "ChannelType",
    "Discord",
    "Edit",
    "Fault",
    "File",
    "Guild",
    "Interaction",
    "InteractionFailed",
    "Limit",
    "Message",
    "NotOffered",
    "Session",
    "User",
]


class InteractionFailed(AssertionError):
    """Interaction that ended with "The application did not respond"."""


class Discord(DiscordServer):
    """One application with its `bot`, in `guild` with the channel `general`; `alice` and `bob` are people.

    For the bot: `url`, `gateway_url`, `token`, `environ`; `mention` is what pings it.
    The world: `add_user`, `add_role`, `add_guild`, `add_channel`, `dm`. `Channel.denied` is the set of
    permissions that the bot lacks there (`view_channel`: 50001; others such as `send_messages`,
    `create_public_threads`: 50013); clear `User.accepts_dms` for 50007.
    What people do: `say`, `edit`, `remove`, `start_thread`, `archive`, `command`, `message_command`, `click`,
    `submit`, `autocomplete`.
    What happened: `messages`, `answer`, `thread_of`, `typing`, `edit_times`, `calls`, `count`, `sessions`,
    `shards`, `wait_for_connections`, `violations`, `refusals`, `rate_limited`.
    Trouble: `tell`, `fail`, `limit`, `drop_gateway`, `close_gateway`, `reconnect_gateway`,
    `invalidate_sessions`, `deafen_gateway`, `refuse_gateway`, `stop_acks`, `allow_intents`, `forget_nonces`,
    `starts`, `tolerate`.
    Times are `time.monotonic()` seconds, ids are integers.
    """

    # --- the world

    @property
    def bot(self) -> User:
        return self.world.bot

    @property
    def mention(self) -> str:
        return self.bot.mention

    def add_user(self, name: str, *, administrator: bool = False) -> User:
        return self.world.add_user(name, administrator=administrator)

    def add_guild(self, name: str, shard: tuple[int, int] = (0, 1)) -> Guild:
        """Add a guild whose events go to the given shard (number and count)."""
        return self.world.add_guild(name, shard)

    def add_role(self, name: str, guild: Guild | None = None) -> int:
        """Add a role and return its id for `User.roles`; call it before the bot connects."""
        id = self.world.snowflake()
        (guild or self.guild).roles[id] = name
        return id

    def add_channel(
        self,
        name: str,
        guild: Guild | None = None,
        only_for: Sequence[User] = (),
        type: ChannelType = ChannelType.TEXT,
        tags: Sequence[str] = (),
    ) -> Channel:
        """Add a channel; with `only_for` a private one, which the bot can see."""
        return self.world.add_channel(name, guild or self.guild, only_for, type, tags)

    def add_foreign_channel(self, type: ChannelType, *users: User) -> Channel:
        """Add a channel without the bot, whose users have installed it for themselves."""
        return self.world.add_foreign_channel(type, users)

    def remove_channel(self, channel: Channel) -> None:
        self.world.remove_channel(channel)

    def dm(self, user: User) -> Channel:
        """Return the direct message channel of the bot with `user`."""
        return self.world.dm(user)

    # --- what people do

    async def say(
        self,
        user: User,
        channel: Channel,
        text: str,
        *,
        files: Sequence[File] = (),
        reply_to: Message | None = None,
        ping: bool = True,
        more: Mapping[str, Json] | None = None,
    ) -> Message:
        """Write as a user; return at once, while the event is being delivered.

        A reply pings the author of the message it answers, unless `ping` is cleared. `more` adds to the
        payload or replaces parts of it: polls, forwards, broken fields.
        """
        mentions = Mentions(everyone=True, replied_user=ping)
        draft = Draft(text, files=files, mentions=mentions, more=more or {})
        return self.world.post(channel, user, draft, reference=reply_to)

    async def start_post(
        self, user: User, forum: Channel, title: str, text: str, tags: Sequence[str] = ()
    ) -> Message:
        """Open a post in a forum as a user; return its first message."""
        return self.world.start_post(forum, user, title, Draft(text), tags)

    def edit(self, message: Message, text: str) -> None:
        """Change a message as its author."""
        self.world.edit(message, content=text)

    def remove(self, message: Message) -> None:
        """Delete a message."""
        self.world.delete(message)

    def start_thread(self, user: User, source: Message | Channel, name: str = "a thread") -> Channel:
        """Open a thread from a message, or in a channel, as a user."""
        if isinstance(source, Channel):
            return self.world.start_thread(source, name, user, None)
        return self.world.start_thread(source.channel, name, user, source)

    def archive(self, thread: Channel, *, locked: bool = False) -> None:
        """Close a thread; locked, the bot cannot write in it any more."""
        thread.archived, thread.locked = True, locked
        self.world.update_thread(thread)

    # --- commands, buttons, forms

    async def command(
        self,
        name: str,
        user: User | None = None,
        channel: Channel | None = None,
        options: Mapping[str, Json] | None = None,
        *,
        timeout: float = 30,
    ) -> Interaction:
        """Use a command (as alice, in `general`); return when the outcome is shown.

        `name` includes subcommands: `"agent-redis get"`. Waits until the bot has registered it. Raises
        `NotOffered` if the client would not allow it, `InteractionFailed` if the bot does not answer in time.
        """
        user, channel = user or self.alice, channel or self.general
        data = await self._fill_in(name, user, channel, options or {})
        interaction, told = self.interactions.send(Kind.COMMAND, user, channel, data)
        return await self._outcome(interaction, told, timeout)

    async def message_command(
        self, name: str, message: Message, user: User | None = None, *, timeout: float = 30
    ) -> Interaction:
        """Use a command in the menu of a message (as alice)."""
        user, channel = user or self.alice, message.channel
        guild = channel.guild.id if channel.guild else None
        await wait_until(lambda: self.commands.find(name, guild) is not None, f"{name} is registered")
        command: Json = self.commands.find(name, guild)
        check_offered(command, user, in_guild=channel.guild is not None)
        data = {
            "id": command["id"],
            "name": name,
            "type": command["type"],
            "target_id": str(message.id),
            "resolved": {"messages": {str(message.id): payloads.message(message)}},
        }
        return await self._outcome(*self.interactions.send(Kind.COMMAND, user, channel, data), timeout)

    async def autocomplete(
        self,
        name: str,
        option: str,
        typed: str,
        user: User | None = None,
        channel: Channel | None = None,
        options: Mapping[str, Json] | None = None,
    ) -> list[Json]:
        """Return the choices while an option is typed: objects with `name` and `value`."""
        user, channel = user or self.alice, channel or self.general
        values = {**(options or {}), option: typed}
        data = await self._fill_in(name, user, channel, values, focused=option)
        interaction, told = self.interactions.send(Kind.AUTOCOMPLETE, user, channel, data)
        return (await self._outcome(interaction, told, timeout=10)).choices

    async def _fill_in(
        self, name: str, user: User, channel: Channel, values: Mapping[str, Json], focused: str = ""
    ) -> Json:
        first, *path = name.split()
        guild = channel.guild.id if channel.guild else None
        await wait_until(lambda: self.commands.find(first, guild) is not None, f"/{first} is registered")
        command: Json = self.commands.find(first, guild)
        check_offered(command, user, in_guild=channel.guild is not None)
        sent = {
            name: self.world.attach(channel, each) for name, each in values.items() if isinstance(each, File)
        }
        values = {**values, **sent}
        users = [each for each in values.values() if isinstance(each, User)]
        resolved = {
            "users": {str(each.id): payloads.user(each) for each in users},
            "members": {str(each.id): payloads.partial_member(each) for each in users},
            "attachments": {str(each.id): payloads.attachment(each) for each in sent.values()},
        }
        data = {
            "id": command["id"],
            "name": first,
            "type": 1,
            "options": fill_in(command, path, values, focused),
            "resolved": resolved,
        }
        return data | ({"guild_id": command["guild_id"]} if "guild_id" in command else {})

    async def click(
        self,
        user: User,
        message: Message,
        button: str,
        *,
        values: Sequence[str] = (),
        timeout: float = 30,
    ) -> Interaction:
        """Press a button, named by its label or `custom_id`; `values` choose from a select."""
        for component in walk(message.components):
            if button in (component.get("custom_id"), component.get("label")):
                break
        else:
            raise NotOffered(f"no button {button!r} under {message.content!r}")
        if component.get("disabled"):
            raise NotOffered(f"{button!r} is disabled")
        data = {"custom_id": component["custom_id"], "component_type": component["type"]}
        if component["type"] != BUTTON:
            data["values"] = list(values)
        sent = self.interactions.send(Kind.COMPONENT, user, message.channel, data, source=message)
        return await self._outcome(*sent, timeout)

    async def submit(
        self, opened: Interaction, values: Mapping[str, str | Sequence[str]], *, timeout: float = 30
    ) -> Interaction:
        """Submit the form that `opened` showed; `values` are by the fields' `custom_id`."""
        if opened.modal is None:
            raise NotOffered("no form was opened")
        rows = [fill_in_row(each, values) for each in opened.modal["components"]]
        data = {"custom_id": opened.modal["custom_id"], "components": rows}
        sent = self.interactions.send(Kind.MODAL, opened.user, opened.channel, data, source=opened.source)
        return await self._outcome(*sent, timeout)

    async def _outcome(
        self, interaction: Interaction, told: Sequence[Connection], timeout: float
    ) -> Interaction:
        deadline = self.interactions.deadline
        try:
            await wait_until(lambda: interaction.answered is not None, "acknowledged", deadline)
        except AssertionError:
            # a person sees the same if no bot is online, or it died meanwhile, but then no bot is to blame
            if any(each.is_open for each in told):
                self.api.note(f"{interaction.name} was not answered within {deadline} s", blame=True)
            raise InteractionFailed(f"{interaction.name}: the application did not respond") from None
        await wait_until(lambda: interaction.is_visible, f"{interaction.name} is answered", timeout)
        return interaction

    # --- what happened

    def messages(self, channel: Channel) -> list[Message]:
        """Return the visible messages of a channel, oldest first, without system messages and "thinking"."""
        everything = channel.messages.values()
        return [each for each in everything if each.type not in SYSTEM_MESSAGES and not each.loading]

    async def answer(
        self,
        channel: Channel,
        finished: Callable[[Sequence[Message]], bool],
        *,
        after: Message | None = None,
        timeout: float = 30,
    ) -> list[Message]:
        """Return the bot's messages in `channel` (after a message) once `finished` holds."""

        def written() -> list[Message]:
            mine = [each for each in self.messages(channel) if each.author is self.bot]
            return [each for each in mine if after is None or each.id > after.id]

        try:
            await wait_until(lambda: bool(written()) and finished(written()), "answered", timeout)
        except AssertionError:
            texts = [each.content for each in written()]
            raise AssertionError(f"no finished answer within {timeout} s; so far: {texts}") from None
        return written()

    async def thread_of(self, message: Message, *, timeout: float = 30) -> Channel:
        """Return the thread of a message, once there is one."""
        await wait_until(lambda: message.thread is not None, "a thread is opened", timeout)
        assert message.thread
        return message.thread

    def typing(self, channel: Channel) -> list[float]:
        """Return the times of the bot's typing; each lasts 10 s, or until its next message."""
        return channel.typing

    def edit_times(self, channel: Channel) -> list[float]:
        """Return the times at which the bot's messages in a channel were changed, in order."""
        mine = [each for each in channel.messages.values() if each.author is self.bot]
        return sorted(edit.at for each in mine for edit in each.history[1:])

    def count(self, method: str, path: str) -> int:
        """Return the number of requests; `*` in the path stands for one segment."""
        wanted = Fault(method, path, times=1)
        return sum(wanted.matches(call.method, call.path) for call in self.calls)

    @property
    def rate_limited(self) -> int:
        return self.api.rate_limited

    @property
    def sessions(self) -> list[Session]:
        """Return all sessions that ever identified, oldest first."""
        return self.gateway.sessions

    @property
    def starts(self) -> SessionStarts:
        """Return the recommended and demanded shards, and the limits of session starts."""
        return self.gateway.starts

    @property
    def shards(self) -> list[tuple[int, int]]:
        """Return the connected shards with their shard counts, sorted."""
        return sorted(each.shard for each in self.sessions if each.connected)

    async def wait_for_connections(self, sessions: int = 1, *, timeout: float = 30) -> None:
        """Wait until `sessions` sessions are connected and receive events."""
        await wait_until(
            lambda: sum(each.connected for each in self.sessions) >= sessions,
            f"{sessions} sessions at the gateway",
            timeout,
        )

    # --- trouble

    def tell(self, event: str, payload: Json) -> None:
        """Send an event unchanged to all sessions, even if it is invalid."""
        self.gateway.tell(Event(event, payload, Intent.ANY))

    @contextmanager
    def hold_events(self) -> Iterator[Callable[[], None]]:
        """Send no events while the context is open; yield the function that sends them late."""
        held: list[Event] = []
        listener, self.world.listener = self.world.listener, held.append

        def send() -> None:
            for each in held:
                listener(each)

        try:
            yield send
        finally:
            self.world.listener = listener

    def fail(
        self,
        method: str,
        path: str,
        times: int = 1,
        *,
        holding: str = "",
        status: int | None = None,
        code: int = 0,
        message: str = "",
        retry_after: float = 0.1,
        is_global: bool = False,
        after_applying: bool = False,
        drop: bool = False,
        delay: float = 0,
    ) -> Fault:
        """Let the next `times` requests fail; `path` is below the base, `*` stands for one segment.

        Only requests count whose body contains `holding`; one with a file contains "multipart/form-data".

        `delay` (seconds) comes first; then the connection is cut (`drop`) or `status` is answered; with
        neither, the true answer comes late. With `after_applying` the request has taken effect before that.
        aiohttp's client repeats a GET, PUT or DELETE once by itself when the connection is cut.
        A 429 carries `retry_after` and `is_global`. `used` of the result counts the victims.
        """
        fault = Fault(
            method=method,
            path=path,
            times=times,
            holding=holding,
            status=status,
            code=code,
            message=message,
            retry_after=retry_after,
            is_global=is_global,
            after_applying=after_applying,
            drop=drop,
            delay=delay,
        )
        return self.api.faults.add(fault)

    def tolerate(self, *parts: str) -> None:
        """Record no violations for refusals that contain one of these."""
        self.api.tolerated.update(parts)

    def limit(self, bucket: str, count: int, seconds: float) -> None:
        """Set a rate limit: `send`, `edit`, `webhook`, `rename` (per channel or token) or `global`."""
        if bucket == "global":
            self.api.buckets.everything = Limit(count, seconds)
        else:
            self.api.buckets.limits[bucket] = Limit(count, seconds)

    def drop_gateway(self, shard: int | None = None) -> None:
        """Cut all gateway connections, or those of a shard, without notice; sessions can be resumed."""
        self.gateway.drop(shard)

    def close_gateway(self, code: int = 4000) -> None:
        self.gateway.close(code)

    def reconnect_gateway(self) -> None:
        """Ask all clients to reconnect and resume (op 7)."""
        self.gateway.reconnect()

    def invalidate_sessions(self, *, resumable: bool = False) -> None:
        """Tell all clients that their session is invalid (op 9); later RESUMEs fail too."""
        self.gateway.invalidate(resumable=resumable)

    def deafen_gateway(self) -> None:
        """Keep the current connections open but dead: no data passes any more."""
        self.gateway.deafen()

    def refuse_gateway(self, times: int = 1) -> None:
        """Answer the next attempts to connect with 503."""
        self.gateway.refusals = times

    def stop_acks(self, stopped: bool = True) -> None:
        """Leave heartbeats unanswered; shorten `gateway.heartbeat_interval` (seconds) to see it soon."""
        self.gateway.acks = not stopped

    def allow_intents(self, *names: str) -> None:
        """Set the privileged intents that are on: of `members`, `presences`, `message_content`.

        Initially only the last one is on. Without it REST hides the contents of others' messages, too.
        """
        self.gateway.privileged = set(names)
        self.rest.hides_content = "message_content" not in names

    def forget_nonces(self) -> None:
        """Forget all nonces, as Discord does after some minutes."""
        self.world.forget_nonces()
