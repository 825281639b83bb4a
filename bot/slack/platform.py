"""Slack as a platform: connection, events, answers.

Everything about one workspace is in `bot.slack.workspace`, what Bolt does in `bot.slack.interactions`.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence, Set
from functools import partial

from aiohttp import web
from slack_bolt.async_app import AsyncApp

from bot.chat import (
    Announcement,
    Approval,
    Attachment,
    Audience,
    Coordination,
    Deliver,
    Files,
    Health,
    InboxLookup,
    Json,
    Message,
    NameKind,
    Opening,
    PlatformError,
    Prompt,
    ReadContext,
    Receipt,
    Since,
    Stop,
    Thread,
    ThreadId,
    Vault,
    name_work,
)
from bot.commands.commands import Commands
from bot.concurrency.tasks import first_failure
from bot.platforms.health import State, worst
from bot.platforms.receiver import Webhook
from bot.slack.api import Clients, FixedAccount, open_clients
from bot.slack.app_credentials import AppCredentials
from bot.slack.archive import SlackArchive
from bot.slack.downloads import fetch
from bot.slack.errors import NotInstalled
from bot.slack.events import Unreadable, bot_mentioned_in, event_id, parse_event, place_of, team_of
from bot.slack.history import ActiveThreads
from bot.slack.ids import own_id, team_in
from bot.slack.installed import InstalledWorkspaces
from bot.slack.interactions import build_app
from bot.slack.markdown import mrkdwn
from bot.slack.rate_limits import PER_MINUTE, RateLimits
from bot.slack.reply import Streaming
from bot.slack.socket_mode import SOCKETS, DeliverEvent, Sockets, open_sockets
from bot.slack.timing import Timing
from bot.slack.webhook import serve
from bot.slack.workspace import Shared, Workspace
from bot.slack.workspaces import OneWorkspace, Workspaces

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def connect(
    *,
    bot_token: str | None,
    credentials: AppCredentials | None = None,
    vault: Vault | None = None,
    app_token: str | None,
    signing_secret: str | None,
    api_url: str,
    coordination: Coordination,
    lookup: InboxLookup,
    files: Files,
    catch_up_hours: float,
    bots: Set[str] = frozenset(),
    streaming: Streaming = "native",
    prompts: Sequence[Prompt] | None = None,
    timing: Timing,
    per_minute: Mapping[str, int] = PER_MINUTE,
) -> AsyncIterator["Slack"]:
    """Open Slack with one HTTP session, which is closed with the context; makes no request yet.

    The bot is in the workspace of the bot token, or in all where users have installed the app of these
    credentials. With an app token events arrive on sockets, else at the webhook, which needs the signing
    secret. Other bots are ignored unless they are in `bots`, as in ALLOWED_BOTS. `prompts` are suggested to
    users, by default their own topics.
    """
    if not app_token and not signing_secret:
        raise ValueError("Slack needs an app token or a signing secret")
    async with open_clients(api_url, timing) as clients:
        shared = Shared(
            clients=clients,
            limits=RateLimits(coordination, per_minute),
            active_threads=ActiveThreads(lookup),
            coordination=coordination,
            lookup=lookup,
            files=files,
            bots=bots,
            catch_up_hours=catch_up_hours,
            timing=timing,
            streaming=streaming,
            prompts=prompts,
        )
        workspaces: OneWorkspace | InstalledWorkspaces
        if credentials and vault:
            workspaces = InstalledWorkspaces(credentials, vault, shared)
        elif bot_token:
            workspaces = OneWorkspace(FixedAccount(bot_token), shared)
        else:
            raise ValueError("Slack needs a bot token, or credentials of an app and a vault")
        webhooks = workspaces.webhooks if isinstance(workspaces, InstalledWorkspaces) else {}
        try:
            yield Slack(workspaces, webhooks, clients, app_token, signing_secret, lookup, bots, timing)
        finally:
            await workspaces.close()


class Slack:
    """Implementation of `bot.platforms.receiver.Receiver`."""

    name = "slack"

    def __init__(
        self,
        workspaces: Workspaces,
        webhooks: Mapping[str, Webhook],
        clients: Clients,
        app_token: str | None,
        signing_secret: str | None,
        lookup: InboxLookup,
        bots: Set[str],
        timing: Timing,
    ) -> None:
        self._workspaces = workspaces
        self._webhooks = webhooks
        self._clients = clients
        self._app_token = app_token
        self._signing_secret = signing_secret or ""
        self._lookup = lookup
        self._bots = bots
        self._timing = timing
        self._notices: set[asyncio.Task[None]] = set()
        self._refused: set[tuple[ThreadId, float]] = set()  # presses of the stop button, being delivered
        self._app: AsyncApp | None = None
        self._take_event: DeliverEvent | None = None
        self._sockets: Sockets | None = None
        self._last_event: float | None = None

    @property
    def webhooks(self) -> Mapping[str, Webhook]:
        """Return the addresses for the installation, and for events unless they arrive on sockets."""
        return {**self._webhooks, **({} if self._app_token else {"/slack/events": Webhook(self._serve)})}

    async def receive(self, deliver: Deliver, commands: Commands) -> None:
        """Connect, deliver events and answer commands until cancelled."""
        await self._workspaces.begin()
        deliver_event = self._take_event = partial(self._deliver_event, deliver, commands)
        self._app = build_app(
            self._workspaces,
            self._clients,
            self._signing_secret,
            deliver,
            deliver_event,
            self._note_arrival,
            commands,
            self._timing,
        )
        try:
            if self._app_token:
                await self._listen(self._app, deliver_event, self._app_token)
            else:
                self._workspaces.mark_connected()
                await self._workspaces.wait_until_deaf()
        finally:
            self._app = self._take_event = self._sockets = None
            self._workspaces.mark_lost()

    async def catch_up(self, deliver: Deliver) -> None:
        """Deliver messages that were missed, from the channel history."""
        await self._workspaces.catch_up(deliver)

    def thread(self, id: ThreadId) -> Thread:
        """Return the thread to answer in; makes no request."""
        return self._workspaces.of(id.space).thread(id)

    async def fetch(self, message: Message, attachment: Attachment, most_bytes: int) -> bytes:
        """Return the content of an attachment. Raises `FileRefused`."""
        return await fetch(self._of(message).api, attachment, most_bytes)

    def context(self, message: Message, since: Since | None) -> ReadContext | None:
        """Return the function that reads the thread of a message, and messages that it links to."""
        return self._of(message).contexts.context(message, since)

    def archive(self, message: Message) -> SlackArchive | None:
        """Return what the author of a message can read; nothing for bots, who are in no channels."""
        return None if message.bot_ids else SlackArchive(self._of(message).past, message)

    async def audience(self, message: Message) -> Audience:
        """Return who can read the place of a message."""
        return await self._of(message).audiences.of(message)

    async def name_of(self, kind: NameKind, id: str) -> str:
        """Return the name of a user, a public channel or a workspace."""
        return await self._workspaces.name_of(kind, id)

    async def show_request(
        self, approval: Approval, to: str, receipt: Receipt, *, is_channel: bool
    ) -> ThreadId:
        """Post an approval request in a channel or in a user's direct messages.

        That is in the workspace which `to` names, if it names one, else in that of the question.
        """
        workspace = self._workspaces.of(team_in(to) or _team_of(receipt))
        return await workspace.show_request(approval, to, receipt, is_channel=is_channel)

    async def settle_request(self, approval: Approval, receipt: Receipt) -> None:
        """Show the decision in the message of a request."""
        await self._workspaces.of(_team_of(receipt)).settle_request(approval, receipt)

    async def announce(self, announcement: Announcement, to: str, receipt: Receipt) -> Opening:
        """Post a message in a channel, in the workspace that `to` names, if it names one."""
        return await self._workspaces.of(team_in(to)).announce(announcement, to, receipt)

    def forget_thread(self, id: ThreadId) -> None:
        """Close the session of a thread, in a task."""
        if id.thread:
            self._workspaces.of(id.space).status.close_session(id)

    def refuse_stop(self, stop: Stop, words: str) -> None:
        """Tell a user privately why a stop was refused, in a task: Slack waits only 3 s for the event."""
        if stop.thread and not stop.id:
            self._refused.add((stop.thread, stop.at))
        telling = asyncio.create_task(self._tell(stop, words))
        self._notices.add(telling)
        telling.add_done_callback(self._notices.discard)

    async def _tell(self, stop: Stop, words: str) -> None:
        channel, thread = place_of(stop)
        where = {"channel": channel} | ({"thread_ts": thread} if thread else {})
        api = self._workspaces.of(team_of(stop)).api
        try:
            user = own_id(stop.by)
            await api.write("chat.postEphemeral", **where, user=user, text=mrkdwn(words))
        except PlatformError as error:
            log.info("stop refusal not shown", extra={"error": str(error)})

    async def health(self) -> Health:
        """Return the state of both directions: events (sockets, the last event) and calls (a probe)."""
        hears, sockets = await self._connection_health()
        heard, probed = await self._workspaces.probe()
        evidence = {"mode": "socket" if self._app_token else "http", **sockets, **probed}
        if self._last_event is None:
            evidence["no_event_yet"] = True
        else:
            evidence["last_event_s"] = round(time.monotonic() - self._last_event, 1)
        return Health(name=self.name, state=worst([hears, heard]), evidence=evidence)

    async def _connection_health(self) -> tuple[State, dict[str, Json]]:
        if not self._app_token:
            return "ok" if self._app else "down", {}
        connected = await self._count_sockets()
        state: State = "down" if not connected else "ok" if connected == SOCKETS else "degraded"
        return state, {"connected_sockets": connected}

    async def _count_sockets(self) -> int:
        return await self._sockets.count_connected() if self._sockets else 0

    async def _listen(self, app: AsyncApp, deliver_event: DeliverEvent, app_token: str) -> None:
        clients, workspaces = self._clients, self._workspaces
        address = await clients.request_socket(app_token)
        async with open_sockets(app, deliver_event, clients, app_token, address, self._timing) as sockets:
            self._sockets = sockets
            workspaces.mark_connected()
            await first_failure(sockets.watch(workspaces.mark_missed), workspaces.wait_until_deaf())

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        app, take_event = self._app, self._take_event
        if app is None or take_event is None:
            return web.Response(status=503, text="Not connected to Slack yet")
        return await serve(app, take_event, self._signing_secret, request)

    def _note_arrival(self) -> None:
        self._last_event = time.monotonic()

    async def _deliver_event(self, deliver: Deliver, commands: Commands, body: Mapping[str, Json]) -> None:
        """Deliver the event in a payload. Raises if it is not stored: it is then not acknowledged."""
        self._note_arrival()
        id = event_id(body.get("event"))
        if self._lookup.has_hung(id):
            log.error("event given up, the process has hung on it", extra={"event_id": id})
            return
        try:
            body = await self._workspaces.for_answering(body)
            workspace = await self._workspaces.of_event(body)
            if workspace:
                await self._deliver_in(workspace, deliver, commands, id, body)
        except NotInstalled as error:  # acknowledged: nobody could answer
            log.warning("event skipped", extra={"event_id": body.get("event_id"), "error": str(error)})

    async def _deliver_in(
        self, workspace: Workspace, deliver: Deliver, commands: Commands, id: str, body: Mapping[str, Json]
    ) -> None:
        who = await workspace.api.who()
        if await workspace.take_notice(body, who.team_id, commands):
            return
        with name_work(f"event:{id}"):
            try:
                bot = bot_mentioned_in(body, who.user_id)
                event = parse_event(body, bot, self._bots - who.names)
            except Unreadable as error:  # acknowledged: otherwise Slack would repeat it
                log.warning("event skipped", extra={"event_id": body.get("event_id"), "error": str(error)})
                return
            if event:
                event = await workspace.app_contexts.add_to(event)
                with workspace.catch_up.unless_delivered():
                    await workspace.with_details(deliver)(event)
        if isinstance(event, Stop) and event.thread:
            pressed = event.thread, event.at
            if pressed not in self._refused:  # else the answer goes on, and its session with it
                workspace.status.clear(event.thread)
            self._refused.discard(pressed)

    def _of(self, message: Message) -> Workspace:
        return self._workspaces.of(message.thread.space)


def _team_of(receipt: Receipt) -> str:
    """Return the workspace of a request's message; empty if the question is from another platform."""
    asked_in = receipt.turn.thread
    return receipt.state.get("team") or (asked_in.space if asked_in.platform == Slack.name else "")
