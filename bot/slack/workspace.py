"""The bot in one workspace: its calls of Slack, and what is known and limited there."""

import asyncio
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from bot.chat import (
    Announcement,
    Approval,
    Coordination,
    Deliver,
    Files,
    InboxLookup,
    Json,
    Opening,
    Prompt,
    Receipt,
    ThreadId,
)
from bot.commands.commands import Commands
from bot.platforms.catch_up import CatchUp
from bot.slack import requests
from bot.slack.announcements import announce
from bot.slack.api import Account, Clients, SlackApi
from bot.slack.app_context import AppContexts
from bot.slack.artifacts import NativeBlocks
from bot.slack.ask import Ask
from bot.slack.audience import Audiences
from bot.slack.context import Contexts
from bot.slack.events import team_of_event
from bot.slack.growth import EditBudget
from bot.slack.history import ActiveThreads, History
from bot.slack.home import MOST_AT_ONCE, HomeTabs
from bot.slack.home_presses import HomePresses
from bot.slack.memberships import Memberships
from bot.slack.names import Names
from bot.slack.past import PastMessages
from bot.slack.prompts import SuggestedPrompts
from bot.slack.rate_limits import RateLimits
from bot.slack.reply import SlackThread, Streaming
from bot.slack.shared_channels import Connections
from bot.slack.status import Status
from bot.slack.stream import StreamBudget
from bot.slack.timing import Timing
from bot.slack.users import Users


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Parts that all workspaces share; `bots` are the other bots that are not ignored, as in ALLOWED_BOTS."""

    clients: Clients
    limits: RateLimits
    active_threads: ActiveThreads
    coordination: Coordination
    lookup: InboxLookup
    files: Files
    bots: Set[str]
    catch_up_hours: float
    timing: Timing
    streaming: Streaming = "native"
    prompts: Sequence[Prompt] | None = None
    """Suggested prompts of the operator, if there are any."""
    home_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_AT_ONCE))


class Workspace:
    """The bot in one workspace. Nothing is requested before the first use."""

    def __init__(self, account: Account, shared: Shared) -> None:
        self._shared = shared
        limits, timing = shared.limits, shared.timing
        api = self.api = SlackApi(shared.clients, account)
        self.users = Users(api, limits, timing)
        self.names = Names(api, limits, self.users, timing)
        self.audiences = Audiences(api, timing)
        self.connections = Connections(api, timing)
        memberships = Memberships(api, limits, timing)
        self.past = PastMessages(api, limits, self.users, self.names, memberships, timing)
        self.contexts = Contexts(self.past, timing)
        self.app_contexts = AppContexts(shared.coordination, timing)
        self.prompts = SuggestedPrompts(api, limits, timing, shared.prompts)
        self.buttons = requests.Buttons(self.users, api, timing.button_timeout)
        self.home = HomeTabs(api, self.users, self.audiences, memberships, limits, shared.home_slots, timing)
        self.home_presses = HomePresses(api, self.home, timing)
        self.status = Status(api, limits, timing)
        self.catch_up = CatchUp(
            shared.coordination,
            shared.catch_up_hours,
            sweep_seconds=timing.sweep_interval,
            deaf_seconds=timing.deaf_after,
        )
        self._history = History(
            api, limits, shared.coordination, shared.lookup, shared.bots, shared.active_threads
        )
        self._ask_locks = WeakValueDictionary[str, asyncio.Lock]()
        self._budget = StreamBudget(limits, timing.flush_interval)
        self._edit_budget = EditBudget(limits, timing.edit_interval)
        self._native = NativeBlocks(timing.block_refusal)

    async def close(self) -> None:
        """End what still runs in the background."""
        await self.prompts.close()
        await self.home.close()
        await self.status.close()

    async def take_notice(self, body: Mapping[str, Json], team: str, commands: Commands) -> bool:
        """Take an event that is not about what a thread says; return False for all others."""
        match body.get("event"):
            case {"type": "user_change", "user": {"id": str(user)} as described}:
                await self.users.update(team, user, described)
            case {"type": "app_home_opened", "tab": "home"}:
                self.home.open(body["event"], commands)
            case {"type": "app_home_opened", "tab": "messages"}:
                self.prompts.open(body["event"], commands)
            case {"type": "app_context_changed"}:
                await self.app_contexts.note(team_of_event(body), body["event"])
            case {
                "type": "agent_session_title_changed",
                "channel": str(channel),
                "thread_ts": str(ts),
                "title": str(title),
            }:
                self.status.keep_title(ThreadId("slack", team_of_event(body), channel, ts), title)
            case {"type": "app_home_opened" | "agent_session_title_changed"}:
                pass
            case _:
                return False
        return True

    def with_details(self, deliver: Deliver) -> Deliver:
        """Return a `deliver` that first adds to an event what Slack says about its author and names."""
        return self.users.add_authors(self.names.add_names(self.api.ids.add_to(deliver)))

    def thread(self, id: ThreadId) -> SlackThread:
        """Return the thread to answer in; makes no request."""
        shared = self._shared
        return SlackThread(
            id,
            self.api,
            shared.limits,
            self.status,
            self._budget,
            self._edit_budget,
            shared.streaming,
            self._native,
            shared.lookup,
            shared.files,
            shared.timing,
        )

    def ask(self, deliver: Deliver) -> Ask:
        """Return what takes the questions that are asked by shortcuts."""
        shared = self._shared
        deliver = self.with_details(deliver)
        return Ask(self.api, deliver, shared.lookup, shared.timing, self._ask_locks)

    async def teams_of(self, user: str) -> Sequence[str]:
        """Return the workspaces of a user, as far as Slack says."""
        return await self.users.teams((await self.api.who()).team_id, user)

    async def is_external(self, user: str) -> bool:
        """Return whether a user is a guest or from another organisation, as far as Slack says."""
        return await self.users.is_external((await self.api.who()).team_id, user)

    async def show_request(
        self, approval: Approval, to: str, receipt: Receipt, *, is_channel: bool
    ) -> ThreadId:
        """Post an approval request in a channel or in a user's direct messages."""
        shared = self._shared
        return await requests.show_request(
            approval, to, receipt, self.api, shared.limits, shared.timing, is_channel=is_channel
        )

    async def settle_request(self, approval: Approval, receipt: Receipt) -> None:
        """Show the decision in the message of a request."""
        shared = self._shared
        await requests.settle_request(approval, receipt, self.api, shared.limits, shared.timing)

    async def announce(self, announcement: Announcement, to: str, receipt: Receipt) -> Opening:
        """Post a message in a channel, in whose thread it can be talked about."""
        shared = self._shared
        return await announce(announcement, to, receipt, self.api, shared.limits, shared.timing)

    def mark_connected(self, team: str) -> None:
        """Mark the workspace as one whose events arrive."""
        self.catch_up.mark_connected(f"slack:{team}", self._read_history)

    async def _read_history(self, since: float, active_since: float, deliver: Deliver) -> float:
        return await self._history.read(await self.api.who(), since, active_since, deliver)
