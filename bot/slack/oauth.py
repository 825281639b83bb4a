"""Installation of the app by users in their browser (OAuth).

https://docs.slack.dev/authentication/installing-with-oauth. Not Bolt's `AsyncOAuthFlow`: it stores something
for each visitor, puts `team` from the address into its page, and calls Slack with a client of its own.

The `state` that comes back is signed, so that nothing is stored for visitors until they return; it has to be
in the cookie of the same browser, so that nobody installs in the name of another; and it is taken once. Only
a few returns are handled at once, because nobody is authenticated.
"""

import asyncio
import hashlib
import hmac
import html
import logging
import re
import secrets
import time
from collections.abc import Mapping
from urllib.parse import urlencode, urljoin

from aiohttp import web

from bot.chat import Coordination, CredentialsRejected, Json, PlatformError, StorageDown, Undeliverable
from bot.slack import texts
from bot.slack.api import Clients, call, identity_of
from bot.slack.app_credentials import AppCredentials
from bot.slack.block_text import word
from bot.slack.departures import Departures
from bot.slack.errors import Refused
from bot.slack.installations import Installation, Installations
from bot.slack.scopes import needed_scopes

log = logging.getLogger(__name__)

_COOKIE = "slack-app-oauth-state"
_STATE = re.compile(r"([0-9]{1,12})\.[\w-]{32}\.[0-9a-f]{64}", re.ASCII)
_CODE = re.compile(r"[\w.-]{1,500}", re.ASCII)
_ID = re.compile(r"[TE][A-Z0-9]{1,40}", re.ASCII)

_AT_ONCE = 4
"""Most installations that are completed at once."""

_OF_THE_APP = frozenset(
    {
        "bad_client_secret",
        "bad_redirect_uri",
        "invalid_client_id",
        "invalid_grant_type",
        "oauth_authorization_url_mismatch",
    }
)
"""Errors of `oauth.v2.access` that only the operator can fix."""


class OAuth:
    """Handlers of the two addresses."""

    def __init__(
        self,
        clients: Clients,
        installations: Installations,
        departures: Departures,
        coordination: Coordination,
        credentials: AppCredentials,
        state_max_age: float,
    ) -> None:
        self._clients = clients
        self._installations = installations
        self._departures = departures
        self._coordination = coordination
        self._credentials = credentials
        self._state_max_age = state_max_age
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def install(self, request: web.Request) -> web.StreamResponse:
        """Send the browser to Slack, where the user chooses a workspace and agrees."""
        state = self._new_state()
        query = {"client_id": self._credentials.id, "scope": ",".join(needed_scopes()), "state": state}
        address = urljoin(self._clients.url, "../oauth/v2/authorize")
        response = web.Response(status=302, headers={"Location": f"{address}?{urlencode(query)}"})
        response.set_cookie(
            _COOKIE,
            state,
            max_age=round(self._state_max_age),
            path="/",  # a proxy may serve the bot below a path of its own
            secure=True,
            httponly=True,
            samesite="Lax",
        )
        return response

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Store the installation that a user has agreed to, and tell them."""
        response = await self._complete(request)
        response.del_cookie(_COOKIE, path="/", secure=True, httponly=True, samesite="Lax")
        return response

    async def _complete(self, request: web.Request) -> web.Response:
        state, code = request.query.get("state", ""), request.query.get("code", "")
        if not self._is_valid(state, request.cookies.get(_COOKIE, "")):
            return _page(400, texts.INSTALL_AGAIN)
        if "error" in request.query:
            return _page(200, texts.INSTALL_DECLINED)
        if not _CODE.fullmatch(code):
            return _page(400, texts.INSTALL_AGAIN)
        if self._room.locked():
            return _page(503, texts.INSTALL_LATER)
        async with self._room:
            return await self._finish(state, code)

    async def _finish(self, state: str, code: str) -> web.Response:
        try:
            if not await self._take(state):
                return _page(400, texts.INSTALL_AGAIN)
            installation = await self._exchange(code)
            await self._departures.wait(installation.id)
            await self._installations.save(installation)
        except (PlatformError, StorageDown) as error:
            log.warning("app not installed", extra={"error": str(error)})
            return _failure(error)
        log.info("app installed", extra={"installation": installation.id})
        return _page(200, texts.installed(installation.name))

    def _new_state(self) -> str:
        begin = f"{int(time.time())}.{secrets.token_urlsafe(24)}"
        return f"{begin}.{self._signature(begin)}"

    def _signature(self, begin: str) -> str:
        return hmac.new(
            self._credentials.secret.encode(), f"state:{begin}".encode(), hashlib.sha256
        ).hexdigest()

    def _is_valid(self, state: str, cookie: str) -> bool:
        """Return whether this browser got the state from the bot, not long ago."""
        match = _STATE.fullmatch(state)
        presented = cookie.encode("utf-8", "surrogateescape")
        if not match or not hmac.compare_digest(state.encode(), presented):
            return False
        begin, _, signature = state.rpartition(".")
        is_recent = 0 <= time.time() - int(match[1]) <= self._state_max_age
        return is_recent and hmac.compare_digest(signature, self._signature(begin))

    async def _take(self, state: str) -> bool:
        """Return whether nobody has used the state before."""
        lease = f"slack:state:{state.split('.')[1]}"
        return await self._coordination.lease(lease, self._state_max_age, secrets.token_hex(8))

    async def _exchange(self, code: str) -> Installation:
        """Return the installation for a code of Slack. Raises `PlatformError`."""
        issued = await self._credentials.exchange(self._clients, code=code)
        answer = issued.answer
        is_of_organisation = answer.get("is_enterprise_install") is True
        place = _object(answer.get("enterprise" if is_of_organisation else "team"))
        id = word(place.get("id"))
        if not _ID.fullmatch(id):
            raise Refused("oauth.v2.access", "no workspace")
        who = identity_of(
            await call(self._clients.reader, "auth.test", {}, issued.token, f"the token of {id}")
        )
        return Installation(
            id=id,
            name=word(place.get("name")) or who.team,
            url=who.url,
            bot_token=issued.token,
            bot_id=who.bot_id,
            bot_user_id=who.user_id,
            bot_name=who.user,
            scopes=word(answer.get("scope")),
            refresh_token=issued.refresh_token,
            expires_at=issued.expires_at,
            installed_at=time.time(),
        )


def _object(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def _failure(error: Exception) -> web.Response:
    is_for_operator = isinstance(error, CredentialsRejected) or (
        isinstance(error, Refused) and error.code in _OF_THE_APP
    )
    if is_for_operator:
        return _page(502, texts.INSTALL_MISCONFIGURED)
    if isinstance(error, Undeliverable):  # the code was used or is too old
        return _page(400, texts.INSTALL_AGAIN)
    return _page(503, texts.INSTALL_LATER)


def _page(status: int, sentence: str) -> web.Response:
    text = f"<!doctype html><meta charset=utf-8><title>Slack</title><p>{html.escape(sentence)}</p>\n"
    return web.Response(status=status, text=text, content_type="text/html")
