"""Workspaces that the bot is in: one with a fixed token, or all in which the app is installed."""

import logging
from collections.abc import Mapping
from typing import Protocol

from bot.chat import Deliver, Json, NameKind
from bot.platforms.health import Finding
from bot.slack.api import Account, Identity
from bot.slack.health import TokenProbe
from bot.slack.workspace import Shared, Workspace

log = logging.getLogger(__name__)


class Workspaces(Protocol):
    """Workspaces that the bot is in. The rest of the platform does not know if there is more than one."""

    def of(self, team: str) -> Workspace:
        """Return a workspace without a request; its calls raise `NotInstalled` if the bot is not in it."""

    async def of_event(self, body: Mapping[str, Json]) -> Workspace | None:
        """Return the workspace of an event; None if the event is about an installation and is done with.

        Raises `PlatformError` and `StorageDown`.
        """

    async def for_answering(self, body: Mapping[str, Json]) -> Mapping[str, Json]:
        """Return an event as it would be sent for the installation that answers it.

        Raises `PlatformError` and `StorageDown`.
        """

    async def of_interaction(self, body: Mapping[str, Json]) -> Workspace:
        """Return the workspace of a command, a press or a form. Raises `NotInstalled` and `StorageDown`."""

    async def begin(self) -> None:
        """Look up what is needed to deliver events. Raises `PlatformError`."""

    def mark_connected(self) -> None:
        """Note that events of all workspaces arrive."""

    def mark_missed(self) -> None:
        """Note that an event of any workspace may have been missed."""

    def mark_lost(self) -> None:
        """Note that no events arrive any more."""

    async def wait_until_deaf(self) -> None:
        """Raise `Unreachable` once no events arrive although the connection is open."""

    async def catch_up(self, deliver: Deliver) -> None:
        """Deliver messages that were missed, once events arrive."""

    async def name_of(self, kind: NameKind, id: str) -> str:
        """Return the name of a user, a public channel or a workspace."""

    async def probe(self) -> Finding:
        """Return whether Slack can be called, with evidence. Never raises, and ends soon."""

    async def close(self) -> None:
        """End what still runs in the background."""


class OneWorkspace:
    """The workspace of SLACK_BOT_TOKEN; implements `Workspaces`."""

    def __init__(self, account: Account, shared: Shared) -> None:
        self._only = Workspace(account, shared)
        self._probe = TokenProbe(self._only.api, shared.timing)
        self._identity: Identity | None = None

    def of(self, team: str) -> Workspace:
        """Return the only workspace."""
        return self._only

    async def of_event(self, body: Mapping[str, Json]) -> Workspace | None:
        """Return the only workspace."""
        return self._only

    async def for_answering(self, body: Mapping[str, Json]) -> Mapping[str, Json]:
        """Return the event unchanged."""
        return body

    async def of_interaction(self, body: Mapping[str, Json]) -> Workspace:
        """Return the only workspace."""
        return self._only

    async def begin(self) -> None:
        """Look up the owner of the token."""
        self._identity = await self._only.api.identify()

    def mark_connected(self) -> None:
        """Note that events arrive."""
        assert self._identity is not None  # set by `begin`
        log.info("Slack connected", extra={"workspace": self._identity.team})
        self._only.mark_connected(self._identity.team_id)

    def mark_missed(self) -> None:
        """Note that an event may have been missed."""
        self._only.catch_up.mark_missed()

    def mark_lost(self) -> None:
        """Note that no events arrive any more."""
        self._only.catch_up.mark_lost()

    async def wait_until_deaf(self) -> None:
        """Raise `Unreachable` once no events arrive although the connection is open."""
        await self._only.catch_up.wait_until_deaf()

    async def catch_up(self, deliver: Deliver) -> None:
        """Deliver messages that were missed."""
        await self._only.catch_up.run(self._only.with_details(deliver))

    async def name_of(self, kind: NameKind, id: str) -> str:
        """Return the name of a user, a public channel or the workspace."""
        return await self._only.names.name_of(kind, id)

    async def probe(self) -> Finding:
        """Return whether Slack accepts the token."""
        state, evidence = await self._probe()
        if self._identity:
            evidence = {**evidence, "workspace": self._identity.team, "user": self._identity.user}
        return state, evidence

    async def close(self) -> None:
        """End what still runs in the background."""
        await self._only.close()
