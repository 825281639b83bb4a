"""Workspaces in which users have installed the app: any number of them, each opened on its first use."""

import asyncio
import logging
import re
import time
from collections.abc import Mapping, Sequence

from bot.chat import Deliver, Json, NameKind, PlatformError, StorageDown, Unreachable, Vault
from bot.concurrency.tasks import cancel
from bot.platforms.health import Finding
from bot.platforms.receiver import Webhook
from bot.slack.app_credentials import AppCredentials
from bot.slack.block_text import objects, word
from bot.slack.departures import Departures
from bot.slack.errors import NotInstalled, TokenLost
from bot.slack.events import organisation_of, team_of_event, team_of_interaction
from bot.slack.health import ServiceProbe
from bot.slack.ids import own_id, team_in
from bot.slack.installations import Installations
from bot.slack.manifest import INSTALL, REDIRECT
from bot.slack.oauth import OAuth
from bot.slack.organisations import Organisations
from bot.slack.shared_channels import SharedChannels
from bot.slack.tokens import BotTokens, InstalledAccount, describe_loss
from bot.slack.workspace import Shared, Workspace

log = logging.getLogger(__name__)

_AT_ONCE = 32
"""Most workspaces whose history is read at the same time: answers share the connections."""

_CHECKS_PER_SECOND = 10.0
"""Most workspaces in a second that are checked for missed messages."""

_TEAM = re.compile(r"T[A-Z0-9]{1,40}", re.ASCII)

_MOST_NAMED = 5
"""Most workspaces in trouble that health names."""

_MOST_REASON = 300
"""Most characters of each reason."""


class InstalledWorkspaces:
    """All workspaces in which the app is installed; implements `bot.slack.workspaces.Workspaces`."""

    def __init__(self, credentials: AppCredentials, vault: Vault, shared: Shared) -> None:
        self._shared = shared
        timing = shared.timing
        self._installations = Installations(vault, timing.installation_max_age)
        self._tokens = BotTokens(
            self._installations, shared.clients, shared.coordination, credentials, timing
        )
        self._departures = Departures(self._installations, shared.coordination, timing.request_timeout)
        self._oauth = OAuth(
            shared.clients,
            self._installations,
            self._departures,
            shared.coordination,
            credentials,
            timing.state_max_age,
        )
        self._organisations = Organisations(self._installations, self._tokens, shared.clients, timing)
        self._shared_channels = SharedChannels(self)
        self._probe = ServiceProbe(shared.clients, timing)
        self._open: dict[str, Workspace] = {}
        self._connected = asyncio.Event()
        self._deaf = asyncio.Event()
        self._count = 0
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._checks: dict[str, asyncio.Task[None]] = {}
        self._checked_at: dict[str, float] = {}
        self._trouble: dict[str, str] = {}

    @property
    def webhooks(self) -> Mapping[str, Webhook]:
        """Return the addresses for the installation."""
        return {
            INSTALL: Webhook(self._oauth.install, "GET"),
            REDIRECT: Webhook(self._oauth.complete, "GET"),
        }

    def of(self, team: str) -> Workspace:
        """Return a workspace without a request."""
        workspace = self._open.get(team)
        if workspace is None:
            workspace = self._open[team] = Workspace(InstalledAccount(team, self._tokens), self._shared)
            if self._connected.is_set():
                workspace.mark_connected(team)
        return workspace

    async def of_event(self, body: Mapping[str, Json]) -> Workspace | None:
        """Return the workspace of an event; note workspaces of organisations, and ends of installations."""
        match body.get("event"):
            case {"type": "app_uninstalled"}:
                await self._end(body)
                return None
            case {"type": "tokens_revoked", "tokens": {"bot": [_, *_] as users}}:
                await self._end(body, users)
                return None
            case {"type": "tokens_revoked"}:  # of users: the bot has none
                return None
            case {"type": "team_access_revoked", "team_ids": [*teams]}:
                await self._leave(teams, body)
                return None
            case {"type": "team_access_granted", "team_ids": [*teams]}:
                await self._join(teams, _organisation_in(body))
                return None
        team = team_of_event(body)
        installation = next(iter(objects(body.get("authorizations"))), {})
        # in a shared channel the other fields may name a foreign workspace
        is_named = word(installation.get("team_id")) == team or not body.get("is_ext_shared_channel")
        if installation.get("is_enterprise_install") is True and is_named and _TEAM.fullmatch(team):
            await self._installations.note_reached(team, word(installation.get("enterprise_id")))
        found = await self._installations.find(team)
        if found is None:
            if await self._installations.is_gone(team):  # not acknowledged: Slack repeats it
                raise Unreachable(f"Slack: {team} is installed again once its old data is removed")
            raise NotInstalled(team)
        workspace = self.of(team)
        if found.is_lost:  # acknowledged, and read from the history after a new installation
            workspace.catch_up.mark_missed()
            raise TokenLost(team)
        return workspace

    async def for_answering(self, body: Mapping[str, Json]) -> Mapping[str, Json]:
        """Return an event as it would be sent for the installation that answers it."""
        return await self._shared_channels.for_answering(body)

    async def seat(self, team: str) -> Workspace | None:
        """Return a workspace if the app is installed there, as `bot.slack.shared_channels` asks."""
        found = await self._installations.find(team)
        return None if found is None or found.is_lost else self.of(team)

    async def of_interaction(self, body: Mapping[str, Json]) -> Workspace:
        """Return the workspace of a command, a press or a form.

        If an organisation's installation is meant, it has to reach that workspace: the user may come from
        one that is installed by itself.
        """
        team = team_of_interaction(body)
        found = await self._installations.find(team)
        is_of_organisation = body.get("is_enterprise_install") in (True, "true")  # a command is a form
        if found is None and is_of_organisation:  # before the first event of that workspace
            await self._organisations.look_for(organisation_of(body))
            found = await self._installations.find(team)
        if found is None or (is_of_organisation and found.id != organisation_of(body)):
            raise NotInstalled(team)
        if found.is_lost:
            raise TokenLost(team)
        return self.of(team)

    async def _end(self, body: Mapping[str, Json], users: object = None) -> None:
        """Remove an installation; what is known of its workspaces is removed in the next round of checks."""
        id = _organisation_in(body) or team_of_event(body)
        known = await self._installations.reload(id)
        if known is None or (isinstance(users, list) and known.bot_user_id not in users):
            return
        if _is_before(body, known.installed_at):
            log.info("uninstallation skipped, the app was installed again", extra={"installation": id})
            return
        teams = await self._installations.remove(id)
        log.warning("app uninstalled", extra={"installation": id, "workspaces": len(teams)})

    async def _join(self, teams: Sequence[Json], organisation: str) -> None:
        """Note workspaces in which an organisation uses the app from now on."""
        for team in map(word, teams):
            if _TEAM.fullmatch(team):
                await self._installations.note_reached(team, organisation)

    async def _leave(self, teams: Sequence[Json], body: Mapping[str, Json]) -> None:
        """Note workspaces from which an organisation has removed the app."""
        for team in map(word, teams):
            reached_at = await self._installations.reached_at(team) if _TEAM.fullmatch(team) else None
            found = await self._installations.find(team)
            if found and reached_at is not None and _organisation_in(body) in ("", found.id):
                if _is_before(body, reached_at):
                    log.info("removal skipped, the app was added again", extra={"workspace": team})
                    continue
                await self._installations.remove(team)
                log.warning("app removed from workspace", extra={"workspace": team})

    async def begin(self) -> None:
        """Look up the installations."""
        self._count = len(await self._installations.all())

    def mark_connected(self) -> None:
        """Note that events of all workspaces arrive."""
        log.info("Slack connected", extra={"workspaces": self._count})
        self._deaf.clear()
        self._connected.set()
        for team, workspace in self._open.items():
            workspace.mark_connected(team)

    def mark_missed(self) -> None:
        """Note that an event of any workspace may have been missed."""
        for workspace in self._open.values():
            workspace.catch_up.mark_missed()

    def mark_lost(self) -> None:
        """Note that no events arrive any more."""
        self._connected.clear()
        for check in self._checks.values():
            check.cancel()
        for workspace in self._open.values():
            workspace.catch_up.mark_lost()

    async def wait_until_deaf(self) -> None:
        """Raise `Unreachable` once no events arrive although the connection is open."""
        await self._deaf.wait()
        raise Unreachable("Slack: connected, but no messages of a workspace arrive")

    async def catch_up(self, deliver: Deliver) -> None:
        """Begin to check the workspaces whose turn it is: a slow one does not keep the others waiting."""
        self._departures.begin(deliver)
        await self._connected.wait()
        self._organisations.begin_reading()
        teams = list(await self._installations.all())
        self._count = len(teams)
        before = time.monotonic() - len(teams) / _CHECKS_PER_SECOND
        for team in teams:
            if team not in self._checks and self._is_due(team, before):
                self._checks[team] = asyncio.create_task(self._check(team, deliver))
        await self._forget()

    def _is_due(self, team: str, before: float) -> bool:
        return self.of(team).catch_up.has_missed or self._checked_at.get(team, 0.0) <= before

    async def _check(self, team: str, deliver: Deliver) -> None:
        workspace = self.of(team)
        try:
            async with self._room:
                own = self._shared_channels.only_for(team, workspace.with_details(deliver))
                await workspace.catch_up.run(own)
            self._trouble.pop(team, None)
            if workspace.catch_up.is_deaf:
                self._deaf.set()
        except (PlatformError, StorageDown) as error:
            log.warning("catch-up not finished", extra={"workspace": team, "error": str(error)})
            self._trouble[team] = str(error)
        except Exception:  # a bug is logged with its trace; the other workspaces are still read
            log.exception("catch-up failed", extra={"workspace": team})
            self._trouble[team] = "an unexpected error, see the log"
        finally:
            self._checked_at[team] = time.monotonic()
            self._checks.pop(team, None)

    async def _forget(self) -> None:
        """Close the workspaces that the app was uninstalled from, and have their data removed."""
        for team in await self._installations.gone():
            if workspace := self._open.pop(team, None):
                await workspace.close()
            for known in (self._trouble, self._checked_at):
                known.pop(team, None)
        await self._departures.finish_all()

    async def name_of(self, kind: NameKind, id: str) -> str:
        """Return the name of a workspace, or of a user or a public channel, whose id names its workspace."""
        if kind == "space":
            found = await self._installations.find(id)
            return found.name if found else ""
        team = team_in(id)
        return await self.of(team).names.name_of(kind, own_id(id)) if team in self._open else ""

    async def probe(self) -> Finding:
        """Return whether Slack answers, and which workspaces are in trouble."""
        state, evidence = await self._probe()
        refused = {each.id: describe_loss(each) for each in self._installations.refused}
        unread = {team: reason for team, reason in sorted(self._trouble.items()) if team not in refused}
        trouble = [*sorted(refused.items()), *unread.items()]
        shown = {"workspaces": self._count, "workspaces_open": len(self._open)}
        if trouble:
            state = "degraded" if state == "ok" else state
            shown |= {"workspaces_in_trouble": len(trouble)}
            shown |= {"tokens_lost": len(refused)} if refused else {}
            named = [f"{team}: {reason[:_MOST_REASON]}" for team, reason in trouble[:_MOST_NAMED]]
            return state, {**evidence, **shown, "trouble": "; ".join(named)}
        return state, {**evidence, **shown}

    async def close(self) -> None:
        """End what still runs in the background."""
        await cancel(*self._checks.values())
        await self._organisations.close()
        await self._tokens.close()
        for workspace in self._open.values():
            await workspace.close()


def _organisation_in(body: Mapping[str, Json]) -> str:
    """Return the organisation whose installation an event is for; empty if it is that of one workspace."""
    given = next(iter(objects(body.get("authorizations"))), {})
    return word(given.get("enterprise_id")) if given.get("is_enterprise_install") is True else ""


def _is_before(body: Mapping[str, Json], moment: float) -> bool:
    """Return whether an event happened before a time, in Unix seconds."""
    at = body.get("event_time")
    return isinstance(at, int) and at < int(moment)
