"""State of one workspace: users, channels, messages, and everything that was shown, with times.

Times called `at` are `time.monotonic()` seconds of this process, so that a test can compare them with its
own clock; a `ts` is Slack's own, Unix seconds with microseconds, unique in the workspace.
"""

import html
import itertools
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.servers.slack.rules import Refused, require, visible_text

Json = Any

TEAM = "T0TEAM00001"
APP = "A0AGENT0001"
BOT_USER = "U0AGENT0001"
BOT = "B0AGENT0001"

ALICE, BOB, CAROL = "U0ALICE", "U0BOB", "U0CAROL"
EVE = "U0EVE"
"""A user who is in no channel."""

GENERAL = "C0GENERAL"

ChannelKind = Literal["channel", "group", "im", "mpim"]
"""Values of Slack's `channel_type`."""


@dataclass(slots=True)
class Channel:
    id: str
    name: str
    kind: ChannelKind
    members: set[str]
    archived: bool = False
    removed_by_test: bool = False
    is_shared: bool = False
    """True if it is shared with other organisations."""
    teams: list[str] = field(default_factory=list)
    """Workspaces that share it, the host first."""


@dataclass(slots=True)
class File:
    """File of a user or of the bot; `data` is None until the bot has uploaded it."""

    id: str
    name: str
    mimetype: str
    data: bytes | None
    user: str
    length: int
    title: str = ""
    alt: str = ""

    @property
    def clip(self) -> str:
        """Return `audio` or `video` for a clip that was recorded in Slack."""
        kind, _, rest = self.name.partition("_message.")
        return kind if rest and kind in ("audio", "video") else ""

    def json(self, base: str, team: str = TEAM) -> dict[str, Json]:
        private = f"{base}/files-pri/{team}-{self.id}"
        return {
            "id": self.id,
            "name": self.name,
            "title": self.title or self.name,
            "mimetype": self.mimetype,
            "filetype": self.name.rpartition(".")[2],
            "user": self.user,
            "size": self.length,
            **({"alt_txt": self.alt} if self.alt else {}),
            **({"subtype": f"slack_{kind}"} if (kind := self.clip) else {}),
            "mode": "hosted",
            "url_private": f"{private}/{self.name}",
            "url_private_download": f"{private}/download/{self.name}",
        }


@dataclass(frozen=True, slots=True)
class Step:
    """Appearance of a message after a change."""

    at: float
    action: Literal["post", "update", "start", "append", "stop", "expire", "delete"]
    shown: str


@dataclass(slots=True, kw_only=True)
class Message:
    """Stored message; `text` is its text or Markdown, or the text streamed so far."""

    channel: str
    ts: str
    user: str
    text: str = ""
    thread_ts: str | None = None
    blocks: list[Json] = field(default_factory=list)
    metadata: dict[str, Json] | None = None
    files: list[File] = field(default_factory=list)
    chunks: list[Json] = field(default_factory=list)
    tasks: dict[str, dict[str, Json]] = field(default_factory=dict)
    streaming_state: Literal["in_progress", "completed"] | None = None
    ended_by: Literal["bot", "slack", "user"] | None = None
    recipient: str | None = None
    task_display_mode: str = ""
    plan: str = ""
    """Title of the plan that shows its tasks."""
    team: str = ""
    """Workspace in which it was written."""
    broadcast: bool = False
    edited: bool = False
    edited_ts: str = ""
    """Time of a user's edit."""
    deleted: bool = False
    reactions: set[tuple[str, str]] = field(default_factory=set)
    history: list[Step] = field(default_factory=list)

    @property
    def from_bot(self) -> bool:
        return self.user == BOT_USER

    @property
    def root(self) -> str:
        """Return the `ts` of its thread."""
        return self.thread_ts or self.ts

    @property
    def visible_text(self) -> str:
        """Return the visible text: blocks replace a posted message's text and follow a stream's."""
        if self.deleted:
            return ""
        if self.blocks and (self.streaming_state is None or self.edited):
            return visible_text(self.blocks)
        return "\n".join(part for part in (self.text, visible_text(self.blocks)) if part)

    @property
    def first_text_at(self) -> float | None:
        """Return the time of its first visible text, or None."""
        return next((step.at for step in self.history if step.shown.strip()), None)

    @property
    def finished_at(self) -> float:
        """Return the time of its last change."""
        return self.history[-1].at

    def record(
        self, action: Literal["post", "update", "start", "append", "stop", "expire", "delete"]
    ) -> None:
        self.history.append(Step(time.monotonic(), action, self.visible_text))


@dataclass(frozen=True, slots=True)
class Ephemeral:
    """Message that only `user` saw: ephemeral, or the answer to a command."""

    user: str
    channel: str
    text: str
    blocks: list[Json]
    thread_ts: str | None
    at: float

    @property
    def visible_text(self) -> str:
        return visible_text(self.blocks) if self.blocks else self.text


@dataclass(frozen=True, slots=True)
class Status:
    """One call of `assistant.threads.setStatus` or `agents.sessions.setStatus`."""

    channel: str
    thread_ts: str | None
    status: str
    loading_messages: tuple[str, ...]
    at: float


Change = Literal["posted", "changed", "deleted"]


class Workspace:
    """Messages by channel, in order. `on_change(change, message, shown before)` is called for each change.

    `described` are additional fields of `users.info`, `groups` the handles of groups of users by id; `broken`
    entries appear in the history of each channel. With `has_search`, events have tokens for a search in the
    name of their author: `action_tokens`.
    """

    def __init__(
        self, base: str, team: str = TEAM, name: str = "Test", numbers: Iterator[int] | None = None
    ) -> None:
        self.base = base
        self.team = team
        self.name = name
        self.organisation: str | None = None
        """Id of the organisation through whose installation the app reaches the workspace."""
        self.siblings: list[str] = []
        """Workspaces of the organisation, in which its users are members."""
        self.users: dict[str, str] = {BOT_USER: "agent"}
        self.bots: dict[str, str] = {BOT_USER: BOT}
        self.described: dict[str, dict[str, Json]] = {}
        self.groups: dict[str, str] = {}
        self.broken: list[Json] = []
        self.app_contexts: dict[str, dict[str, Json]] = {}
        """What users have open, as their direct messages tell it."""
        self.has_search = False
        self.action_tokens: dict[str, str] = {}
        self.channels: dict[str, Channel] = {}
        self.messages: dict[str, list[Message]] = {}
        self.files: dict[str, File] = {}
        self.ephemerals: list[Ephemeral] = []
        self.statuses: list[Status] = []
        self.session_statuses: list[Status] = []
        self.is_agent = True
        """The app is declared as an agent (`agent_view`), else it has no sessions and no prompts."""
        self.has_stop_button = True
        """The app subscribes to `agent_session_stopped`."""
        self.initiators: dict[tuple[str, str | None], str | None] = {}
        self.titles: dict[tuple[str, str | None], str] = {}
        self.prompts: dict[tuple[str, str | None], list[Json]] = {}
        self.stream_lifetime = 300.0
        self.trigger_lifetime = 3.0
        self.triggers: dict[str, tuple[str, float]] = {}
        self.modals: list[Any] = []
        self.homes: dict[str, dict[str, Json]] = {}
        self.home_history: list[tuple[str, dict[str, Json]]] = []
        self.has_home_tab = False
        self.on_change: Callable[[Change, Message, str], None] = lambda change, message, before: None
        self.issue_socket_url: Callable[[], str] = lambda: base
        self.violate: Callable[[str], None] = lambda sentence: None
        self.numbers = numbers or itertools.count(1)
        self._last_ts = 0

    @property
    def url(self) -> str:
        """Return the address of the workspace in a browser."""
        return f"https://{self.name.lower()}.slack.com/"

    def new_id(self, prefix: str) -> str:
        return f"{prefix}0{next(self.numbers):09}"

    def new_ts(self) -> str:
        self._last_ts = max(self._last_ts + 1, time.time_ns() // 1_000)
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06}"

    def advance(self, seconds: float) -> None:
        """Let the clock of the messages go on."""
        self._last_ts = max(self._last_ts, time.time_ns() // 1_000) + round(1_000_000 * seconds)

    def new_action_token(self, user: str) -> str:
        """Return a token for searches in the name of a user."""
        token = f"{time.time_ns()}.1.{secrets.token_hex(8)}"
        self.action_tokens[token] = user
        return token

    def new_trigger(self, user: str) -> str:
        """Return a trigger that lets the app open one view for `user`, for a short time."""
        trigger = f"{time.time_ns()}.1.{secrets.token_hex(8)}"
        self.triggers[trigger] = (user, time.monotonic())
        return trigger

    def add_channel(self, channel: Channel) -> None:
        self.channels[channel.id] = channel
        self.messages[channel.id] = []

    def im(self, user: str) -> Channel:
        """Return the direct channel of the bot and `user`, opened if there is none."""
        for channel in self.channels.values():
            if channel.kind == "im" and user in channel.members:
                return channel
        channel = Channel(self.new_id("D"), "", "im", {user, BOT_USER})
        self.add_channel(channel)
        return channel

    def channel(self, id: Json) -> Channel:
        channel = self.channels.get(str(id))
        if channel is None:
            raise Refused("channel_not_found", str(id))
        return channel

    def require_channel(self, id: Json) -> Channel:
        """Return a channel that the bot may read and write. Raises `Refused`."""
        channel = self.channel(id)
        if BOT_USER not in channel.members:
            hidden = channel.kind != "channel"
            raise Refused(
                "channel_not_found" if hidden else "not_in_channel",
                channel.id,
                provoked=channel.removed_by_test,
            )
        require(not channel.archived, "is_archived", channel.id)
        return channel

    def writable(self, id: Json) -> Channel:
        """Return a channel as `require_channel` does; a user's id names the direct channel with that user."""
        return self.im(id) if id in self.users else self.require_channel(id)

    def find(self, channel: str, ts: str) -> Message | None:
        return next((each for each in self.messages[channel] if each.ts == ts and not each.deleted), None)

    def was_deleted(self, channel: str, ts: str) -> bool:
        """Return whether there was a message, of which the app may not have heard yet that it is gone."""
        return any(each.ts == ts for each in self.messages[channel]) and self.find(channel, ts) is None

    def own(self, channel: str, ts: str, not_own: str) -> Message:
        """Return a message of the bot. Raises `Refused` with `not_own` for others."""
        message = self.find(channel, ts)
        if message is None:
            raise Refused("message_not_found", f"{channel} {ts}")
        is_own = message.from_bot and message.team == self.team
        require(is_own, not_own, f"{channel} {ts}")
        return message

    def check_thread(
        self, channel: str, thread_ts: str | None, code: str = "cannot_reply_to_message"
    ) -> None:
        """Check that the root of a reply exists and is not a reply itself."""
        if thread_ts is None:
            return
        root = self.find(channel, thread_ts)
        if root is None and any(self.replies(channel, thread_ts)):
            return  # Slack keeps a tombstone in place of a deleted root that has replies
        if root is None:
            is_deleted = self.was_deleted(channel, thread_ts)
            raise Refused(code, f"no message {thread_ts} in {channel}", provoked=is_deleted)
        require(root.root == root.ts, code, f"{thread_ts} is a reply, not the root of a thread")

    def replies(self, channel: str, thread_ts: str) -> Iterator[Message]:
        for each in self.messages[channel]:
            if each.thread_ts == thread_ts and not each.deleted:
                yield each

    def add(self, message: Message, action: Literal["post", "start"] = "post") -> None:
        """Put a message into its channel."""
        message.record(action)
        message.team = message.team or self.described.get(message.user, {}).get("team_id", self.team)
        self.messages[message.channel].append(message)
        if message.from_bot and message.thread_ts is not None:
            self.set_status(message.channel, message.thread_ts, "")

    def post(self, message: Message, action: Literal["post", "start"] = "post") -> Message:
        """Add a message and send its events."""
        self.add(message, action)
        self.on_change("posted", message, "")
        return message

    def delete(self, message: Message) -> None:
        before = message.visible_text
        message.deleted = True
        message.record("delete")
        self.on_change("deleted", message, before)

    def show_to(
        self, user: str, channel: str, text: str, blocks: list[Json], thread_ts: str | None = None
    ) -> None:
        """Show something to one user only."""
        self.ephemerals.append(Ephemeral(user, channel, text, blocks, thread_ts, time.monotonic()))

    def set_status(
        self, channel: str, thread_ts: str | None, status: str, loading: tuple[str, ...] = ()
    ) -> None:
        """Show a status in a thread; a reply removes it."""
        if status or self.status(channel, thread_ts):
            self.statuses.append(Status(channel, thread_ts, status, loading, time.monotonic()))

    def status(self, channel: str, thread_ts: str | None) -> str:
        return _latest(self.statuses, channel, thread_ts)

    def set_session_status(self, channel: str, thread_ts: str | None, status: str) -> None:
        self.session_statuses.append(Status(channel, thread_ts, status, (), time.monotonic()))

    def session_status(self, channel: str, thread_ts: str | None) -> str:
        return _latest(self.session_statuses, channel, thread_ts)

    def expire_stream(self, message: Message, ended_by: Literal["slack", "user"] = "slack") -> None:
        """End a stream without its app, as Slack does after five minutes."""
        message.streaming_state = "completed"
        message.ended_by = ended_by
        message.record("expire")


def _latest(statuses: list[Status], channel: str, thread_ts: str | None) -> str:
    here = (each for each in reversed(statuses) if (each.channel, each.thread_ts) == (channel, thread_ts))
    return next((each.status for each in here), "")


def message_json(workspace: Workspace, message: Message, *, metadata: bool = False) -> dict[str, Json]:
    """Return a message as the Web API and events show it."""
    home = message.team or workspace.team
    body: dict[str, Json] = {
        "type": "message",
        "user": message.user,
        "team": home,
        "ts": message.ts,
        "text": message.text,
        "blocks": _blocks(message),
    }
    if bot_id := workspace.bots.get(message.user):
        app_id = APP if message.from_bot else "A0OTHER0001"
        name = workspace.users[message.user]
        body |= {"bot_id": bot_id, "app_id": app_id}
        body["bot_profile"] = {
            "id": bot_id,
            "app_id": app_id,
            "team_id": home,
            "name": name,
            "deleted": False,
        }
    else:
        body["client_msg_id"] = f"00000000-0000-4000-8000-{message.ts.replace('.', '')[-12:]}"
    if workspace.channels[message.channel].teams:
        body |= {"user_team": home, "source_team": home}
    if message.files:
        body["files"] = [file.json(workspace.base, workspace.team) for file in message.files]
        body |= {"subtype": "file_share", "upload": False}
    if message.streaming_state:
        body["streaming_state"] = message.streaming_state
    if message.edited:
        body["edited"] = {"user": message.user, "ts": message.edited_ts or message.ts}
    if metadata and message.metadata:
        body["metadata"] = message.metadata
    return body | _thread_json(workspace, message)


def _blocks(message: Message) -> list[Json]:
    """Return the blocks of a message: those of a stream follow its text, those of a post replace it."""
    is_stream = message.streaming_state is not None and not message.edited
    text = [_rich_text(message.text)] if is_stream or not message.blocks else []
    return [*text, *message.blocks]


def _thread_json(workspace: Workspace, message: Message) -> dict[str, Json]:
    if message.thread_ts:
        root = workspace.find(message.channel, message.thread_ts)
        body: dict[str, Json] = {"thread_ts": message.thread_ts}
        if root:
            body["parent_user_id"] = root.user
        if message.broadcast:
            body["subtype"] = "thread_broadcast"
        return body
    replies = list(workspace.replies(message.channel, message.ts))
    if not replies:
        return {}
    return {
        "thread_ts": message.ts,
        "reply_count": len(replies),
        "reply_users": sorted({each.user for each in replies}),
        "reply_users_count": len({each.user for each in replies}),
        "latest_reply": replies[-1].ts,
    }


def _rich_text(text: str) -> dict[str, Json]:
    """Return Slack's block for a text: mentions are elements, and entities are decoded."""
    elements = [
        {"type": "user", "user_id": piece[2:-1]}
        if piece.startswith("<@")
        else {"type": "text", "text": html.unescape(piece)}
        for piece in re.split(r"(<@\w+>)", text)
        if piece
    ]
    section = {"type": "rich_text_section", "elements": elements}
    return {"type": "rich_text", "block_id": "rich", "elements": [section]}
