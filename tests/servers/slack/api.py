"""The Web API over HTTP: tokens, arguments, the tiers' counts, and the faults that a test asks for."""

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from aiohttp import web

from tests.servers.slack import files, methods, reading, streams, threads, views
from tests.servers.slack.methods import Args, Method
from tests.servers.slack.oauth import OAuth
from tests.servers.slack.payloads import PLURALS
from tests.servers.slack.rules import MAX_TEXT, Refused, require
from tests.servers.slack.workspace import Workspace
from tests.servers.steps import Steps, unobserved

Json = Any

LISTING = frozenset({"users.conversations", "users.list", "usergroups.list"})
"""Methods that need a `team_id` with the token of an organisation."""

ON_EVERY_METHOD = frozenset({"token", "team_id"})  # Bolt adds team_id to every call of a listener
STRUCTURED = frozenset(
    {"blocks", "chunks", "metadata", "attachments", "prompts", "files", "loading_messages", "view"}
)
MANIFEST = Path(__file__).parents[3] / "manifest.yml"
IN_CHANNELS = {
    "conversations.history": "history",
    "conversations.info": "read",
    "conversations.replies": "history",
}
SCOPES = {  # by the beginning of a method's name; those of conversations.* depend on the channel
    "agents.": "chat:write",
    "assistant.search.": "search:read.public",
    "assistant.threads.setStatus": "chat:write",  # since March 2026; assistant:write is still taken for now
    "assistant.": "assistant:write",
    "chat.": "chat:write",
    "conversations.open": "im:write",
    "files.info": "files:read",
    "files.": "files:write",
    "reactions.": "reactions:write",
    "usergroups.": "usergroups:read",
    "users.info": "users:read",
    "users.list": "users:read",
}
METHODS = {
    each.name: each
    for module in (files, methods, reading, streams, threads, views)
    for each in vars(module).values()
    if isinstance(each, Method)
}


@dataclass(slots=True, kw_only=True)
class Fault:
    """Fault of the next `times` calls of `method` (`*`: any); `hits` counts the affected calls.

    With `error` or `status` the call is answered so; with neither the connection drops without an answer.
    With `after_applying` the call takes effect first. `slow` only delays it. `having` is an argument that the
    call must have.
    """

    method: str
    times: float
    status: int | None = None
    error: str | None = None
    retry_after: int | None = None
    after_applying: bool = False
    delay: float = 0.0
    slow: bool = False
    having: str = ""
    hits: int = 0

    def lift(self) -> None:
        """Let calls through again."""
        self.times = 0


@dataclass(slots=True)
class Call:
    """Received call; `error` is Slack's code, or None."""

    method: str
    args: Args
    at: float
    error: str | None = None
    team: str = ""
    """Workspace of the token, if it has one."""


class WebApi:
    """Web API: handler of `/api/<method>`."""

    def __init__(self, workspace: Workspace, tokens: Mapping[str, Literal["bot", "app"]]) -> None:
        self.workspace = workspace
        self.workspaces: dict[str, Workspace] = {}
        """Workspaces of the tokens of installations."""
        self.organisations: dict[str, dict[str, Workspace]] = {}
        """Workspaces that a token of an organisation reaches, by id."""
        self.expiries: dict[str, float] = {}
        """Times at which tokens end (Unix seconds)."""
        self.oauth = OAuth(self)
        self.tokens = dict(tokens)
        self.revoked: set[str] = set()
        self.violations: list[str] = []
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self.disabled: set[str] = set()
        self.lacking: set[str] = set()
        """Kinds of blocks that no workspace takes yet."""
        self.tolerated: set[str] = set()
        self.outage: Literal["unreachable", "broken"] | None = None
        self.enforce_tiers = False
        self.steps: Steps = unobserved
        manifest = _manifest()
        self.scopes: set[str] = set(manifest["oauth_config"]["scopes"]["bot"])
        self.subscriptions: set[str] = set(manifest["settings"]["event_subscriptions"]["bot_events"])
        self.shortcuts: list[dict[str, str]] = manifest["features"]["shortcuts"]
        workspace.has_home_tab = manifest["features"]["app_home"]["home_tab_enabled"]
        workspace.is_agent = "agent_view" in manifest["features"]
        workspace.has_stop_button = "agent_session_stopped" in self.subscriptions
        self._recent: defaultdict[str, list[float]] = defaultdict(list)
        self.busiest: Counter[str] = Counter()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Handle one call, from the request to Slack's response."""
        name = request.match_info["method"]
        if name == "oauth.v2.access" and self.outage is None:
            return await self.oauth.access(request)
        if self.outage == "broken":
            return web.Response(status=500, text="Internal Server Error")
        call = Call(name, await _arguments(request), time.monotonic())
        self.calls.append(call)
        fault = self._fault(name, call.args)
        if fault is None:
            async with self.steps(name):
                return self._answer(request, call)
        await asyncio.sleep(fault.delay)  # the delay that the test asked for
        if fault.slow:
            return self._answer(request, call)
        if fault.after_applying:
            self._answer(request, call)
        return _faulty(request, call, fault)

    def _fault(self, name: str, args: Args) -> Fault | None:
        for fault in self.faults:
            is_meant = fault.method in (name, "*") and (not fault.having or fault.having in args)
            if is_meant and fault.times > 0:
                fault.times -= 1
                fault.hits += 1
                return fault
        return None

    def _answer(self, request: web.Request, call: Call) -> web.Response:
        try:
            method = self._method(call.method)
            workspace = self._check_token(request, call, method)
            call.team = workspace.team
            self._check_scope(workspace, method, call.args)
            self._check_tier(method, call)
            self._check_blocks(call)
            body = self._apply(workspace, request, method, call)
        except Refused as refusal:
            return self._refuse(call, refusal)
        return json_answer({"ok": True} | body)

    def _method(self, name: str) -> Method:
        if name in self.disabled:
            raise Refused("unknown_method", name, provoked=True)
        if name not in METHODS:
            raise Refused("unknown_method", name)
        return METHODS[name]

    def _check_token(self, request: web.Request, call: Call, method: Method) -> Workspace:
        """Return the workspace of the token."""
        header = request.headers.get("Authorization", "")
        token = header.removeprefix("Bearer ") or call.args.pop("token", "")
        call.args.pop("token", None)
        if method.token == "none":
            return self.workspace
        require(token, "not_authed")
        if token in self.revoked:
            raise Refused("token_revoked", provoked=True)
        if self.expiries.get(token, float("inf")) <= time.time():
            raise Refused("token_expired", token)
        kind = self.tokens.get(token)
        require(kind, "invalid_auth", "unknown token")
        require(kind == method.token, "not_allowed_token_type", f"{kind} token")
        if token in self.organisations:
            return self._of_organisation(token, call)
        return self.workspaces.get(token, self.workspace)

    def _of_organisation(self, token: str, call: Call) -> Workspace:
        """Return the workspace of a call with the token of an organisation: that of its channel or user."""
        reached = self.organisations[token]
        if call.method in LISTING:
            require(call.args.get("team_id") in reached, "missing_argument", "team_id")
        if (team := call.args.get("team_id")) in reached:
            return reached[team]
        place = call.args.get("channel") or call.args.get("channel_id") or ""
        trigger, user = call.args.get("trigger_id") or "", call.args.get("user") or ""
        first = next(iter(reached.values()))
        here = (
            each
            for each in reached.values()
            if place in each.channels or trigger in each.triggers or (not place and user in each.users)
        )
        return next(here, first)

    def _check_scope(self, workspace: Workspace, method: Method, args: Args) -> None:
        needed = next((scope for start, scope in SCOPES.items() if method.name.startswith(start)), None)
        channel = workspace.channels.get(args.get("channel", ""))
        if channel and method.name in IN_CHANNELS:
            needed = f"{PLURALS.get(channel.kind, channel.kind)}:{IN_CHANNELS[method.name]}"
        require(needed is None or needed in self.scopes, "missing_scope", str(needed))

    def _check_blocks(self, call: Call) -> None:
        blocks = call.args.get("blocks")
        kinds = {str(block.get("type")) for block in blocks} if isinstance(blocks, list) else set()
        if lacking := kinds & self.lacking:
            raise Refused("invalid_blocks", f"unsupported type: {lacking}", provoked=True)

    def _check_tier(self, method: Method, call: Call) -> None:
        per_channel = method.name == "chat.postMessage"
        key = f"{method.name} {call.args.get('channel')}" if per_channel else method.name
        key += "" if call.team == self.workspace.team else f" {call.team}"
        minute = [at for at in self._recent[key] if call.at - at < 60] + [call.at]
        self._recent[key] = minute
        self.busiest[key] = max(self.busiest[key], len(minute))
        if self.enforce_tiers and len(minute) > method.per_minute:
            minute.pop()
            raise Refused("ratelimited", str(int(60 - (call.at - minute[0])) + 1), provoked=True)

    def over_tier(self) -> dict[str, int]:
        """Return the most calls in one minute, for each method that exceeded its tier."""
        return {key: most for key, most in self.busiest.items() if most > METHODS[key.split()[0]].per_minute}

    def _apply(
        self, workspace: Workspace, request: web.Request, method: Method, call: Call
    ) -> dict[str, Json]:
        if method.reads and request.content_type == "application/json" and call.args:
            raise Refused("invalid_arguments", "reading methods take no JSON")
        missing = [name for name in method.required if call.args.get(name) in (None, "", [])]
        missing = [name for name in missing if not (name == "status" and "status" in call.args)]
        require(not missing, "invalid_arguments", f"missing required field: {', '.join(sorted(missing))}")
        unknown = call.args.keys() - method.required - method.optional - ON_EVERY_METHOD
        if unknown:  # Slack ignores them, which is seldom what was meant
            self._violate(f"{method.name}: unknown arguments {sorted(unknown)}")
        if len(call.args.get("text", "")) > MAX_TEXT:  # Slack cuts it, which loses text
            self._violate(f"{method.name}: text is cut at {MAX_TEXT} characters")
        return method.handler(workspace, call.args)

    def _refuse(self, call: Call, refusal: Refused) -> web.Response:
        call.error = refusal.code
        if not refusal.provoked and refusal.code not in self.tolerated:
            self._violate(f"{call.method}: {refusal.code} ({refusal.detail})")
        if refusal.code == "ratelimited":
            return _ratelimited(int(refusal.detail))
        messages = [f"[ERROR] {refusal.detail}"]
        body = {"ok": False, "error": refusal.code, "response_metadata": {"messages": messages}}
        if refusal.code == "missing_scope":
            body |= {"needed": refusal.detail, "provided": ",".join(sorted(self.scopes))}
        return json_answer(body)

    def _violate(self, sentence: str) -> None:
        self.violations.append(sentence)


@cache
def _manifest() -> dict[str, Any]:
    """Return the app's manifest; to read it takes longer than to start the server."""
    manifest: dict[str, Any] = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
    return manifest


async def _arguments(request: web.Request) -> Args:
    """Return the arguments from the query string and a form or JSON body, as the SDK sends them."""
    args: Args = {name: value for name, value in request.query.items() if name != "token"}
    if request.content_type == "application/json":
        args |= await request.json() if request.can_read_body else {}
    else:
        args |= dict(await request.post())
    return {name: _structured(name, value) for name, value in args.items() if value is not None}


def _structured(name: str, value: Json) -> Json:
    if name not in STRUCTURED or not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def json_answer(
    body: dict[str, Json], status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.json_response(body, status=status, headers=headers)


def _ratelimited(seconds: int) -> web.Response:
    body = {"ok": False, "error": "ratelimited"}
    return json_answer(body, status=429, headers={"Retry-After": str(seconds)})


def drop(request: web.Request) -> web.Response:
    """Break the connection without a response."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _faulty(request: web.Request, call: Call, fault: Fault) -> web.Response:
    call.error = fault.error or (f"http {fault.status}" if fault.status else "connection dropped")
    if fault.status == 429:
        return _ratelimited(fault.retry_after or 1)
    if fault.error is not None:
        return json_answer({"ok": False, "error": fault.error}, status=fault.status or 200)
    if fault.status is not None:
        return web.Response(status=fault.status, text="Internal Server Error")
    return drop(request)
