"""HTTP mode: signed requests from Slack. https://docs.slack.dev/apis/events-api/using-http-request-urls"""

import json
import logging
import re
from collections.abc import Mapping

from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.async_app import AsyncApp
from slack_sdk.signature import SignatureVerifier

log = logging.getLogger(__name__)

_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_MALFORMED = (AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Errors of Bolt when it looks for ids in a body of an unexpected form."""


async def serve(app: AsyncApp, signing_secret: str, request: web.Request) -> web.StreamResponse:
    """Pass a request to `app`: 401 without Slack's signature, 400 when its body is not an object.

    The server has already read the body, within its limits.
    """
    body = await request.read()
    if not _is_signed(signing_secret, body, request.headers):
        return web.Response(status=401, text="Not signed by Slack")
    if not _is_object(body, request.content_type):
        return web.Response(status=400, text="Not a JSON object")
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


def _is_object(body: bytes, content_type: str) -> bool:
    """Return whether Bolt will find an object: as JSON, or as the form in which commands arrive."""
    if content_type != "application/json" and not body.startswith(b"{"):
        return True
    try:
        return isinstance(json.loads(body), dict)
    except (RecursionError, ValueError):
        return False
