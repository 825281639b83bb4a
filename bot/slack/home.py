"""The Home tab of the app: shown when a user opens it, and again after each of its buttons.

https://docs.slack.dev/surfaces/app-home
"""

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any

from bot.chat import Json, PlatformError
from bot.commands.commands import Commands
from bot.commands.home import read_home
from bot.commands.memory import CONFIRMATION, Caller
from bot.platforms import memory_command
from bot.slack.api import SlackApi
from bot.slack.block_text import word
from bot.slack.errors import Refused
from bot.slack.home_view import EXPORT, FORGET, FORGET_ALL, home_view
from bot.slack.memory_command import send_export
from bot.slack.rate_limits import RateLimits
from bot.slack.responses import apology
from bot.slack.timing import Timing
from bot.slack.users import Users

log = logging.getLogger(__name__)

_PUBLISH = "views.publish"

_MOST_READ = 4
"""Most pages that are read at once: the memory of a user is found by a scan."""

_MOST_KNOWN = 1_000


def is_home(body: Mapping[str, Json]) -> bool:
    """Return whether a payload of Slack is the press of a button on the Home tab."""
    view = body.get("view")
    return body.get("type") == "block_actions" and isinstance(view, dict) and view.get("type") == "home"


class HomeTabs:
    """Home tabs of the users of one workspace."""

    def __init__(self, api: SlackApi, users: Users, limits: RateLimits, timing: Timing) -> None:
        self._api = api
        self._users = users
        self._limits = limits
        self._timing = timing
        self._reading = asyncio.Semaphore(_MOST_READ)
        self._shown: dict[str, float] = {}  # by user, in monotonic seconds
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, event: Mapping[str, Json], commands: Commands) -> None:
        """Show the tab to the user who opens it, in a task: Slack waits only 3 s for the event.

        One that this process has shown just before stays as it is.
        """
        user = word(event.get("user"))
        if user and time.monotonic() - self._shown.get(user, -1e9) > self._timing.home_max_age:
            self._note(user)
            self._start(self._show(user, word(event.get("channel")), commands, "", _hash(event)))

    async def press(self, body: Mapping[str, Json], commands: Commands) -> None:
        """Do what a button says and show the tab again; return in time for Slack's acknowledgement."""
        for action in body.get("actions") or ():
            work = self._start(self._press(action, body, commands))
            await asyncio.wait([work], timeout=self._timing.button_timeout)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _note(self, user: str) -> None:
        self._shown.pop(user, None)
        self._shown[user] = time.monotonic()
        if len(self._shown) > _MOST_KNOWN:
            del self._shown[next(iter(self._shown))]

    async def _press(self, action: Mapping[str, Json], body: Mapping[str, Json], commands: Commands) -> None:
        user = word(body["user"].get("id"))
        try:
            caller = Caller(self._api.ids.user(user), (await self._api.who()).team_id)
            name, value = word(action.get("action_id")), word(action.get("value"))
            notice = await self._act(name, value, caller, commands)
        except Exception as error:  # noqa: BLE001 - the outermost boundary of a button: the user gets an answer
            notice = apology(error)
        channel = word(body["view"].get("private_metadata"))
        await self._show(user, channel, commands, notice, _hash(body))

    async def _act(self, name: str, value: str, caller: Caller, commands: Commands) -> str:
        """Return the answer to a button; nothing for one that only shows the tab again."""
        memory = commands.memory
        if memory is None:
            return ""
        if name == FORGET and value:
            return await memory_command.run(memory, caller, "forget", value)
        if name == FORGET_ALL:
            return await memory_command.run(memory, caller, "forget", CONFIRMATION)
        if name == EXPORT:
            return await memory_command.export(memory, caller, partial(send_export, self._api, caller))
        return ""

    async def _show(self, user: str, channel: str, commands: Commands, notice: str, seen: str) -> None:
        """Read the page and publish it in place of the view with the hash `seen`.

        If that is not the newest view any more, the page may be older, too: it is read again.
        """
        self._note(user)
        try:
            if not await self._publish(user, channel, commands, notice, seen):
                await self._publish(user, channel, commands, notice, "")
        except PlatformError as error:
            self._shown.pop(user, None)
            log.warning("home tab not shown", extra={"error": str(error)})
        except Exception:  # a bug is logged with its trace: nobody waits for this task
            self._shown.pop(user, None)
            log.exception("home tab failed")

    async def _publish(self, user: str, channel: str, commands: Commands, notice: str, seen: str) -> bool:
        """Return False if there is a newer view than the one with the hash."""
        who = await self._api.who()
        async with self._reading:
            is_external = await self._users.is_external(who.team_id, user)
            caller = Caller(self._api.ids.user(user), who.team_id)
            home = await read_home(commands, caller, self._api.ids.channel(channel), is_external=is_external)
        view = home_view(home, notice, channel, who.url, who.team_id)
        if home.trouble:
            self._shown.pop(user, None)  # the next opening tries again at once
        await self._limits.wait(who.team_id, _PUBLISH, most=self._timing.longest_rate_limit)
        try:
            await self._api.repeat(_PUBLISH, user_id=user, view=view, **({"hash": seen} if seen else {}))
        except Refused as error:
            if error.code != "hash_conflict":
                raise
            return False
        return True


def _hash(payload: Mapping[str, Json]) -> str:
    view = payload.get("view")
    return word(view.get("hash")) if isinstance(view, dict) else ""
