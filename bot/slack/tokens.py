"""Tokens of installations, each renewed before it ends (token rotation).

https://docs.slack.dev/authentication/using-token-rotation. One process at a time renews a token: the others
go on with the old one, which Slack accepts until it ends.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bot.chat import Coordination, PlatformError, StorageDown, Unreachable
from bot.slack.api import Clients, Identity
from bot.slack.app_credentials import AppCredentials, IssuedToken
from bot.slack.errors import NotInstalled, Refused
from bot.slack.ids import Ids
from bot.slack.installations import Installation, Installations
from bot.slack.timing import Timing

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2

_USED_UP = frozenset({"invalid_grant", "invalid_refresh_token"})
"""Errors for a refresh token that Slack has revoked: the answer to an earlier request was lost."""


def describe_loss(installation: Installation) -> str:
    """Return a sentence for operators about a token that cannot be renewed."""
    until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(installation.expires_at))
    ends = "has ended" if installation.is_lost else f"ends at {until}"
    why = (
        "an answer of Slack with the next one was lost" if installation.renewal_began_at else "Slack refuses"
    )
    return f"its token {ends} and cannot be renewed ({why}): install the app again at /slack/install"


@dataclass(frozen=True, slots=True)
class InstalledAccount:
    """Account of the app in a workspace where it is installed; a `bot.slack.api.Account`."""

    team: str
    tokens: "BotTokens"

    @property
    def name(self) -> str:
        """Return the name of the token for an operator."""
        return f"the token of the workspace {self.team}"

    @property
    def ids(self) -> Ids:
        """Return the names of ids, which name the workspace."""
        return Ids(self.team)

    async def token(self) -> str:
        """Return the token, renewed if it ends soon."""
        return (await self.tokens.installation(self.team)).bot_token

    async def identity(self) -> Identity | None:
        """Return the bot as it was installed."""
        return (await self.tokens.installation(self.team)).identity(self.team)

    async def workspace_arguments(self) -> Mapping[str, str]:
        """Return the workspace, unless the app is installed in it alone."""
        installation = await self.tokens.installation(self.team)
        return {"team_id": self.team} if installation.is_of_organisation else {}


class BotTokens:
    """Installations with valid tokens."""

    def __init__(
        self,
        installations: Installations,
        clients: Clients,
        coordination: Coordination,
        credentials: AppCredentials,
        timing: Timing,
    ) -> None:
        self._installations = installations
        self._coordination = coordination
        self._timing = timing
        self._clients = clients
        self._credentials = credentials
        self._unstored: dict[str, Installation] = {}  # each by the refresh token that was used for it
        self._renewals: dict[str, asyncio.Task[Installation]] = {}
        self._retry_at: dict[str, float] = {}

    async def close(self) -> None:
        """Wait for tokens that are being renewed: the answer of Slack comes only once."""
        if self._renewals:
            await asyncio.wait(self._renewals.values(), timeout=self._timing.request_timeout)

    async def installation(self, team: str) -> Installation:
        """Return the installation that reaches a workspace. Raises `NotInstalled` and `Unreachable`."""
        try:
            found = await self._installations.find(team)
        except StorageDown as error:
            raise Unreachable(f"Slack: the token of {team} cannot be read: {error}") from error
        if found is None:
            raise NotInstalled(team)
        if not found.expires_at or found.expires_at - time.time() > self._timing.token_reserve:
            return found
        if not found.refused_at:
            found = await self._renewed(found)
        if found.is_lost:  # turns wait for a new installation; events are read from the history then
            raise Unreachable(f"Slack: {describe_loss(found)}")
        return found

    async def _renewed(self, old: Installation) -> Installation:
        """Return the installation with its next token, or with the old one while that is valid."""
        known = self._unstored.get(old.refresh_token, old)
        is_valid = known.expires_at > time.time()
        if self._retry_at.get(old.id, 0.0) > time.monotonic() and is_valid:
            return known
        renewal = self._renewals.get(old.id)
        if renewal is None:  # one for all callers
            renewal = self._renewals[old.id] = asyncio.create_task(self._renew(old))
            renewal.add_done_callback(lambda _: self._renewals.pop(old.id, None))
        try:
            return await asyncio.shield(renewal)
        except NotInstalled:
            raise
        except (PlatformError, StorageDown) as error:
            log.warning("token not renewed", extra={"installation": old.id, "error": str(error)})
            self._retry_at[old.id] = time.monotonic() + self._timing.token_retry_interval
            if is_valid:
                return known
            raise Unreachable(
                f"Slack: the token of {old.id} has ended and was not renewed: {error}"
            ) from error

    async def _renew(self, old: Installation) -> Installation:
        lease, until = f"slack:token:{old.id}", time.monotonic() + self._timing.request_timeout
        while not await self._coordination.lease(lease, 2 * self._timing.request_timeout):
            stored = await self._installations.reload(old.id)
            if stored and stored.refresh_token != old.refresh_token:
                return stored
            if old.expires_at > time.time():
                return old  # another process is about to renew it
            if time.monotonic() > until:
                raise Unreachable("another process renews it")
            await asyncio.sleep(_LOOK_SECONDS)
        try:
            stored = await self._installations.reload(old.id)
            if stored and stored.refresh_token == old.refresh_token and not stored.refused_at:
                stored = await self._follow(stored)
            self._unstored.pop(old.refresh_token, None)
            if stored is None:
                raise NotInstalled(old.id)
            return stored
        finally:
            await self._coordination.release(lease)

    async def _follow(self, old: Installation) -> Installation | None:
        """Store the next token, or that there is none; return the installation as it is stored now."""
        new = self._unstored.get(old.refresh_token)
        if new is None:
            if not old.renewal_began_at:  # a crash may lose Slack's answer: then the record tells why
                began = replace(old, renewal_began_at=time.time())
                await self._installations.renew(old, began)
                old = began
            new = await self._request(old)
        self._unstored[old.refresh_token] = new  # it stays known if Redis does not take it
        await self._installations.renew(old, new)
        stored = await self._installations.reload(old.id)
        if stored == new:
            log.log(
                logging.ERROR if new.refused_at else logging.INFO,
                "token refused, the app has to be installed again" if new.refused_at else "token renewed",
                extra={"installation": old.id},
            )
        return stored

    async def _request(self, old: Installation) -> Installation:
        try:
            new = await self._exchange(old)
        except Refused as error:
            if error.code not in _USED_UP:
                raise
            return replace(old, refused_at=time.time())
        return replace(
            old,
            bot_token=new.token,
            refresh_token=new.refresh_token,
            expires_at=new.expires_at,
            renewal_began_at=0.0,
        )

    async def _exchange(self, old: Installation) -> IssuedToken:
        new = await self._credentials.exchange(
            self._clients, grant_type="refresh_token", refresh_token=old.refresh_token
        )
        if not new.refresh_token or not new.expires_at:
            raise Refused("oauth.v2.access", "no refresh token")
        return new
