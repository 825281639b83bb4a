"""HTTP mode: signed requests to the app's request URL; and the response URLs that apps post back to."""

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from tests.servers.slack.delivery import Attempt, Delivery
from tests.servers.slack.rules import Refused, check_content, require
from tests.servers.slack.workspace import BOT_USER, Message, Workspace

Json = Any


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return `x-slack-signature`, version 0 (docs.slack.dev/authentication/verifying-requests-from-slack)."""
    base = b"v0:" + timestamp.encode() + b":" + body
    return "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()


def signed_headers(secret: str, body: bytes, content_type: str, *, age: float = 0.0) -> dict[str, str]:
    """Return the headers of a request that Slack has sent: the content type, and the proof of its origin."""
    timestamp = str(int(time.time() - age))
    return {
        "content-type": content_type,
        "x-slack-request-timestamp": timestamp,
        "x-slack-signature": signature(secret, timestamp, body),
    }


class RequestUrl:
    """Transport by signed HTTP requests to the app's address."""

    def __init__(self, session: aiohttp.ClientSession, url: str, secret: str) -> None:
        self.url = url
        self._session = session
        self._secret = secret

    async def send(self, delivery: Delivery, attempt: Attempt, timeout: float) -> bool:
        """Post a payload; any 2xx response is an acknowledgement."""
        headers: dict[str, str] = {}
        if attempt.number:
            headers["x-slack-retry-num"] = str(attempt.number)
            headers["x-slack-retry-reason"] = attempt.reason or "unknown_error"
        try:
            status, answer, response = await self._post(delivery, headers, timeout)
        except TimeoutError:
            attempt.failure = "http_timeout"
            return True
        except aiohttp.ClientError:
            attempt.failure = "connection_failed"
            return True
        if 200 <= status < 300:
            attempt.acknowledge(response)
            return True
        attempt.failure = "http_error"
        return answer.get("x-slack-no-retry") != "1"

    async def _post(
        self, delivery: Delivery, headers: dict[str, str], timeout: float
    ) -> tuple[int, Mapping[str, str], Json]:
        body, content_type = _encode(delivery)
        limit = aiohttp.ClientTimeout(total=timeout)
        headers |= signed_headers(self._secret, body, content_type)
        async with self._session.post(
            self.url, data=body, headers=headers, timeout=limit, allow_redirects=False
        ) as response:
            text = await response.text()
            is_json = response.content_type == "application/json"
            return response.status, response.headers, json.loads(text) if is_json else text or None

    async def verify(self) -> bool:
        """Run the handshake for a new address in the app's settings; return True if it succeeds."""
        challenge = secrets.token_hex(16)
        payload = {"token": "verification-token", "challenge": challenge, "type": "url_verification"}
        body = json.dumps(payload).encode()
        headers = signed_headers(self._secret, body, "application/json")
        try:
            async with self._session.post(self.url, data=body, headers=headers) as response:
                return response.status == 200 and challenge in await response.text()
        except aiohttp.ClientError:
            return False


def _encode(delivery: Delivery) -> tuple[bytes, str]:
    form = "application/x-www-form-urlencoded"
    if delivery.kind == "events_api":
        return json.dumps(delivery.payload).encode(), "application/json"
    if delivery.kind == "interactive":
        return urlencode({"payload": json.dumps(delivery.payload)}).encode(), form
    return urlencode(delivery.payload).encode(), form


@dataclass(slots=True, eq=False)
class ResponseUrl:
    """Address that shows text to the user of a command or a button."""

    url: str
    user: str
    channel: str
    message: Message | None
    workspace: Workspace
    created_at: float
    lifetime: float
    uses: list[dict[str, Json]] = field(default_factory=list)


MAX_USES = 5


class ResponseUrls:
    """Response URLs: 5 uses in 30 minutes (docs.slack.dev/interactivity/handling-user-interaction)."""

    def __init__(self, violate: Callable[[str], None]) -> None:
        self.lifetime = 1800.0
        self._violate = violate
        self._urls: dict[str, ResponseUrl] = {}

    def issue(
        self, workspace: Workspace, user: str, channel: str, message: Message | None = None
    ) -> ResponseUrl:
        secret = secrets.token_hex(8)
        url = f"{workspace.base}/response/{secret}"
        self._urls[secret] = ResponseUrl(
            url, user, channel, message, workspace, time.monotonic(), self.lifetime
        )
        return self._urls[secret]

    async def handle(self, request: web.Request) -> web.Response:
        """Handle a post to one of the addresses."""
        try:
            self._use(request.match_info["secret"], await request.json())
        except Refused as refusal:
            self._violate(f"response_url: {refusal.code} ({refusal.detail})")
            body = {"ok": False, "error": refusal.code}
            return web.json_response(body, status=404 if "url" in refusal.code else 400)
        except ValueError:
            self._violate("response_url: invalid_payload (no JSON)")
            return web.Response(status=400, text="invalid_payload")
        return web.Response(text="ok")

    def _use(self, secret: str, body: dict[str, Json]) -> None:
        require(secret in self._urls, "invalid_url", secret)
        url = self._urls[secret]
        require(len(url.uses) < MAX_USES, "used_url", f"over {MAX_USES} uses")
        require(time.monotonic() - url.created_at < url.lifetime, "expired_url", f"after {url.lifetime} s")
        if not body.get("delete_original"):
            check_content(body)
        url.uses.append(body)
        self._show(url, body)

    def answer(self, url: ResponseUrl, response: Json) -> None:
        """Show the response in a command's acknowledgement; Slack drops responses that break its rules."""
        body = response if isinstance(response, dict) else {"text": response}
        try:
            check_content(body)
        except Refused as refusal:
            self._violate(f"acknowledgement: {refusal.code} ({refusal.detail})")
        else:
            self._show(url, body)

    def _show(self, url: ResponseUrl, body: dict[str, Json]) -> None:
        text, blocks = body.get("text") or body.get("markdown_text", ""), body.get("blocks", [])
        if url.message and body.get("delete_original"):
            url.workspace.delete(url.message)
        elif url.message and body.get("replace_original"):
            self._replace(url.workspace, url.message, text, blocks)
        elif body.get("response_type") == "in_channel":
            message = Message(
                channel=url.channel,
                ts=url.workspace.new_ts(),
                user=BOT_USER,
                text=text,
                blocks=blocks,
                thread_ts=body.get("thread_ts"),
            )
            url.workspace.post(message)
        elif text or blocks:
            url.workspace.show_to(url.user, url.channel, text, blocks, body.get("thread_ts"))

    def _replace(self, workspace: Workspace, message: Message, text: str, blocks: list[Json]) -> None:
        before = message.visible_text
        message.text, message.blocks, message.edited = text, blocks, True
        message.record("update")
        workspace.on_change("changed", message, before)
