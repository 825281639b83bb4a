"""Installation over OAuth: the page where a user agrees, and `oauth.v2.access` with token rotation.

https://docs.slack.dev/authentication/installing-with-oauth and
https://docs.slack.dev/authentication/using-token-rotation
"""

import asyncio
import base64
import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from aiohttp import web

from tests.servers.slack.workspace import ALICE, APP, BOT_USER, Workspace

if TYPE_CHECKING:
    from tests.servers.slack.api import WebApi

Json = Any


@dataclass(slots=True, eq=False)
class Grant:
    """Consent of a user to a token that reaches a workspace, or all of an `organisation`."""

    workspaces: list[Workspace]
    organisation: str | None


@dataclass(slots=True, eq=False)
class OAuth:
    """OAuth of the app. The next user who is asked chooses `choice`, or declines if it is None.

    With `token_seconds` tokens rotate. `redirect_url` is the address in the settings of the app.
    """

    api: "WebApi"
    client_id: str = "1.2"
    client_secret: str = "test-client-secret"
    redirect_url: str = ""
    token_seconds: int = 0
    choice: Grant | None = None
    asked_scopes: str = ""
    codes: dict[str, Grant] = field(default_factory=dict)
    used_codes: set[str] = field(default_factory=set)
    refresh_tokens: dict[str, Grant] = field(default_factory=dict)
    refreshed: int = 0
    calls: list[dict[str, Json]] = field(default_factory=list)
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)
    """Calls are answered while it is set, as it is from the start."""
    fails: int = 0
    """Number of the next calls whose answer is lost, before they take effect."""
    loses: int = 0
    """Number of the next calls that take effect, and whose answer is lost."""
    _numbers: itertools.count = field(default_factory=lambda: itertools.count(1))  # type: ignore[type-arg]

    def __post_init__(self) -> None:
        self.goes_on.set()

    async def authorize(self, request: web.Request) -> web.Response:
        """Ask the user, and send the browser back to the app."""
        if request.query.get("client_id") != self.client_id:
            return web.Response(status=400, text="Invalid client_id parameter")
        self.asked_scopes = request.query.get("scope", "")
        unknown = set(self.asked_scopes.split(",")) - self.api.scopes
        if unknown:
            self.api.violations.append(f"authorize: scopes that the app does not have: {sorted(unknown)}")
        answer = {"state": request.query.get("state", "")}
        if self.choice is None:
            answer["error"] = "access_denied"
        else:
            code = f"code.{next(self._numbers)}"
            self.codes[code] = self.choice
            answer["code"] = code
        return web.Response(status=302, headers={"Location": f"{self.redirect_url}?{urlencode(answer)}"})

    async def access(self, request: web.Request) -> web.StreamResponse:
        """Answer `oauth.v2.access`: a code or a refresh token for a token."""
        args = dict(await request.post())
        self.calls.append(args)
        await self.goes_on.wait()
        if self.fails:
            self.fails -= 1
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        given = request.headers.get("Authorization", "").removeprefix("Basic ")
        client_id, _, secret = base64.b64decode(given).decode().partition(":")
        if client_id != self.client_id:
            return _refusal("invalid_client_id")
        if secret != self.client_secret:
            return _refusal("bad_client_secret")
        if args.get("grant_type") == "refresh_token":
            grant = self.refresh_tokens.pop(str(args.get("refresh_token")), None)
            if grant is None:
                return _refusal("invalid_refresh_token")
            self.refreshed += 1
            issued = self._issue(grant)
            if self.loses:
                self.loses -= 1
                if request.transport is not None:
                    request.transport.abort()
            return web.json_response(issued)
        code = str(args.get("code"))
        if code in self.used_codes:
            return _refusal("code_already_used")
        if code not in self.codes:
            return _refusal("invalid_code")
        self.used_codes.add(code)
        return web.json_response(self._issue(self.codes[code]))

    def _issue(self, grant: Grant) -> dict[str, Json]:
        """Return a new token; earlier ones stay valid until they end."""
        number, first = next(self._numbers), grant.workspaces[0]
        id = grant.organisation or first.team
        token = f"xoxe.xoxb-1-{id}-{number}" if self.token_seconds else f"xoxb-{id}-{number}"
        self.api.tokens[token] = "bot"
        self.api.workspaces[token] = first
        if grant.organisation:
            self.api.organisations[token] = {each.team: each for each in grant.workspaces}
            for each in grant.workspaces:
                each.organisation = grant.organisation
                each.siblings = [sibling.team for sibling in grant.workspaces]
        body: dict[str, Json] = {
            "ok": True,
            "app_id": APP,
            "authed_user": {"id": ALICE},
            "scope": self.asked_scopes,
            "token_type": "bot",
            "access_token": token,
            "bot_user_id": BOT_USER,
            "team": None if grant.organisation else {"id": first.team, "name": first.name},
            "enterprise": {"id": id, "name": f"Organisation {id}"} if grant.organisation else None,
            "is_enterprise_install": bool(grant.organisation),
        }
        if self.token_seconds:
            refresh = f"xoxe-1-{id}-{number}"
            self.refresh_tokens[refresh] = grant
            self.api.expiries[token] = time.time() + self.token_seconds
            body |= {"refresh_token": refresh, "expires_in": self.token_seconds}
        return body

    def tokens_of(self, id: str) -> list[str]:
        """Return the tokens of a workspace or an organisation, in the order in which they were issued."""
        return [token for token in self.api.tokens if f"-{id}-" in token and self.api.tokens[token] == "bot"]


def _refusal(code: str) -> web.Response:
    return web.json_response({"ok": False, "error": code})
