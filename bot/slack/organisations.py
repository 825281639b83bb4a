"""Workspaces that the app reaches through the installation of an organisation (Enterprise Grid).

https://docs.slack.dev/reference/methods/auth.teams.list
"""

import asyncio
import logging
import time

from bot.chat import PlatformError, StorageDown
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
        self._order = asyncio.Lock()

    async def read_all(self) -> None:
        """Note the workspaces of the organisations whose lists are old; a failure is logged."""
        for organisation in await self._installations.organisations():
            try:
                await self._read(organisation, self._timing.organisation_max_age)
            except (PlatformError, StorageDown) as error:
                log.warning(
                    "workspaces not listed", extra={"organisation": organisation, "error": str(error)}
                )

    async def look_for(self, organisation: str) -> None:
        """Read the list of an organisation for an unknown workspace, unless it was just read.

        A failure is logged. Ends soon, because Slack waits for the answer to a command.
        """
        try:
            if await self._installations.reload(organisation):
                async with asyncio.timeout(self._timing.author_timeout):
                    await self._read(organisation, self._timing.organisation_min_age)
        except (PlatformError, TimeoutError) as error:
            log.warning("workspaces not listed", extra={"organisation": organisation, "error": repr(error)})

    async def _read(self, organisation: str, max_age: float) -> None:
        async with self._order:
            if time.monotonic() - self._read_at.get(organisation, float("-inf")) < max_age:
                return
            self._read_at[organisation] = time.monotonic()
            api = SlackApi(self._clients, InstalledAccount(organisation, self._tokens))
            known = await self._installations.all()
            count = 0
            async for each in pages(api.read, "auth.teams.list", "teams"):
                count += 1
                if (team := word(each.get("id"))).startswith("T") and team not in known:
                    await self._installations.note_reached(team, organisation)
                if count >= _MOST_WORKSPACES:
                    break
