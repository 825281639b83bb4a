"""Slack as a platform: connection, events, answers.

Bolt acknowledges an event before its listener has run, and drops it when its own `auth.test` fails
(slack_bolt/listener/asyncio_runner.py, middleware/authorization). So events are delivered in
`before_authorize`, which runs after the signature check and before everything else; events on sockets do not
pass through Bolt at all.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Set
from functools import partial

from aiohttp import web
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.response import BoltResponse

from bot.chat import (
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
    PlatformError,
    ReadContext,
    Receipt,
    Since,
    Stop,
    Thread,
    ThreadId,
    name_work,
)
from bot.commands.commands import Commands
from bot.concurrency.tasks import first_failure
from bot.platforms.catch_up import CatchUp
from bot.platforms.health import State, worst
from bot.platforms.receiver import Webhook
from bot.slack import requests
from bot.slack.api import SDK_LOG, Identity, SlackApi, open_api
from bot.slack.archive import SlackArchive
from bot.slack.ask import Ask
from bot.slack.audience import Audiences
from bot.slack.commands import add_commands, is_listened_to
from bot.slack.context import Contexts
from bot.slack.downloads import fetch
from bot.slack.events import Unreadable, event_id, parse_event, place_of
from bot.slack.health import TokenProbe
from bot.slack.history import History
from bot.slack.home import HomeTabs, is_home
from bot.slack.markdown import mrkdwn
from bot.slack.memberships import Memberships
from bot.slack.names import Names
from bot.slack.past import PastMessages
from bot.slack.rate_limits import PER_MINUTE, RateLimits
from bot.slack.reply import SlackThread
from bot.slack.socket_mode import SOCKETS, DeliverEvent, Sockets, open_sockets
from bot.slack.status import Status
from bot.slack.stream import StreamBudget
from bot.slack.timing import Timing
from bot.slack.users import Users
from bot.slack.webhook import serve

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def connect(
    *,
    bot_token: str,
    app_token: str | None,
    signing_secret: str | None,
    api_url: str,
    coordination: Coordination,
    lookup: InboxLookup,
    files: Files,
    catch_up_hours: float,
    bots: Set[str] = frozenset(),
    timing: Timing,
    per_minute: Mapping[str, int] = PER_MINUTE,
) -> AsyncIterator["Slack"]:
    """Open Slack with one HTTP session, which is closed with the context; makes no request yet.

    With an app token events arrive on sockets, else at the webhook, which needs the signing secret. Other
    bots are ignored unless they are in `bots`, as in ALLOWED_BOTS.
    """
    if not app_token and not signing_secret:
        raise ValueError("Slack needs an app token or a signing secret")
    limits = RateLimits(coordination, per_minute)
    catch_up = CatchUp(
        coordination, catch_up_hours, sweep_seconds=timing.sweep_interval, deaf_seconds=timing.deaf_after
    )
    async with open_api(bot_token, api_url, timing) as api, Status(api, limits, timing) as status:
        history = History(api, limits, coordination, lookup, bots)
        yield Slack(
            api,
            app_token,
            signing_secret,
            catch_up,
            history,
            limits,
            status,
            lookup,
            files,
            bots,
            timing,
        )


class Slack:
    """Implementation of `bot.platforms.receiver.Receiver`."""

    name = "slack"

    def __init__(
        self,
        api: SlackApi,
        app_token: str | None,
        signing_secret: str | None,
        catch_up: CatchUp,
        history: History,
        limits: RateLimits,
        status: Status,
        lookup: InboxLookup,
        files: Files,
        bots: Set[str],
        timing: Timing,
    ) -> None:
        self._api = api
        self._files = files
        self._app_token = app_token
        self._signing_secret = signing_secret or ""
        self._catch_up = catch_up
        self._history = history
        self._limits = limits
        self._status = status
        self._lookup = lookup
        self._bots = bots
        self._timing = timing
        self._budget = StreamBudget(limits, timing.flush_interval)
        self._audiences = Audiences(api, timing)
        self._users = Users(api, limits, timing)
        self._names = Names(api, limits, self._users, timing)
        memberships = Memberships(api, limits, timing)
        self._past = PastMessages(api, limits, self._users, self._names, memberships, timing)
        self._contexts = Contexts(self._past, timing)
        self._buttons = requests.Buttons(self._users, api, timing.button_timeout)
        self._home = HomeTabs(api, self._users, limits, timing)
        self._probe = TokenProbe(api, timing)
        self._notices: set[asyncio.Task[None]] = set()
        self._identity: Identity | None = None
        self._app: AsyncApp | None = None
        self._sockets: Sockets | None = None
        self._last_event: float | None = None

    @property
    def webhooks(self) -> Mapping[str, Webhook]:
        """Return the handler of `/slack/events`, unless events arrive on sockets."""
        return {} if self._app_token else {"/slack/events": self._serve}

    async def receive(self, deliver: Deliver, commands: Commands) -> None:
        """Connect, deliver events and answer commands until cancelled."""
        deliver = self._users.add_authors(self._names.add_names(deliver))
        identity = self._identity = await self._api.identify()
        deliver_event = partial(self._deliver_event, identity, deliver, commands)
        self._app = self._build_app(identity, deliver_event, commands)
        Ask(self._api, deliver, self._lookup, self._timing).add_to(self._app)
        try:
            if self._app_token:
                await self._listen(self._app, deliver_event, self._app_token, identity)
            else:
                self._hears(identity)
                await self._catch_up.wait_until_deaf()
        finally:
            self._app = self._sockets = None
            self._catch_up.mark_lost()

    async def catch_up(self, deliver: Deliver) -> None:
        """Deliver messages that were missed, from the channel history."""
        await self._catch_up.run(self._users.add_authors(self._names.add_names(deliver)))

    def thread(self, id: ThreadId) -> Thread:
        """Return the thread to answer in; makes no request."""
        return SlackThread(
            id,
            self._api,
            self._limits,
            self._status,
            self._budget,
            self._lookup,
            self._files,
            self._timing,
        )

    async def fetch(self, attachment: Attachment, most_bytes: int) -> bytes:
        """Return the content of an attachment. Raises `FileRefused`."""
        return await fetch(self._api, attachment, most_bytes)

    def context(self, message: Message, since: Since | None) -> ReadContext | None:
        """Return the function that reads the thread of a message, and messages that it links to."""
        return self._contexts.context(message, since)

    def archive(self, message: Message) -> SlackArchive | None:
        """Return what the author of a message can read; nothing for bots, who are in no channels."""
        return None if message.bot_ids else SlackArchive(self._past, message)

    async def audience(self, message: Message) -> Audience:
        """Return who can read the place of a message."""
        return await self._audiences.of(message)

    async def name_of(self, kind: NameKind, id: str) -> str:
        """Return the name of a user, a public channel or the workspace."""
        return await self._names.name_of(kind, id)

    async def show_request(
        self, approval: Approval, to: str, receipt: Receipt, *, is_channel: bool
    ) -> ThreadId:
        """Post an approval request in a channel or in a user's direct messages."""
        return await requests.show_request(
            approval, to, receipt, self._api, self._limits, self._timing, is_channel=is_channel
        )

    async def settle_request(self, approval: Approval, receipt: Receipt) -> None:
        """Show the decision in the message of a request."""
        await requests.settle_request(approval, receipt, self._api, self._limits, self._timing)

    def refuse_stop(self, stop: Stop, words: str) -> None:
        """Tell a user privately why a stop was refused, in a task: Slack waits only 3 s for the event."""
        telling = asyncio.create_task(self._tell(stop, words))
        self._notices.add(telling)
        telling.add_done_callback(self._notices.discard)

    async def _tell(self, stop: Stop, words: str) -> None:
        channel, thread = place_of(stop)
        where = {"channel": channel} | ({"thread_ts": thread} if thread else {})
        try:
            user = stop.by.partition(":")[2]
            await self._api.write("chat.postEphemeral", **where, user=user, text=mrkdwn(words))
        except PlatformError as error:
            log.info("stop refusal not shown", extra={"error": str(error)})

    async def health(self) -> Health:
        """Return the state of both directions: events (sockets, the last event) and calls (a probe)."""
        hears, sockets = await self._connection_health()
        heard, probed = await self._probe()
        evidence = {"mode": "socket" if self._app_token else "http", **sockets, **probed}
        if self._last_event is None:
            evidence["no_event_yet"] = True
        else:
            evidence["last_event_s"] = round(time.monotonic() - self._last_event, 1)
        if self._identity:
            evidence |= {"workspace": self._identity.team, "user": self._identity.user}
        return Health(name=self.name, state=worst([hears, heard]), evidence=evidence)

    async def _connection_health(self) -> tuple[State, dict[str, Json]]:
        if not self._app_token:
            return "ok" if self._app else "down", {}
        connected = await self._count_sockets()
        state: State = "down" if not connected else "ok" if connected == SOCKETS else "degraded"
        return state, {"connected_sockets": connected}

    async def _count_sockets(self) -> int:
        return await self._sockets.count_connected() if self._sockets else 0

    async def _listen(
        self, app: AsyncApp, deliver_event: DeliverEvent, app_token: str, identity: Identity
    ) -> None:
        address = await self._api.request_socket(app_token)
        async with open_sockets(app, deliver_event, self._api, app_token, address, self._timing) as sockets:
            self._sockets = sockets
            self._hears(identity)
            await first_failure(sockets.watch(self._catch_up.mark_missed), self._catch_up.wait_until_deaf())

    def _hears(self, identity: Identity) -> None:
        log.info("Slack connected", extra={"workspace": identity.team})
        self._catch_up.mark_connected(f"slack:{identity.team_id}", partial(self._history.read, identity))

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        app = self._app
        if app is None:
            return web.Response(status=503, text="Not connected to Slack yet")
        return await serve(app, self._signing_secret, request)

    async def _deliver_event(
        self, identity: Identity, deliver: Deliver, commands: Commands, body: Mapping[str, Json]
    ) -> None:
        """Deliver the event in a payload. Raises if it is not stored: it is then not acknowledged."""
        self._last_event = time.monotonic()
        id = event_id(body.get("event"))
        if self._lookup.has_hung(id):
            log.error("event given up, the process has hung on it", extra={"event_id": id})
            return
        match body.get("event"):
            case {"type": "user_change", "user": {"id": str(user)} as described}:
                await self._users.update(user, described)
                return
            case {"type": "app_home_opened", "tab": "home"}:
                self._home.open(body["event"], commands)
                return
        with name_work(f"event:{id}"):
            try:
                event = parse_event(body, identity.user_id, self._bots - identity.names)
            except Unreadable as error:  # acknowledged: otherwise Slack would repeat it
                log.warning("event skipped", extra={"event_id": body.get("event_id"), "error": str(error)})
                return
            if event:
                with self._catch_up.unless_delivered():
                    await deliver(event)
        if isinstance(event, Stop) and event.thread:
            self._status.clear(event.thread)

    def _build_app(self, identity: Identity, deliver_event: DeliverEvent, commands: Commands) -> AsyncApp:
        async def authorize() -> AuthorizeResult:
            return AuthorizeResult(
                enterprise_id=None,
                team_id=identity.team_id,
                bot_token="",
                bot_id=identity.bot_id,
                bot_user_id=identity.user_id,
            )

        async def hand_over(
            body: Mapping[str, Json], next: Callable[[], Awaitable[BoltResponse]]
        ) -> BoltResponse:
            self._last_event = time.monotonic()
            if is_listened_to(body) or body.get("type") == "url_verification":
                return await next()
            if is_home(body):
                await self._home.press(body, commands)
                return BoltResponse(status=200)
            if body.get("type") == "block_actions":
                await self._buttons.handle(body, identity.team_id, commands)
                return BoltResponse(status=200)
            await deliver_event(body)  # raises: Bolt answers 500 or not at all, and Slack repeats
            return BoltResponse(status=200)

        app = AsyncApp(
            name=SDK_LOG.name,  # Bolt sets the level of the logger of this name
            logger=SDK_LOG,
            client=self._api.reader,
            # without these two Bolt reads SLACK_SIGNING_SECRET, and calls auth.test for each event
            signing_secret=self._signing_secret,
            authorize=authorize,
            before_authorize=hand_over,
        )
        is_external = partial(self._users.is_external, identity.team_id)
        add_commands(app, commands, self._api, identity.team_id, is_external, self._timing.ack_timeout)
        return app
