"""HTTP mode: signed requests from Slack. https://docs.slack.dev/apis/events-api/using-http-request-urls

As on sockets, events do not pass through Bolt, which takes 700 function calls for each of them.
"""

import json
import logging
import re
from collections.abc import Mapping

from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.async_app import AsyncApp
from slack_sdk.signature import SignatureVerifier

from bot.chat import Json, PlatformError, StorageDown
from bot.slack.socket_mode import DeliverEvent

log = logging.getLogger(__name__)

_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_MALFORMED = (AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Errors of Bolt when it looks for ids in a body of an unexpected form."""


async def serve(
    app: AsyncApp, deliver: DeliverEvent, signing_secret: str, request: web.Request
) -> web.StreamResponse:
    """Pass an event to `deliver` and anything else to `app`.

    The answer is 401 without Slack's signature, 400 when the body is not an object, and 503 for an event that
    is not stored, so that Slack repeats it. The server has already read the body, within its limits.
    """
    body = await request.read()
    if not _is_signed(signing_secret, body, request.headers):
        return web.Response(status=401, text="Not signed by Slack")
    content = _json_in(body, request.content_type)
    if content is not None and not isinstance(content, dict):
        return web.Response(status=400, text="Not a JSON object")
    if content is not None and content.get("type") == "event_callback":
        return await _deliver(deliver, content)
    try:
        bolt_request = await to_bolt_request(request)
    except _MALFORMED as error:
        log.warning("Slack request skipped", extra={"error": type(error).__name__})
        return web.Response()  # otherwise Slack would repeat it
    return await to_aiohttp_response(await app.async_dispatch(bolt_request))


def _is_signed(secret: str, body: bytes, headers: Mapping[str, str]) -> bool:
    if not _TIMESTAMP.fullmatch(headers.get("X-Slack-Request-Timestamp", "")):
        return False
    try:
        return SignatureVerifier(secret).is_valid_request(body, headers)
    except (TypeError, ValueError):  # a body that is not UTF-8, a signature that is not ASCII
        return False


async def _deliver(deliver: DeliverEvent, event: Mapping[str, Json]) -> web.Response:
    try:
        await deliver(event)
    except (PlatformError, StorageDown) as error:
        log.warning("event not stored", extra={"event_id": event.get("event_id"), "error": str(error)})
    except Exception:  # a bug is logged with its trace; the 503 lets Slack repeat the event
        log.exception("event not stored", extra={"event_id": event.get("event_id")})
    else:
        return web.Response()
    return web.Response(status=503, text="Not stored")


def _json_in(body: bytes, content_type: str) -> Json | None:
    """Return the content of a JSON body, `[]` if it has none; None for the form in which commands arrive."""
    if content_type != "application/json" and not body.startswith(b"{"):
        return None
    try:
        content: Json = json.loads(body)
    except (RecursionError, ValueError):
        return []
    return [] if content is None else content
