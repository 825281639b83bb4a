"""Workspaces that the app reaches through the installation of an organisation (Enterprise Grid).

https://docs.slack.dev/reference/methods/auth.teams.list
"""

import asyncio
import logging
import time
from collections import defaultdict

from bot.chat import PlatformError, StorageDown
from bot.concurrency.tasks import cancel
from bot.slack.api import Clients, SlackApi, pages
from bot.slack.block_text import word
from bot.slack.installations import Installations
from bot.slack.timing import Timing
from bot.slack.tokens import BotTokens, InstalledAccount

log = logging.getLogger(__name__)

_MOST_WORKSPACES = 10_000


class Organisations:
    """Lists of workspaces of organisations, each read regularly, and when an unknown one is met."""

    def __init__(
        self, installations: Installations, tokens: BotTokens, clients: Clients, timing: Timing
    ) -> None:
        self._installations = installations
        self._tokens = tokens
        self._clients = clients
        self._timing = timing
        self._read_at: dict[str, float] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._reading: asyncio.Task[None] | None = None

    def begin_reading(self) -> None:
        """Read the lists that are old, in a task: a slow answer keeps nobody waiting."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_all())

    async def close(self) -> None:
        """End what still runs in the background."""
        await cancel(*([self._reading] if self._reading else []))

    async def look_for(self, organisation: str) -> None:
        """Read the list of an organisation for an unknown workspace, unless it was just read.

        A failure is logged. Ends soon, because Slack waits for the answer to a command.
        """
        try:
            if await self._installations.reload(organisation):
                async with asyncio.timeout(self._timing.author_timeout):
                    await self._read(organisation, self._timing.organisation_min_age)
        except (PlatformError, TimeoutError) as error:
            _log_failure(organisation, error)

    async def _read_all(self) -> None:
        try:
            for organisation in await self._installations.organisations():
                try:
                    await self._read(organisation, self._timing.organisation_max_age)
                except PlatformError as error:
                    _log_failure(organisation, error)
        except StorageDown as error:
            log.info("organisations not read", extra={"error": str(error)})
        except Exception:  # a bug is logged with its trace; the next round tries again
            log.exception("organisations not read")

    async def _read(self, organisation: str, max_age: float) -> None:
        async with self._locks[organisation]:
            timing, now = self._timing, time.monotonic()
            if now - self._read_at.get(organisation, float("-inf")) < max_age:
                return
            # until it is read: tried again soon
            self._read_at[organisation] = now - timing.organisation_max_age + timing.token_retry_interval
            await self._note_workspaces(organisation)
            self._read_at[organisation] = now

    async def _note_workspaces(self, organisation: str) -> None:
        api = SlackApi(self._clients, InstalledAccount(organisation, self._tokens))
        known = await self._installations.all()
        count = 0
        async for each in pages(api.read, "auth.teams.list", "teams"):
            count += 1
            if (team := word(each.get("id"))).startswith("T") and team not in known:
                await self._installations.note_reached(team, organisation)
            if count >= _MOST_WORKSPACES:
                break


def _log_failure(organisation: str, error: Exception) -> None:
    log.warning("workspaces not listed", extra={"organisation": organisation, "error": repr(error)})
