"""Slack for tests: the Web API, Socket Mode, signed requests, files and response URLs, on one free port.

It behaves as Slack does and refuses what Slack refuses; each refusal is noted in `violations`, so that a
test of a well-behaved app ends with `assert not slack.violations`. Faults that a test asks for, and what
follows from them, are no violations.

    async with Slack() as slack:
        # the app: AsyncWebClient(token=slack.bot_token, base_url=slack.api_url), or slack.environ for a child
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        assert "hello" in await slack.answer(GENERAL, ts)
        assert not slack.violations
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tests.servers.slack.api import Call, Fault
from tests.servers.slack.delivery import Delivery, Kind
from tests.servers.slack.payloads import (
    block_actions,
    event_callback,
    home_actions,
    message_action,
    shortcut,
    slash_command,
    subscription,
)
from tests.servers.slack.requests import ResponseUrl
from tests.servers.slack.rules import Refused
from tests.servers.slack.server import PROXY_VARIABLES, SlackServer
from tests.servers.slack.socket_mode import DisconnectReason, Socket
from tests.servers.slack.views import (
    Modal,
    fill_in,
    take_answer,
    view_submission,
)
from tests.servers.slack.workspace import (
    ALICE,
    APP,
    BOB,
    BOT,
    BOT_USER,
    CAROL,
    EVE,
    GENERAL,
    TEAM,
    Ephemeral,
    File,
    Message,
    Status,
)
from tests.support.wait import wait_until

__all__ = [
    "ALICE",
    "APP",
    "BOB",
    "BOT",
    "BOT_USER",
    "CAROL",
    "EVE",
    "GENERAL",
    "PROXY_VARIABLES",
    "TEAM",
    "Call",
    "Command",
    "Delivery",
    "Message",
    "Modal",
    "Slack",
    "Socket",
]

Json = Any


@dataclass(frozen=True, slots=True)
class Command:
    """Slash command or pressed button, with its acknowledgement and later responses."""

    delivery: Delivery
    response_url: ResponseUrl

    @property
    def acked(self) -> bool:
        return self.delivery.acked

    @property
    def response(self) -> Json:
        """Return the payload of the acknowledgement, or None."""
        return self.delivery.response


class Slack(SlackServer):
    """One workspace (`TEAM`) with one installed app (`APP`, its bot is `BOT_USER`/`BOT`).

    People `ALICE`, `BOB` and `CAROL` and the channel `GENERAL` (all of them and the bot in it)
    exist from the start; people and direct channels also come into being when they are first named.

    For the app: `url`, `api_url`, `bot_token`, `app_token`, `signing_secret`, `environ`, `bot_user`. Set
    `request_url` to deliver over HTTP instead of Socket Mode. What people do: `say`, `edit`, `remove`,
    `command`, `shortcut`, `press`, `submit`, `open_home`, `press_home`, `stop`, `rename_session`, `look_at`,
    `send_event`, `send_message`, `describe`. What happened: `answer`, `replies`, `messages`, `ephemerals`,
    `modals`, `home`, `status`, `statuses`, `calls`, `count`, `deliveries`, `settled`, `sockets`,
    `wait_for_connections`, `over_tier`, `violations`,
    `unfinished`. Trouble: `fail`, `slow`, `disable`, `outage`, `revoke`, `remove_bot`, `end_stream`,
    `stream_lifetime`, `disconnect`, `drop_sockets`, `deafen_sockets`, `tolerate`, `grant`, `enforce_tiers`;
    the arguments `ack_timeout` and `redelivery_delays` shorten Slack's own times for redelivery (seconds).
    """

    # --- what people do

    async def say(
        self,
        user: str,
        channel: str,
        text: str,
        thread_ts: str | None = None,
        *,
        files: Sequence[tuple[str, str, bytes]] = (),
        copies: int = 1,
        mention_last: bool = False,
    ) -> str:
        """Write as a user; return the message's `ts` at once, while the events are being delivered.

        `files` are (name, media type, content). With `copies` each event comes that many times with the
        same `event_id`; with `mention_last` the `message` event precedes its `app_mention`.
        """
        self._know(user)
        sent = [self._file(user, *file) for file in files]
        ts = self.workspace.new_ts()
        message = Message(channel=channel, ts=ts, user=user, text=text, thread_ts=thread_ts, files=sent)
        self.workspace.add(message)
        self._announce("posted", message, "", copies=copies, mention_last=mention_last)
        return ts

    def _file(self, user: str, name: str, mimetype: str, data: bytes) -> File:
        file = File(self.workspace.new_id("F"), name, mimetype, data, user, len(data))
        self.workspace.files[file.id] = file
        return file

    def upload(self, user: str, name: str, mimetype: str, data: bytes) -> str:
        """Upload a file as a user, for the input of a form; return its id."""
        self._know(user)
        return self._file(user, name, mimetype, data).id

    def edit(self, channel: str, ts: str, text: str) -> None:
        """Change a message as its author."""
        message = self.message(channel, ts)
        before, message.text, message.edited = message.visible_text, text, True
        message.edited_ts = self.workspace.new_ts()
        message.record("update")
        self._announce("changed", message, before)

    def remove(self, channel: str, ts: str) -> None:
        """Delete a message as its author."""
        self.workspace.delete(self.message(channel, ts))

    async def command(self, name: str, text: str, user: str, channel: str) -> Command:
        """Use a slash command; return once it is acknowledged or Slack has stopped waiting."""
        self._know(user)
        place = self.workspace.channel(channel)
        url = self.response_urls.issue(self.workspace, user, channel)
        payload = slash_command(self.workspace, name, text, user, place)
        return await self._interact("slash_commands", payload, url)

    async def command_text(self, name: str, text: str, user: str, channel: str) -> str:
        """Use a slash command; return the text that the user sees, however late it comes."""
        command = await self.command(name, text, user, channel)
        later = command.response_url.uses
        await wait_until(lambda: bool(command.response or later), f"{name} {text} is answered")
        shown = command.response or later[0]
        return shown if isinstance(shown, str) else str(shown["text"])  # over HTTP it may be the text alone

    async def press(
        self, user: str, channel: str, ts: str, action_id: str, value: str | None = None
    ) -> Command:
        """Press a button of a message; `value` names one of two feedback buttons, or a select's option."""
        self._know(user)
        message = self.message(channel, ts)
        block, element = _find_action(message.blocks, action_id)
        if element["type"] == "feedback_buttons":
            value = _feedback_value(element, value or "")
        url = self.response_urls.issue(self.workspace, user, channel, message)
        chosen = value if value is not None else element.get("value", "")
        block_id = block.get("block_id", "block")
        payload = block_actions(self.workspace, message, user, block_id, element, chosen)
        return await self._interact("interactive", payload, url)

    async def _interact(self, kind: Kind, payload: dict[str, Json], url: ResponseUrl) -> Command:
        delivery = self._deliver(kind, payload | {"response_url": url.url})
        await delivery.ended.wait()
        if kind == "slash_commands" and delivery.response:
            self.response_urls.answer(url, delivery.response)
        return Command(delivery, url)

    async def shortcut(self, name: str, user: str, message: tuple[str, str] | None = None) -> Modal:
        """Use a shortcut of the manifest by its name, on a message (channel and `ts`) or from anywhere.

        Returns the form that it opens. Raises `LookupError` if the client would not offer it.
        """
        self._know(user)
        kind = "message" if message else "global"
        offered = [each for each in self.web_api.shortcuts if (each["name"], each["type"]) == (name, kind)]
        if not offered:
            raise LookupError(f"no shortcut {name!r} ({kind})")
        callback_id = offered[0]["callback_id"]
        if message:
            url = self.response_urls.issue(self.workspace, user, message[0], self.message(*message)).url
            found = message_action(self.workspace, callback_id, user, self.message(*message))
            payload = found | {"response_url": url}
        else:
            payload = shortcut(self.workspace, callback_id, user)
        before = len(self.modals)
        delivery = self._deliver("interactive", payload)
        await delivery.ended.wait()
        await wait_until(lambda: len(self.modals) > before, f"{name} opens a form")
        return self.modals[-1]

    async def submit(self, modal: Modal, typed: Mapping[str, str]) -> Modal:
        """Submit a form with values by the inputs' `block_id`.

        Returns the form once Slack has the app's answer, or has stopped waiting for it. Raises `LookupError`
        if the client would not submit it.
        """
        if not modal.is_open:
            raise LookupError("the form is closed")
        payload = view_submission(self.workspace, modal, fill_in(self.workspace, modal, typed))
        delivery = self._deliver("interactive", payload)
        await delivery.ended.wait()
        try:
            take_answer(modal, delivery.acked, delivery.response)
        except Refused as refusal:
            self.violations.append(f"view_submission: {refusal.code} ({refusal.detail})")
        return modal

    def open_home(self, user: str, tab: Literal["home", "messages"] = "messages") -> Delivery:
        """Open the app as a user."""
        channel, stamp = self.dm(user), self.workspace.new_ts()
        event = {"type": "app_home_opened", "user": user, "channel": channel, "tab": tab, "event_ts": stamp}
        shown = self.workspace.homes.get(user)
        return self.send_event(event | ({"view": shown} if shown and tab == "home" else {}))

    def home(self, user: str) -> dict[str, Json] | None:
        """Return the Home tab that a user sees."""
        return self.workspace.homes.get(user)

    async def press_home(self, user: str, action_id: str, value: str = "", *, view: Json = None) -> Delivery:
        """Press a button of the Home tab, the first with this `value`; confirm if Slack asks.

        In a menu of channels `value` is the channel that is chosen. `view` is the tab that the user still
        sees, if it is not the newest.
        """
        view = view or self.workspace.homes[user]
        found = [
            (block, each)
            for block in view["blocks"]
            for each in [*block.get("elements", []), block.get("accessory", {})]
            if each.get("action_id") == action_id
            and (value in ("", each.get("value")) or each["type"] == "conversations_select")
        ]
        if not found:
            raise LookupError(f"no button {action_id} {value}")
        block, element = found[0]
        payload = home_actions(self.workspace, view, user, block.get("block_id", "block"), element, value)
        delivery = self._deliver("interactive", payload)
        await delivery.ended.wait()
        return delivery

    def stop(self, user: str, channel: str, thread_ts: str) -> Delivery:
        """Press Slack's stop button: streams of the thread end, and the app is notified."""
        streams = [each for each in self.replies(channel, thread_ts) if each.streaming_state == "in_progress"]
        for stream in streams:
            self.workspace.expire_stream(stream, "user")
        event = {
            "type": "agent_session_stopped",
            "channel": channel,
            "thread_ts": thread_ts,
            "user": user,
            "streaming_message_ts": [stream.ts for stream in streams],
            "event_ts": self.workspace.new_ts(),
        }
        return self.send_event(event)

    def rename_session(self, user: str, channel: str, thread_ts: str, title: str) -> Delivery:
        """Change the title of a session as a user."""
        before = self.workspace.titles.get((channel, thread_ts))
        self.workspace.titles[channel, thread_ts] = title
        event = {
            "type": "agent_session_title_changed",
            "channel": channel,
            "thread_ts": thread_ts,
            "title": title,
            "user": user,
            "team_id": self.workspace.team,
            "event_ts": self.workspace.new_ts(),
        }
        return self.send_event(event | ({"previous_title": before} if before else {}))

    def look_at(self, user: str, channel: str, ts: str = "") -> Delivery:
        """Open a channel, or a message there, beside the direct messages of the app."""
        team = {"team_id": self.workspace.team}
        entity: dict[str, Json] = {"type": "slack#/types/channel_id", "value": channel}
        if ts:
            place = {"channel_id": channel, "message_ts": ts}
            entity = {"type": "slack#/types/message_context", "value": place}
        event = {
            "type": "app_context_changed",
            "user": user,
            "channel": self.dm(user),
            "context": {"entities": [entity | team]},
            "event_ts": self.workspace.new_ts(),
        }
        return self.send_event(event)

    def send_event(self, event: dict[str, Json]) -> Delivery:
        """Send any inner event that the app subscribes to. Raises `LookupError` for others."""
        if subscription(event) not in self.web_api.subscriptions:
            raise LookupError(f"the manifest does not subscribe to {subscription(event)}")
        place = event.get("channel") or event.get("item", {}).get("channel")
        channel = self.workspace.channels.get(place) if isinstance(place, str) else None
        is_shared = channel is not None and channel.is_shared
        return self._deliver("events_api", event_callback(self.workspace, event, is_shared=is_shared))

    def send_payload(self, payload: dict[str, Json]) -> Delivery:
        """Send a payload unchanged, even if it is invalid."""
        return self._deliver("events_api", payload)

    def send_message(self, event: dict[str, Json], **outer: Json) -> str:
        """Send a message event unchanged, except that its message is in the channel with a new `ts`.

        `outer` are fields of the payload around it. Returns the `ts`.
        """
        ts = self.workspace.new_ts()
        place = self.workspace.channel(event["channel"])
        user = str(event.get("user") or event.get("bot_id"))
        text = str(event.get("text") or "")
        self.workspace.add(Message(channel=place.id, ts=ts, user=user, text=text))
        self._deliver(
            "events_api", event_callback(self.workspace, event | {"ts": ts, "event_ts": ts}) | outer
        )
        return ts

    def describe(self, user: str, **fields: Json) -> None:
        """Set fields of a user in `users.info`."""
        self._know(user)
        self.workspace.described[user] = fields

    async def verify_url(self) -> bool:
        """Run Slack's handshake with `request_url`; return True if the challenge came back."""
        return await self._request_url().verify()

    # --- what happened

    def message(self, channel: str, ts: str) -> Message:
        """Return one message. Raises `LookupError`."""
        message = self.workspace.find(channel, ts)
        if message is None:
            raise LookupError(f"no message {ts} in {channel}")
        return message

    def messages(self, channel: str) -> list[Message]:
        """Return the messages of a channel in order, including threads."""
        return [each for each in self.workspace.messages[channel] if not each.deleted]

    def replies(self, channel: str, thread_ts: str) -> list[Message]:
        """Return the replies of a thread in order, without its root."""
        return list(self.workspace.replies(channel, thread_ts))

    def bot_replies(self, channel: str, thread_ts: str) -> list[Message]:
        """Return the bot's replies since the last user message in the thread."""
        own: list[Message] = []
        for each in self.replies(channel, thread_ts):
            own = [*own, each] if each.from_bot else []
        return own

    async def answer(
        self,
        channel: str,
        thread_ts: str,
        *,
        until: Callable[[str], bool] = bool,
        timeout: float = 30,
    ) -> str:
        """Wait for the bot's answer to the last message of a thread to be finished; return what it shows.

        Finished means: something is shown, no stream is open, the thread shows no status, its session is
        not `processing`, and `until` holds for the text. Replies are joined by line ends. A bot that edits
        its message, or answers with several, needs an `until` that knows the end of its answer.
        """

        def finished() -> bool:
            replies = self.bot_replies(channel, thread_ts)
            streaming = any(each.streaming_state == "in_progress" for each in replies)
            busy = self.status(channel, thread_ts)
            session = self.workspace.session_status(channel, thread_ts)
            text = _joined(replies)
            return bool(text) and not streaming and not busy and session != "processing" and until(text)

        try:
            await wait_until(finished, f"an answer in {channel} {thread_ts}", timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.transcript(channel, thread_ts)}") from None
        return _joined(self.bot_replies(channel, thread_ts))

    def transcript(self, channel: str, thread_ts: str) -> str:
        """Return a thread as text, for the messages of failing tests."""
        lines = [
            f"{each.ts} {each.user} {each.streaming_state or 'posted'}: {each.visible_text!r}"
            for each in self.messages(channel)
            if each.root == thread_ts
        ]
        calls = [f"{call.method} {call.error or 'ok'}" for call in self.calls[-20:]]
        return "\n".join([*lines, f"last calls: {calls}", f"violations: {self.violations}"])

    def unfinished(self) -> list[str]:
        """Return what the app has left open: streams, cards, statuses, sessions; empty if tolerated."""
        if "unfinished" in self.web_api.tolerated:
            return []
        shown = [each for channel in self.workspace.messages for each in self.messages(channel)]
        streams = [f"stream {each.ts}" for each in shown if each.streaming_state == "in_progress"]
        cards = [
            f"card {id} of {each.ts}"
            for each in shown
            for id, task in each.tasks.items()
            if task["status"] == "in_progress" and not each.edited  # an edit replaces cards
        ]
        places = {(each.channel, each.thread_ts) for each in self.statuses}
        statuses = [f"status in {place}" for place in places if self.workspace.status(*place)]
        sessions = [
            f"session in {place}"
            for place in {(each.channel, each.thread_ts) for each in self.workspace.session_statuses}
            if self.workspace.session_status(*place) == "processing"
        ]
        return streams + cards + statuses + sessions

    @property
    def ephemerals(self) -> list[Ephemeral]:
        """Return messages that only one user saw, including answers to commands."""
        return self.workspace.ephemerals

    @property
    def modals(self) -> list[Modal]:
        """Return the forms that were shown, in order."""
        return self.workspace.modals

    @property
    def statuses(self) -> list[Status]:
        """Return every status that threads showed, in order; an empty one ends it."""
        return self.workspace.statuses

    def status(self, channel: str, thread_ts: str) -> str:
        """Return the current status of a thread."""
        return self.workspace.status(channel, thread_ts)

    @property
    def calls(self) -> list[Call]:
        """Return every call of the Web API, including failed ones."""
        return self.web_api.calls

    def count(self, method: str) -> int:
        """Return the number of calls of a method."""
        return sum(call.method == method for call in self.calls)

    def over_tier(self) -> dict[str, int]:
        """Return methods that exceeded their tier within a minute, with the number of calls."""
        return self.web_api.over_tier()

    def events(self, type: str) -> list[Delivery]:
        """Return the deliveries of one type of inner event."""
        return [each for each in self.deliveries if each.kind == "events_api" and each.event["type"] == type]

    @property
    def sockets(self) -> list[Socket]:
        """Return the open Socket Mode connections."""
        return self.socket_mode.sockets

    async def wait_for_connections(self, sockets: int = 1, timeout: float = 30) -> None:
        """Wait until the app has at least `sockets` connections that Slack has not asked it to leave.

        In HTTP mode, wait until it takes requests.
        """
        if self.request_url:
            await wait_until(self.verify_url, "the app takes requests", timeout)
            return
        await wait_until(
            lambda: sum(not each.retiring for each in self.sockets) >= sockets,
            f"{sockets} sockets are open",
            timeout,
        )

    # --- trouble

    def fail(
        self,
        method: str,
        *,
        times: float = 1,
        status: int | None = None,
        error: str | None = None,
        retry_after: int | None = None,
        after_applying: bool = False,
        delay: float = 0.0,
        having: str = "",
    ) -> Fault:
        """Let the next `times` calls of `method` (`*`: any) fail with a `Fault`; math.inf: until lifted."""
        fault = Fault(
            method=method,
            times=times,
            status=status,
            error=error,
            retry_after=retry_after,
            after_applying=after_applying,
            delay=delay,
            having=having,
        )
        self.web_api.faults.append(fault)
        return fault

    def slow(self, method: str, delay: float, *, times: float = 1) -> Fault:
        """Delay the next calls by `delay` seconds."""
        fault = Fault(method=method, times=times, delay=delay, slow=True)
        self.web_api.faults.append(fault)
        return fault

    def disable(self, *methods: str) -> None:
        """Answer `unknown_method`, as in a workspace without the feature."""
        self.web_api.disabled.update(methods)

    @property
    def outage(self) -> Literal["unreachable", "broken"] | None:
        """Return `unreachable` (connections break), `broken` (the Web API answers 500), or None."""
        return self.web_api.outage

    @outage.setter
    def outage(self, outage: Literal["unreachable", "broken"] | None) -> None:
        self.web_api.outage = outage
        if outage == "unreachable":
            self.drop_sockets()

    def revoke(self, token: str) -> None:
        """Answer `token_revoked` from now on."""
        self.web_api.revoked.add(token)

    def lack_blocks(self, *kinds: str) -> None:
        """Refuse these kinds of blocks, as a workspace to which Slack has not brought them yet."""
        self.web_api.lacking.update(kinds)

    def tolerate(self, *errors: str) -> None:
        """Record no violations for these refusals; `unfinished` also tolerates what the app leaves open."""
        self.web_api.tolerated.update(errors)

    @property
    def enforce_tiers(self) -> bool:
        """Return True if calls over a method's tier get a 429; they are always counted."""
        return self.web_api.enforce_tiers

    @enforce_tiers.setter
    def enforce_tiers(self, enforce: bool) -> None:
        self.web_api.enforce_tiers = enforce

    def grant(self, *scopes: str) -> None:
        """Give the bot token scopes that manifest.yml does not ask for."""
        self.web_api.scopes.update(scopes)

    def remove_bot(self, channel: str) -> None:
        """Remove the bot from a channel; its writes there are refused without a violation."""
        place = self.workspace.channel(channel)
        place.members.discard(BOT_USER)
        place.removed_by_test = True

    @property
    def stream_lifetime(self) -> float:
        """Return the seconds after which Slack ends a stream."""
        return self.workspace.stream_lifetime

    @stream_lifetime.setter
    def stream_lifetime(self, seconds: float) -> None:
        self.workspace.stream_lifetime = seconds

    def end_stream(self, channel: str, ts: str) -> None:
        """End a stream now, as Slack does after five minutes."""
        self.workspace.expire_stream(self.message(channel, ts))

    async def disconnect(self, reason: DisconnectReason = "refresh_requested", *, every: bool = True) -> None:
        """Ask the app to leave its connections, or only the oldest."""
        for socket in self.sockets[:] if every else self.sockets[:1]:
            await self.socket_mode.disconnect(socket, reason)

    def drop_sockets(self) -> None:
        """Break every connection without notice."""
        for socket in self.sockets:
            socket.drop()

    def deafen_sockets(self) -> None:
        """Keep the open connections but let no data pass: a dead network path."""
        for socket in self.sockets:
            socket.deaf = True


def _joined(messages: Sequence[Message]) -> str:
    return "\n".join(each.visible_text for each in messages if each.visible_text)


def _feedback_value(element: dict[str, Json], button: str) -> str:
    """Return the value of a feedback button, named `positive_button` or `negative_button`."""
    if button not in ("positive_button", "negative_button"):
        raise LookupError(f"there is no {button!r}")
    return str(element[button]["value"])


def _find_action(blocks: Sequence[Json], action_id: str) -> tuple[dict[str, Json], dict[str, Json]]:
    for block in blocks:
        for element in [*block.get("elements", ()), block.get("accessory", {})]:
            if element.get("action_id") == action_id:
                return block, element
    raise LookupError(f"no element with action_id {action_id}")
