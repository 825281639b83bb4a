"""The Home tab of the app: shown when a user opens it, and again after each of its buttons and forms.

https://docs.slack.dev/surfaces/app-home
"""

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from bot.chat import Json, Message, PlatformError, StorageDown, ThreadId
from bot.commands.commands import Commands
from bot.commands.home import Home, read_home
from bot.concurrency.tasks import cancel
from bot.slack.api import SlackApi
from bot.slack.audience import Audiences
from bot.slack.block_text import word
from bot.slack.errors import Refused
from bot.slack.fallback import NO_PREVIEWS
from bot.slack.home_view import HomeState, Places, channel_of, home_view, load_state
from bot.slack.markdown import mrkdwn
from bot.slack.memberships import Memberships
from bot.slack.rate_limits import RateLimits
from bot.slack.timing import Timing
from bot.slack.users import Users

log = logging.getLogger(__name__)

_PUBLISH, _DESCRIBE = "views.publish", "conversations.info"

_LEFT_TO_TURNS = 20
"""Channels per minute that are left to turns: one that is refused counts as open to outsiders for a while."""

MOST_AT_ONCE = 8
"""Most pages that are read at once, in all workspaces: a read takes several requests to Redis."""

_MOST_KNOWN = 1_000

_MOST_CHANNELS = 20
"""Most channels of threads that are looked up for a page; what is in others is not listed."""


@dataclass(frozen=True, slots=True)
class Tab:
    """Tab as it is to be shown: with the answer to a button, in place of the view with the hash `seen`.

    `claimed_team` is the user's workspace as the payload names it.
    """

    commands: Commands
    user: str
    claimed_team: str
    state: HomeState
    notice: str = ""
    seen: str = ""

    def after(self, earlier: "Tab") -> "Tab":
        """Return the tab that is shown once instead of both."""
        notices = dict.fromkeys(filter(None, (earlier.notice, self.notice)))
        return replace(self, notice="\n".join(notices))


def tab_of(body: Mapping[str, Json], commands: Commands, metadata: str) -> Tab:
    """Return the tab of the user of a payload, with this private metadata."""
    user = body["user"]
    return Tab(commands, word(user["id"]), word(user.get("team_id")), load_state(metadata), seen=_hash(body))


class HomeTabs:
    """Home tabs of the users of one workspace. `slots` are shared by all workspaces, see `MOST_AT_ONCE`."""

    def __init__(
        self,
        api: SlackApi,
        users: Users,
        audiences: Audiences,
        memberships: Memberships,
        limits: RateLimits,
        slots: asyncio.Semaphore,
        timing: Timing,
    ) -> None:
        self._api = api
        self._users = users
        self._audiences = audiences
        self._memberships = memberships
        self._limits = limits
        self._slots = slots
        self._timing = timing
        self._shown_at: dict[str, float] = {}  # by user, in monotonic seconds
        self._next: dict[str, Tab] = {}  # by user: what their task shows next
        self._showing: set[str] = set()  # users with a task
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, event: Mapping[str, Json], commands: Commands) -> None:
        """Show the tab to the user who opens it, in a task: Slack waits only 3 s for the event.

        One that this process has shown just before stays as it is.
        """
        user = word(event.get("user"))
        if user and time.monotonic() - self._shown_at.get(user, -1e9) > self._timing.home_max_age:
            state = HomeState(word(event.get("channel")))
            self.show(Tab(commands, user, "", state, seen=_hash(event)))

    def expire(self, user: str) -> None:
        """Note that a user has done something elsewhere: the next opening reads their tab again."""
        self._shown_at.pop(user, None)

    def show_again(
        self, body: Mapping[str, Json], commands: Commands, metadata: str, notice: str = ""
    ) -> None:
        """Show the tab with this private metadata to the user of a payload."""
        self.show(replace(tab_of(body, commands, metadata), notice=notice, seen=""))

    async def close(self) -> None:
        """End all tasks; an effect that is not complete is repeated with the next press."""
        await cancel(*self._tasks)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task that ends with the tabs."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def show(self, shown: Tab) -> None:
        """Show a tab, or let the task that is showing one of the same user do so next."""
        user = shown.user
        self._note(user)
        waiting = self._next.get(user)
        self._next[user] = shown.after(waiting) if waiting else shown
        if user not in self._showing:
            self._showing.add(user)
            self.start(self._show_next(user))

    def _note(self, user: str) -> None:
        self._shown_at.pop(user, None)
        self._shown_at[user] = time.monotonic()
        if len(self._shown_at) > _MOST_KNOWN:
            del self._shown_at[next(iter(self._shown_at))]

    async def _show_next(self, user: str) -> None:
        """Show the tabs of a user one after the other, until nothing is left to show."""
        newest = ""
        try:
            while shown := self._next.pop(user, None):
                newest = await self._publish_safely(replace(shown, seen=newest or shown.seen))
        finally:
            self._showing.discard(user)

    async def _publish_safely(self, shown: Tab) -> str:
        """Show a tab; return the hash of the new view, empty if it is not shown. The answer is not lost."""
        try:
            return await self._publish(shown)
        except PlatformError as error:
            log.warning("home tab not shown", extra={"error": str(error)})
        except Exception:  # a bug is logged with its trace: nobody waits for this task
            log.exception("home tab failed")
        self._shown_at.pop(shown.user, None)
        if shown.notice:
            await self._tell(shown.user, shown.notice)
        return ""

    async def _tell(self, user: str, notice: str) -> None:
        """Send the answer to a button in direct messages."""
        try:
            await self._api.write("chat.postMessage", channel=user, text=mrkdwn(notice), **NO_PREVIEWS)
        except PlatformError as error:
            log.warning("answer to a button not sent", extra={"error": str(error)})

    async def _publish(self, shown: Tab) -> str:
        """Read the page and publish it; return the hash of the new view.

        If the view in its place is not the newest any more, the page may be older, too: it is read again.
        """
        view = await self._view(shown)
        try:
            return await self._send(shown, view)
        except Refused as error:
            if error.code != "hash_conflict":
                raise
        return await self._send(replace(shown, seen=""), await self._view(shown))

    async def _send(self, shown: Tab, view: Json) -> str:
        team = (await self._api.who()).team_id
        with suppress(StorageDown):  # nothing can be counted then, and the tab says that the storage is down
            await self._limits.wait(team, _PUBLISH, most=self._timing.longest_rate_limit)
        guard = {"hash": shown.seen} if shown.seen else {}
        return _hash(await self._api.repeat(_PUBLISH, user_id=shown.user, view=view, **guard))

    async def _view(self, shown: Tab) -> Json:
        press = await self.message_of(shown)
        async with self._slots:
            page = await read_home(shown.commands, press, shown.state.first)
        if isinstance(page, Home) and not page.is_complete:
            self._shown_at.pop(shown.user, None)  # the next opening tries again at once
        places = await self._places(shown, press, page.threads if isinstance(page, Home) else ())
        return home_view(page, shown.state, shown.notice, places, time.time())

    async def _places(self, shown: Tab, press: Message, threads: Iterable[str]) -> Places:
        """Return which of these threads a user can read, as far as Slack tells soon.

        Members can read public channels, which are the same for all of them; the others are listed by user.
        """
        who = await self._api.who()
        direct = Places(who.url, who.team_id, shown.state.channel)
        there = (each for each in threads if direct.is_here(each) and not direct.can_read(each))
        channels = list(dict.fromkeys(map(channel_of, there)))[:_MOST_CHANNELS]
        is_public = [False] * len(channels)
        if not press.is_external:
            is_public = await asyncio.gather(*(self._is_public(who.team_id, each) for each in channels))
        public = frozenset(channel for channel, is_open in zip(channels, is_public, strict=True) if is_open)
        if all(is_public):
            return replace(direct, channels=public)
        try:
            async with asyncio.timeout(self._timing.audience_timeout):
                joined = await self._memberships.known_now(who.team_id, shown.user)
        except (PlatformError, StorageDown, TimeoutError) as error:
            log.info("channels of a user not listed", extra={"error": repr(error)})
            return replace(direct, channels=public, has_all=False)
        return replace(direct, channels=public | {each.id for each in joined})

    async def _is_public(self, team: str, channel: str) -> bool:
        """Return whether a channel is public; False without a look-up that would take one from a turn."""
        is_known = self._audiences.is_known(channel)
        if not is_known and await self._limits.delay(team, _DESCRIBE, leave=_LEFT_TO_TURNS):
            return False
        return await self._audiences.of_channel(channel) == "everyone"

    async def message_of(self, tab: Tab) -> Message:
        """Return a user as the author of a message without text in direct messages, see `check_access`."""
        team = (await self._api.who()).team_id
        user, channel, home = tab.user, tab.state.channel, tab.claimed_team or team
        message = Message(
            id="",
            thread=ThreadId("slack", team, channel or "home"),
            author=f"slack:{user}",
            text="",
            sent_at=time.time(),
            addressed=True,
            direct=True,
            channel=channel,
            place={"team": team, "user": user, "user_team": home, "channel_kind": "im", "shared": ""},
            author_space=f"slack:{home}" if home != team else "",
        )
        return self._api.ids.of_message(await self._users.with_author(message))


def _hash(payload: Mapping[str, Json]) -> str:
    view = payload.get("view")
    return word(view.get("hash")) if isinstance(view, dict) else ""
