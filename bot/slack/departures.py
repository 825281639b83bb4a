"""Removal of what is known of workspaces that the app was uninstalled from.

It is done before the app is installed there again: else it could take a new question for an old one.
"""

import asyncio
import logging
import secrets
import time

from bot.chat import BotError, Coordination, Deliver, Departure, Unreachable
from bot.slack.installations import Installations

log = logging.getLogger(__name__)

_LEASE_SECONDS = 120.0
_LOOK_SECONDS = 0.2


class Departures:
    """Departures of workspaces, each handled by one task of one process at a time."""

    def __init__(self, installations: Installations, coordination: Coordination, patience: float) -> None:
        self._installations = installations
        self._coordination = coordination
        self._patience = patience
        self._deliver: Deliver | None = None

    def begin(self, deliver: Deliver) -> None:
        """Begin to use this `deliver`, which removes the data."""
        self._deliver = deliver

    async def finish(self, team: str) -> bool:
        """Have the data of a workspace removed that has left; return False while another task does it.

        Raises `BotError`.
        """
        lease, holder = f"slack:departure:{team}", secrets.token_hex(8)
        if not await self._coordination.lease(lease, _LEASE_SECONDS, holder):
            return False
        try:
            # as it is stored now: another process may have finished it, and the app be installed again
            if await self._installations.is_gone(team):
                if self._deliver is None:
                    raise Unreachable("Slack: the bot is starting")
                await self._deliver(Departure(platform="slack", space=team))
                await self._installations.drop_gone(team)
        finally:
            await self._coordination.release(lease, holder)
        return True

    async def finish_all(self) -> None:
        """Have the data of all workspaces removed that have left; those that fail are left for later."""
        for team in await self._installations.gone():
            try:
                await self.finish(team)
            except BotError as error:
                log.warning("workspace not forgotten", extra={"workspace": team, "error": repr(error)})

    async def wait(self, team: str) -> None:
        """Wait until nothing is left of an earlier installation. Raises `Unreachable` if that takes long."""
        until = time.monotonic() + self._patience
        try:
            while not await self.finish(team):
                if time.monotonic() > until:
                    raise Unreachable("its old data is being removed")
                await asyncio.sleep(_LOOK_SECONDS)
        except BotError as error:
            raise Unreachable(f"Slack: {team} cannot be installed again yet: {error!r}") from error
