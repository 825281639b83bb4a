"""Senders of deliveries to the hooks of the bot under test."""

import hashlib
import hmac
import json
import time
from typing import Any

import aiohttp

from bot.app import Bot
from tests.support.bot import http_port

SECRET = "secret-of-the-sender"


def hooks(**channels: str | dict[str, str]) -> str:
    """Return the setting HOOKS: for each name a channel, or more."""
    entries = {
        name: {"secret": SECRET} | ({"channel": each} if isinstance(each, str) else each)
        for name, each in channels.items()
    }
    return json.dumps(entries)


def signature(content: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()


def github(body: bytes, id: str = "", secret: str = SECRET) -> dict[str, str]:
    """Return the headers with which GitHub signs a delivery."""
    more = {"X-GitHub-Delivery": id} if id else {}
    return {"X-Hub-Signature-256": f"sha256={signature(body, secret)}", **more}


def timed(body: bytes, at: float | None = None, secret: str = SECRET) -> dict[str, str]:
    """Return the headers of a delivery that is signed with its time."""
    stamp = str(int(time.time() if at is None else at))
    signed = signature(stamp.encode() + b"." + body, secret)
    return {"X-Signature-Timestamp": stamp, "X-Signature": f"v1={signed}"}


async def deliver(bot: Bot, hook: str, payload: Any, id: str = "") -> tuple[int, dict[str, Any]]:
    """Deliver a payload as GitHub does; return the status and the body of the response."""
    body = payload.encode() if isinstance(payload, str) else json.dumps(payload).encode()
    url = f"http://127.0.0.1:{http_port(bot)}/hooks/{hook}"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body, headers=github(body, id)) as response,
    ):
        return response.status, await response.json()
